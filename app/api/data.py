"""Route of the points that were sent with a job."""

import csv
import io
from collections.abc import Mapping
from typing import Annotated, Any, Final

from fastapi import APIRouter, Query
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from app.api.answer import Answer
from app.api.asked import AskedDep
from app.api.columns import pairs_to_csv
from app.api.deps import StoreDep
from app.api.errors import responses
from app.api.formats import MEDIA_TYPES, AcceptText, FormatText, choose_format
from app.api.many_runs import guard
from app.api.plan import PlannedRoute
from app.api.single_run import check_run
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
from app.domain.job import JobRecord
from app.domain.series import SeriesColumns, StoredSeries

router = APIRouter(prefix=JOB_PATH, tags=["jobs"], route_class=PlannedRoute)

_OFF_LOOP_POINTS: Final = 2_000
"""More points than this (a few ms) are written off the event loop."""


@router.get(
    "/data",
    responses=responses(
        InvalidParameter, NotAcceptable, NotFound, JobNotFound, JobExpired, StoreUnavailable
    ),
)
async def read_data(
    asked: AskedDep,
    store: StoreDep,
    *,
    run: Annotated[
        int | None,
        Query(ge=0, le=10**9, description="Only the series of this run of a batch, from 0."),
    ] = None,
    header: Annotated[bool, Query(description="Whether the CSV begins with x,y.")] = True,
    form: FormatText = None,
    accept: AcceptText = None,
) -> Response:
    """Read the points that a job was given: JSON or CSV."""
    form = choose_format(form, accept, offered=("json", "csv"))
    record = await store.get(asked.id)
    headers = {**asked.headers(), "Vary": "Accept"}
    points = await find_points(record, run, store=store)
    if form == "csv":
        content = await run_in_threadpool(to_csv, points)
        if not header:
            content = content.partition(b"\n")[2]
        return Response(content, media_type=MEDIA_TYPES["csv"], headers=headers)
    about = {"object": "data", "job": record.id, "points": len(points.x)}
    columns = await run_in_threadpool(to_object, points)
    return Answer({**about, **columns}, headers=headers, is_long=len(points.x) > _OFF_LOOP_POINTS)


async def find_points(
    record: JobRecord, run: int | None, *, store: StoreDep
) -> Columns | SeriesColumns:
    """Return the points that came with the request.

    Args:
        record: The job.
        run: Of a batch, the series to return alone; None returns all.
        store: Where they are when the spec only names them.

    Raises:
        NotFound: There are none: the worker draws them from a recipe in the spec.
    """
    number = None if run is None else check_run(record, run)
    found: Columns | SeriesColumns | None = None
    match record.spec.data:
        case Columns() as columns:
            found = columns
        case SeriesColumns() as series:
            found = series if number is None else series.one(number)
        case StoredColumns():
            found = await store.points(record.id)
        case StoredSeries():
            found = (
                await store.series(record.id)
                if number is None
                else await store.one_series(record.id, run=number)
            )
        case _:
            pass
    if found is None:
        raise NotFound(
            "This job's points are not stored: spec.data says how they are drawn, and "
            f"{JOBS_PATH}/{record.id}/reproduce.py draws them again"
        )
    return found


def to_csv(points: Columns | SeriesColumns) -> bytes:
    """Return a header and one line a point; series have a first column that names them."""
    if isinstance(points, Columns):
        return pairs_to_csv(points.x, points.y)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("series", "x", "y"))
    writer.writerows(zip(map(_guarded, names_of(points)), points.x, points.y, strict=True))
    return text.getvalue().encode()


def to_object(points: Columns | SeriesColumns) -> Mapping[str, Any]:
    """Return the columns as a batch's body could have them."""
    columns = {"x": points.x, "y": points.y}
    if isinstance(points, SeriesColumns):
        return {"series": names_of(points), **columns}
    return columns


def names_of(series: SeriesColumns) -> list[str]:
    """Return the name, or the number, of each point's series."""
    names = series.names or tuple(map(str, range(len(series))))
    return [name for name, count in zip(names, series.lengths, strict=True) for _ in range(count)]


def _guarded(name: str) -> object:
    """A number is no formula, also where it begins with a minus."""
    try:
        float(name)
    except ValueError:
        return guard(name)
    return name
