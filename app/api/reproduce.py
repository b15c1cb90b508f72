"""Route of the stand-alone script that makes a run's numbers again."""

from fastapi import APIRouter
from starlette.responses import Response

from app.api.asked import AskedDep
from app.api.deps import StoreDep
from app.api.errors import responses
from app.api.history import RunNumber
from app.api.show import job_headers
from app.api.single_run import check_run
from app.api.view import JOB_PATH, JOBS_PATH
from app.domain.data import Columns, StoredColumns
from app.domain.errors import (
    InvalidParameter,
    JobExpired,
    JobNotFound,
    NotFound,
    StoreUnavailable,
)
from app.domain.job import JobRecord
from app.domain.kinds import fit_of_run
from app.domain.series import StoredSeries
from app.reproduce import EMBEDDED_POINTS, make_script

router = APIRouter(prefix=JOB_PATH, tags=["jobs"])


@router.get(
    "/reproduce.py",
    responses=responses(InvalidParameter, NotFound, JobNotFound, JobExpired, StoreUnavailable),
)
async def reproduce(asked: AskedDep, store: StoreDep, run: RunNumber = None) -> Response:
    """Write a plain torch script that prints the run's own history, without this service."""
    record = await store.get(asked.id)
    number = check_run(record, run)
    data = record.spec.data
    points = data if isinstance(data, Columns) else None
    if isinstance(data, StoredColumns) and data.num_points <= EMBEDDED_POINTS:
        points = await store.points(record.id)
    if isinstance(data, StoredSeries):
        points = await store.one_series(record.id, run=number)
    spec = fit_of_run(record.spec, number, points)
    if isinstance(spec.data, Columns):
        points = spec.data
    results = record.outcome.runs if record.outcome else ()
    lr = results[number].lr if number < len(results) else None
    script = make_script(spec, points, lr=lr)
    headers = {
        **job_headers(record),
        **_related(record, number),
        **asked.headers(),
        "Content-Disposition": 'inline; filename="reproduce.py"',
    }
    return Response(script, media_type="text/x-python", headers=headers)


def _related(record: JobRecord, run: int) -> dict[str, str]:
    """Return the Link to points that are too many for a script; none where they are drawn."""
    path = f"{JOBS_PATH}/{record.id}/data?format=csv&header=false"
    match record.spec.data:
        case StoredColumns():
            return {"Link": f'<{path}>; rel="related"'}
        case StoredSeries():
            return {"Link": f'<{path}&run={run}>; rel="related"'}
        case _:
            return {}
