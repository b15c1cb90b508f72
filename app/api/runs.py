"""Route of the runs of a job as a table: sorted, paged, JSON or CSV."""

import csv
import io
from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Final

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from app.api.answer import Answer
from app.api.asked import AskedDep
from app.api.deps import StoreDep
from app.api.errors import responses
from app.api.formats import MEDIA_TYPES, AcceptText, FormatText, choose_format
from app.api.listing import link_header, next_page
from app.api.many_runs import RunTable, guard, open_table, to_ndjson
from app.api.show import job_headers
from app.api.stream import EventStream
from app.api.view import JOB_PATH, JOBS_PATH, run_objects
from app.domain.errors import (
    InvalidCursor,
    InvalidParameter,
    JobExpired,
    JobNotFinished,
    JobNotFound,
    NotAcceptable,
    StoreUnavailable,
)
from app.domain.flaws import nearest
from app.domain.kinds import ManyRuns

router = APIRouter(prefix=JOB_PATH, tags=["jobs"])

DEFAULT_RUNS: Final = 100
MAX_RUNS: Final = 1_000

COLUMNS: Final = (
    *("run", "label", "optimizer", "lr", "a", "b", "loss", "excess_loss", "r2", "stop_reason"),
    *("converged", "steps", "evaluations", "steps_to_tolerance", "best_step", "best_loss"),
    *("evaluations_to_tolerance", "gradient_norm", "noise_floor_reached_at", "run_seconds"),
    *("engine", "error"),
)
"""Columns of the CSV, and what ?sort takes."""

_SORT_ALIASES: Final[Mapping[str, str]] = {"final_loss": "loss", "final_excess_loss": "excess_loss"}

Row = dict[str, Any]


@router.get(
    "/runs",
    responses=responses(
        InvalidParameter,
        InvalidCursor,
        NotAcceptable,
        JobNotFound,
        JobExpired,
        JobNotFinished,
        StoreUnavailable,
    ),
)
async def list_runs(
    asked: AskedDep,
    store: StoreDep,
    request: Request,
    *,
    sort: Annotated[
        str, Query(description="A column, e.g. `final_loss`; `-` before it turns it round.")
    ] = "run",
    limit: Annotated[
        int | None,
        Query(
            ge=1,
            le=MAX_RUNS,
            description=f"Most runs a page: {DEFAULT_RUNS} in JSON; all in CSV and NDJSON.",
        ),
    ] = None,
    cursor: Annotated[str | None, Query(description="From `next_cursor` of a page.")] = None,
    form: FormatText = None,
    accept: AcceptText = None,
) -> Response:
    """List the runs of a job (a fit has one), without their histories."""
    form = choose_format(form, accept, offered=("json", "csv", "ndjson"))
    record = await store.get(asked.id)
    spec, start = record.spec, _read_cursor(cursor)
    table: RunTable | FewTable = (
        await open_table(record, spec, store=store, sort=sort)
        if isinstance(spec, ManyRuns)
        else FewTable(runs=sort_runs(run_objects(record, spec), sort))
    )
    total = spec.num_runs
    if limit is None:
        limit = DEFAULT_RUNS if form == "json" else total
    end = str(start + limit) if start + limit < total else None
    following = next_page(request, f"{JOBS_PATH}/{record.id}/runs", cursor=end)
    headers = {
        **job_headers(record),
        **asked.headers(),
        **link_header(following),
        "Vary": "Accept",
    }
    if form != "json":
        lines = table.blocks(form, start=start, stop=start + limit)
        return EventStream(lines, headers=headers, media_type=MEDIA_TYPES[form])
    content = {"object": "list", "data": await table.objects(start, limit), "total": total}
    return Answer({**content, "next_cursor": end, "next": following}, headers=headers)


@dataclass(frozen=True, slots=True, kw_only=True)
class FewTable:
    """The runs of a fit or a comparison, in one order; beside RunTable."""

    runs: Sequence[Row]

    async def objects(self, start: int, count: int) -> list[Row]:
        """Return some runs as JSON shows them."""
        return list(self.runs[start : start + count])

    async def blocks(self, form: str, *, start: int, stop: int) -> AsyncGenerator[bytes]:
        """Yield a range of rows as CSV or NDJSON."""
        page = self.runs[start:stop]
        yield runs_to_csv(page).encode() if form == "csv" else to_ndjson(page)


def sort_runs(runs: Sequence[Row], sort: str) -> list[Row]:
    """Return the runs by one column; those without a value come last either way.

    Raises:
        InvalidParameter: There is no such column.
    """
    name = sort.removeprefix("-")
    name = _SORT_ALIASES.get(name, name)
    if name not in COLUMNS:
        guess = nearest(name, [*COLUMNS, *_SORT_ALIASES])
        hint = f': did you mean "{guess}"?' if guess else f", it is one of {', '.join(COLUMNS)}"
        raise InvalidParameter(f'sort cannot be "{sort[:60]}"{hint}')
    keyed = [(_cell(run, name), run) for run in runs]
    known = sorted(
        (pair for pair in keyed if pair[0] is not None),
        key=lambda pair: pair[0],
        reverse=sort.startswith("-"),
    )
    return [run for _, run in known] + [run for key, run in keyed if key is None]


def runs_to_csv(runs: Sequence[Row]) -> str:
    """Return a header and one line a run; text that a spreadsheet would run is quoted by '."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows([guard(_cell(run, name)) for name in COLUMNS] for run in runs)
    return text.getvalue()


def _cell(run: Row, name: str) -> Any:  # noqa: ANN401  # a value of JSON
    if not name.startswith("best_"):
        return run[name]
    best: dict[str, Any] | None = run["best"]
    return best[name.removeprefix("best_")] if best else None


def _read_cursor(cursor: str | None) -> int:
    """Return how many runs the earlier pages had.

    Raises:
        InvalidCursor: It is not one of ours.
    """
    if cursor is None:
        return 0
    if not (cursor.isascii() and cursor.isdigit() and len(cursor) < 10):  # noqa: PLR2004  # digits
        raise InvalidCursor("This cursor was not made here: start without one")
    return int(cursor)
