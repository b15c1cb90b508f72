"""Routes of what a job computed from: the histories of its runs, and its points."""

from collections.abc import Mapping
from typing import Annotated, Any, Final

from fastapi import APIRouter, Query, Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from app.api.answer import Answer
from app.api.asked import AskedDep
from app.api.columns import pairs_to_csv, shorten, to_columns, to_csv, to_ndjson
from app.api.deps import StoreDep
from app.api.errors import responses
from app.api.etag import IfNoneMatch, matches, not_modified, to_etag
from app.api.formats import MEDIA_TYPES, AcceptText, FormatText, choose_format
from app.api.listing import link_header, next_page
from app.api.plan import PlannedRoute
from app.api.show import job_headers
from app.api.view import JOB_PATH, JOBS_PATH
from app.domain.data import Columns, StoredColumns
from app.domain.errors import (
    InvalidParameter,
    JobExpired,
    JobNotFound,
    NotAcceptable,
    NotFound,
    StoreUnavailable,
)
from app.domain.history import Rows
from app.domain.job import JobRecord
from app.domain.spec import MAX_STEPS, run_specs

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
    int | None, Query(ge=0, description="Which run of a comparison, from 0 (the default).")
]


@router.get(
    "/history",
    responses={304: {"description": "Nothing was added since"}, **_REFUSALS},
)
async def read_history(
    asked: AskedDep,
    store: StoreDep,
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
    """Read the loss history of a run as columns: JSON, CSV or NDJSON."""
    form = choose_format(form, accept, offered=("json", "csv", "ndjson"))
    record = await store.get(asked.id)
    number = check_run(record, run)
    # One row more than is shown tells whether another page follows.
    rows = await store.history(record.id, run=number, after_step=after_step, limit=limit + 1)
    page = rows.select(range(limit)) if len(rows) > limit else rows
    last = page.step[-1] if len(page) else after_step
    etag = to_etag(record.seq, last + 1, len(page))
    path = f"{JOBS_PATH}/{record.id}/history"
    following = next_page(request, path, after_step=last if len(rows) > limit else None)
    headers = {
        **job_headers(record),
        **asked.headers(),
        **link_header(following),
        "ETag": etag,
        "Vary": "Accept",
    }
    if matches(if_none_match, etag):
        return not_modified(etag, headers)
    shown = shorten(page, points)
    if form != "json":
        return await _write_lines(shown, form=form, headers=headers)
    about = _about(record, number, rows=shown, last_step=last, following=following)
    columns = to_columns(shown)
    return Answer({**about, **columns}, headers=headers, is_long=len(shown) > _OFF_LOOP_ROWS)


def check_run(record: JobRecord, run: int | None) -> int:
    """Return the position of the run that is asked for, 0 when none is.

    Raises:
        NotFound: The job has no such run.
    """
    count = len(run_specs(record.spec))
    number = run or 0
    if number >= count:
        known = "one run: run 0" if count == 1 else f"{count} runs: 0 to {count - 1}"
        raise NotFound(f"The job {record.id} has {known}")
    return number


def _about(
    record: JobRecord, run: int, *, rows: Rows, last_step: int, following: str | None
) -> dict[str, object]:
    """Return what stands before the columns; a follower asks for ?after_step={last_step} next."""
    return {
        "object": "history",
        "job": record.id,
        "run": run,
        "label": run_specs(record.spec)[run][0],
        "status": record.status.value,
        "done": record.status.is_terminal,
        "points": len(rows),
        "last_step": last_step,
        "next": following,
    }


async def _write_lines(rows: Rows, *, form: str, headers: Mapping[str, str]) -> Response:
    write = to_csv if form == "csv" else to_ndjson
    is_long = len(rows) > _OFF_LOOP_ROWS
    content = await run_in_threadpool(write, rows) if is_long else write(rows)
    return Response(content, media_type=MEDIA_TYPES[form], headers=dict(headers))


@router.get("/data", responses=_REFUSALS)
async def read_data(
    asked: AskedDep,
    store: StoreDep,
    *,
    header: Annotated[bool, Query(description="Whether the CSV begins with x,y.")] = True,
    form: FormatText = None,
    accept: AcceptText = None,
) -> Response:
    """Read the points that a job was given: JSON or CSV."""
    form = choose_format(form, accept, offered=("json", "csv"))
    record = await store.get(asked.id)
    columns = await _find_points(record, store=store)
    headers = {**asked.headers(), "Vary": "Accept"}
    if form == "csv":
        content = await run_in_threadpool(pairs_to_csv, columns.x, columns.y)
        if not header:
            content = content.partition(b"\n")[2]
        return Response(content, media_type=MEDIA_TYPES["csv"], headers=headers)
    about = {"object": "data", "job": record.id, "points": len(columns.x)}
    both = {**about, "x": columns.x, "y": columns.y}
    return Answer(both, headers=headers, is_long=len(columns.x) > _OFF_LOOP_ROWS)


async def _find_points(record: JobRecord, *, store: StoreDep) -> Columns:
    """Return the points that came with the request.

    Raises:
        NotFound: There are none: the worker draws them from a recipe in the spec.
    """
    data = record.spec.data
    if isinstance(data, Columns):
        return data
    columns = await store.points(record.id) if isinstance(data, StoredColumns) else None
    if columns is None:
        raise NotFound(
            "This job's points are not stored: spec.data says how they are drawn, and "
            f"{JOBS_PATH}/{record.id}/reproduce.py draws them again"
        )
    return columns
