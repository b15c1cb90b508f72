"""Route of the history of one run."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Final

from fastapi import APIRouter, Query, Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from app.api.answer import Answer
from app.api.asked import AskedDep
from app.api.columns import shorten, to_columns, to_csv, to_ndjson
from app.api.deps import RoomsDep
from app.api.errors import responses
from app.api.etag import IfNoneMatch, matches, not_modified, to_etag
from app.api.formats import MEDIA_TYPES, AcceptText, FormatText, choose_format
from app.api.listing import link_header, next_page
from app.api.plan import PlannedRoute
from app.api.show import job_headers
from app.api.single_run import check_run, fit_behind
from app.api.view import JOB_PATH, JOBS_PATH
from app.api.wait import PatientWaitDep
from app.domain.errors import (
    CrossSiteRequest,
    DeviceUnavailable,
    InvalidParameter,
    InvalidSpec,
    JobExpired,
    JobNotFound,
    NotAcceptable,
    NotFound,
    QueueFull,
    ShareFull,
    StoreUnavailable,
)
from app.domain.history import Rows
from app.domain.job import JobRecord
from app.domain.kinds import label_of_run
from app.domain.spec import MAX_STEPS

router = APIRouter(prefix=JOB_PATH, tags=["jobs"], route_class=PlannedRoute)

DEFAULT_ROWS: Final = 20_000
MAX_ROWS: Final = 100_000
"""Some 25 ms of encoding and 8 MB of JSON; a longer history takes several pages."""

_OFF_LOOP_ROWS: Final = 2_000
"""More rows than this (a few ms) are written off the event loop."""

_REFUSALS: Final[dict[int | str, dict[str, Any]]] = responses(
    InvalidParameter, NotAcceptable, NotFound, JobNotFound, JobExpired, StoreUnavailable
)

RunNumber = Annotated[
    int | None,
    Query(
        ge=0,
        le=10**9,
        description="Which run, from 0 (the default of a comparison; a sweep and a batch need it).",
    ),
]


@router.get(
    "/history",
    responses={
        202: {"description": "The fit that makes a run of a sweep or a batch is not done"},
        304: {"description": "Nothing was added since"},
        **_REFUSALS,
        **responses(
            CrossSiteRequest, InvalidSpec, ShareFull, QueueFull, DeviceUnavailable, StoreUnavailable
        ),
    },
)
async def read_history(
    asked: AskedDep,
    rooms: RoomsDep,
    wait: PatientWaitDep,
    request: Request,
    *,
    run: RunNumber = None,
    after_step: Annotated[
        int, Query(ge=-1, le=MAX_STEPS, description="Only rows after this step.")
    ] = -1,
    limit: Annotated[int, Query(ge=1, le=MAX_ROWS, description="Most rows a page.")] = DEFAULT_ROWS,
    points: Annotated[
        int | None,
        Query(ge=1, le=MAX_ROWS, description="Thin the page to so many rows, extremes kept."),
    ] = None,
    form: FormatText = None,
    accept: AcceptText = None,
    if_none_match: IfNoneMatch = None,
) -> Response:
    """Read the loss history of a run as columns: JSON, CSV or NDJSON.

    A sweep and a batch keep no histories: the fit that repeats the run is made, or found, and the
    answer waits for it as `?wait` says; 202 while it runs.
    """
    form = choose_format(form, accept, offered=("json", "csv", "ndjson"))
    record = await rooms.store.get(asked.id)
    number = check_run(record, run)
    fit = await fit_behind(record, number, wait=wait, rooms=rooms, request=request)
    held = number if fit is record else 0
    # One row more than is shown tells whether another page follows.
    rows = await rooms.store.history(fit.id, run=held, after_step=after_step, limit=limit + 1)
    page = rows.select(range(limit)) if len(rows) > limit else rows
    last = page.step[-1] if len(page) else after_step
    etag = to_etag(fit.seq, last + 1, len(page))
    path = f"{JOBS_PATH}/{record.id}/history"
    following = next_page(request, path, after_step=last if len(rows) > limit else None)
    headers = {
        **job_headers(fit),
        **asked.headers(),
        **link_header(following),
        "ETag": etag,
        "Vary": "Accept",
    }
    if matches(if_none_match, etag):
        return not_modified(etag, headers)
    shown = Shown(record=record, run=number, fit=fit, rows=shorten(page, points))
    about = {"last_step": last, "next": following}
    return await shown.answer(form, about=about, headers=headers)


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """A page of a history.

    Attributes:
        record: The job that was asked for.
        run: Which of its runs.
        fit: The job that holds the rows: the same, or the fit that repeats the run.
        rows: The page.
    """

    record: JobRecord
    run: int
    fit: JobRecord
    rows: Rows

    async def answer(
        self, form: str, *, about: Mapping[str, object], headers: Mapping[str, str]
    ) -> Response:
        """Write the page as JSON, CSV or NDJSON.

        Args:
            form: Which.
            about: Where the next page is; a follower asks for ?after_step={last_step} next.
            headers: Of the answer.
        """
        is_own, is_long = self.fit is self.record, len(self.rows) > _OFF_LOOP_ROWS
        status = 200 if is_own or self.fit.status.is_terminal else 202
        if form != "json":
            write = to_csv if form == "csv" else to_ndjson
            content = await run_in_threadpool(write, self.rows) if is_long else write(self.rows)
            return Response(
                content, status_code=status, media_type=MEDIA_TYPES[form], headers=dict(headers)
            )
        shown = {
            "object": "history",
            "job": self.record.id,
            "run": self.run,
            "label": label_of_run(self.record.spec, self.run),
            "fit": None if is_own else self.fit.id,
            "status": self.fit.status.value,
            "done": self.fit.status.is_terminal,
            "points": len(self.rows),
            **about,
            **to_columns(self.rows),
        }
        return Answer(shown, status_code=status, headers=headers, is_long=is_long)
