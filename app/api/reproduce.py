"""Route of the stand-alone script that makes a run's numbers again."""

from fastapi import APIRouter
from starlette.responses import Response

from app.api.asked import AskedDep
from app.api.deps import StoreDep
from app.api.errors import responses
from app.api.history import RunNumber, check_run
from app.api.show import job_headers
from app.api.view import JOB_PATH, JOBS_PATH
from app.domain.data import Columns, StoredColumns
from app.domain.errors import (
    InvalidParameter,
    JobExpired,
    JobNotFound,
    NotFound,
    StoreUnavailable,
)
from app.domain.spec import run_specs
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
    _, spec = run_specs(record.spec)[number]
    data = record.spec.data
    points = data if isinstance(data, Columns) else None
    if isinstance(data, StoredColumns) and data.num_points <= EMBEDDED_POINTS:
        points = await store.points(record.id)
    results = record.outcome.runs if record.outcome else ()
    lr = results[number].lr if number < len(results) else None
    script = make_script(spec, points, lr=lr)
    related = {"Link": f'<{JOBS_PATH}/{record.id}/data?format=csv&header=false>; rel="related"'}
    headers = {
        **job_headers(record),
        **(related if isinstance(data, StoredColumns) else {}),
        **asked.headers(),
        "Content-Disposition": 'inline; filename="reproduce.py"',
    }
    return Response(script, media_type="text/x-python", headers=headers)
