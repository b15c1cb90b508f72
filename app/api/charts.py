"""Routes of a job's loss curve: SVG, PNG, terminal text and the Vega-Lite spec behind them."""

from dataclasses import dataclass
from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends, Query
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from app.api.answer import Answer
from app.api.asked import AskedDep
from app.api.deps import RoomsDep
from app.api.errors import responses
from app.api.etag import IfNoneMatch, matches, not_modified, to_etag
from app.api.show import job_headers, load_histories
from app.api.view import JOB_PATH, JOBS_PATH
from app.charts.caption import curves_of, subtitle_of, title_of
from app.charts.curve import loss_chart
from app.charts.series import Abscissa, Curve, Quantity, Scale
from app.charts.text import draw_curves
from app.domain.errors import (
    ChartUnavailable,
    InvalidParameter,
    JobExpired,
    JobNotFound,
    NotFound,
    StoreUnavailable,
)
from app.domain.job import JobRecord
from app.domain.kinds import ManyRuns

router = APIRouter(prefix=JOB_PATH, tags=["charts"])

_SAFE_SVG: Final = {"Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'"}
_REFUSALS: Final[dict[int | str, dict[str, Any]]] = {
    304: {"description": "Still the picture that If-None-Match names"},
    **responses(InvalidParameter, NotFound, JobNotFound, JobExpired, StoreUnavailable),
}
_DRAWN_REFUSALS: Final = {
    **_REFUSALS,
    **responses(StoreUnavailable, ChartUnavailable),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Chart:
    """What a picture shows.

    Attributes:
        record: The job.
        curves: Its histories.
        y: What stands on the ordinate.
        scale: How.
        headers: Version of the picture and where it is.
        is_known: The client has this very version.
    """

    record: JobRecord
    curves: tuple[Curve, ...]
    y: Quantity
    scale: Scale
    headers: dict[str, str]
    is_known: bool

    async def spec(self, *, x: Abscissa) -> dict[str, Any]:
        """Return the picture as Vega-Lite; long histories are thinned off the event loop."""
        return await run_in_threadpool(
            loss_chart,
            self.curves,
            title=title_of(self.record),
            subtitle=subtitle_of(self.record),
            y=self.y,
            scale=self.scale,
            x=x,
        )

    def not_modified(self) -> Response:
        """Return the 304."""
        return not_modified(self.headers["ETag"], self.headers)


async def read_chart(
    asked: AskedDep,
    rooms: RoomsDep,
    y: Annotated[Quantity, Query(description="`excess` is the loss above the minimum.")] = "excess",
    scale: Annotated[Scale, Query(description="Of the ordinate.")] = "log",
    if_none_match: IfNoneMatch = None,
) -> Chart:
    """Read the job and everything that its picture is made of."""
    record = await rooms.store.get(asked.id)
    if isinstance(record.spec, ManyRuns):
        raise NotFound(
            f"A {record.spec.kind} has no loss curve: {JOBS_PATH}/{record.id}/history?run=0 makes "
            "the fit behind a run, which has one"
        )
    rows = await load_histories(record, rooms=rooms)
    last_steps = sum(run.step[-1] + 1 for run in rows if len(run))
    etag = to_etag(record.seq, last_steps)
    return Chart(
        record=record,
        curves=curves_of(record, rows),
        y=y,
        scale=scale,
        headers={**job_headers(record), **asked.headers(), "ETag": etag},
        is_known=matches(if_none_match, etag),
    )


ChartDep = Annotated[Chart, Depends(read_chart)]
AbscissaQuery = Annotated[Abscissa, Query(description="`log` spreads the first steps.")]


@router.get("/chart.svg", responses=_DRAWN_REFUSALS)
async def chart_svg(chart: ChartDep, rooms: RoomsDep, x: AbscissaQuery = "step") -> Response:
    """Draw the loss curve as SVG."""
    if chart.is_known:
        return chart.not_modified()
    picture = await rooms.renderer.svg(await chart.spec(x=x))
    return Response(picture, media_type="image/svg+xml", headers={**chart.headers, **_SAFE_SVG})


@router.get("/chart.png", responses=_DRAWN_REFUSALS)
async def chart_png(chart: ChartDep, rooms: RoomsDep, x: AbscissaQuery = "step") -> Response:
    """Draw the loss curve as PNG."""
    if chart.is_known:
        return chart.not_modified()
    picture = await rooms.renderer.png(await chart.spec(x=x))
    return Response(picture, media_type="image/png", headers=chart.headers)


@router.get("/chart.json", responses=_REFUSALS)
async def chart_json(chart: ChartDep, x: AbscissaQuery = "step") -> Response:
    """Return the loss curve as a Vega-Lite spec with its data inside."""
    if chart.is_known:
        return chart.not_modified()
    return Answer(await chart.spec(x=x), headers=chart.headers)


@router.get("/chart.txt", responses=_REFUSALS)
async def chart_txt(
    chart: ChartDep,
    width: Annotated[int, Query(ge=24, le=240, description="Columns of the terminal.")] = 72,
    height: Annotated[int, Query(ge=3, le=80, description="Lines of the plot.")] = 16,
) -> Response:
    """Draw the loss curve with letters, for a terminal."""
    if chart.is_known:
        return chart.not_modified()
    text = await run_in_threadpool(
        draw_curves, chart.curves, width=width, height=height, y=chart.y, scale=chart.scale
    )
    return Response(f"{text}\n", media_type="text/plain", headers=chart.headers)
