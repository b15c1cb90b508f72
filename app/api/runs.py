"""Route of the runs of a job as a table: sorted, paged, JSON or CSV."""

import csv
import io
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Final

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from app.api.answer import Answer
from app.api.asked import AskedDep
from app.api.deps import StoreDep
from app.api.errors import responses
from app.api.formats import MEDIA_TYPES, AcceptText, FormatText, choose_format
from app.api.listing import link_header, next_page
from app.api.show import job_headers
from app.api.view import JOB_PATH, JOBS_PATH, run_objects
from app.domain.errors import (
    InvalidCursor,
    InvalidParameter,
    JobExpired,
    JobNotFound,
    NotAcceptable,
    StoreUnavailable,
)
from app.domain.flaws import nearest

router = APIRouter(prefix=JOB_PATH, tags=["jobs"])

DEFAULT_RUNS: Final = 100
MAX_RUNS: Final = 1_000

COLUMNS: Final = (
    *("run", "label", "optimizer", "lr", "a", "b", "loss", "excess_loss", "r2", "stop_reason"),
    *("converged", "steps", "evaluations", "steps_to_tolerance", "best_step", "best_loss"),
    *("gradient_norm", "noise_floor_reached_at", "run_seconds", "engine"),
)
"""Columns of the CSV, and what ?sort takes."""

_SORT_ALIASES: Final[Mapping[str, str]] = {"final_loss": "loss", "final_excess_loss": "excess_loss"}
# A spreadsheet runs a cell that begins like this (OWASP, "CSV Injection").
_FORMULA_STARTS: Final = ("=", "+", "-", "@")

Row = dict[str, Any]


@router.get(
    "/runs",
    responses=responses(
        InvalidParameter,
        InvalidCursor,
        NotAcceptable,
        JobNotFound,
        JobExpired,
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
    limit: Annotated[int, Query(ge=1, le=MAX_RUNS)] = DEFAULT_RUNS,
    cursor: Annotated[str | None, Query(description="From `next_cursor` of a page.")] = None,
    form: FormatText = None,
    accept: AcceptText = None,
) -> Response:
    """List the runs of a comparison (a fit has one), without their histories."""
    form = choose_format(form, accept, offered=("json", "csv"))
    record = await store.get(asked.id)
    runs = sort_runs(run_objects(record), sort)
    start = _read_cursor(cursor)
    page = runs[start : start + limit]
    end = str(start + limit) if start + limit < len(runs) else None
    following = next_page(request, f"{JOBS_PATH}/{record.id}/runs", cursor=end)
    headers = {
        **job_headers(record),
        **asked.headers(),
        **link_header(following),
        "Vary": "Accept",
    }
    if form == "csv":
        return Response(runs_to_csv(page), media_type=MEDIA_TYPES["csv"], headers=headers)
    content = {"object": "list", "data": page, "total": len(runs)}
    return Answer({**content, "next_cursor": end, "next": following}, headers=headers)


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
    writer.writerows([_guard(_cell(run, name)) for name in COLUMNS] for run in runs)
    return text.getvalue()


def _cell(run: Row, name: str) -> Any:  # noqa: ANN401  # a value of JSON
    if not name.startswith("best_"):
        return run[name]
    best: dict[str, Any] | None = run["best"]
    return best[name.removeprefix("best_")] if best else None


def _guard(cell: object) -> object:
    match cell:
        case bool():
            return str(cell).lower()
        case str():
            line = " ".join(cell.split())
            return f"'{line}" if line.startswith(_FORMULA_STARTS) else line
        case _:
            return cell


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
