"""One run of a sweep or a batch with its whole history: a plain fit, made when it is asked for."""

from fastapi import Request

from app.api.deps import Rooms
from app.api.security import client_of, is_cross_site
from app.api.wait import Wait, is_done, wait_until
from app.domain.errors import CrossSiteRequest, InvalidParameter, NotFound
from app.domain.job import JobRecord
from app.domain.kinds import ManyRuns


def check_run(record: JobRecord, run: int | None) -> int:
    """Return the number of the run that is asked for; 0 when none is, and the runs are few.

    Raises:
        NotFound: The job has no such run.
        InvalidParameter: The job has many runs, and none is asked for.
    """
    count = record.spec.num_runs
    if run is None and isinstance(record.spec, ManyRuns):
        raise InvalidParameter(f"Say which of the {count} runs: ?run=0 to ?run={count - 1}")
    number = run or 0
    if number >= count:
        known = "one run: run 0" if count == 1 else f"{count} runs: 0 to {count - 1}"
        raise NotFound(f"The job {record.id} has {known}")
    return number


async def fit_behind(
    record: JobRecord, run: int, *, wait: Wait, rooms: Rooms, request: Request
) -> JobRecord:
    """Return the job that holds a run's history: the job itself, or the fit that repeats the run.

    Args:
        record: The job.
        run: A run that it has.
        wait: How long the fit may take before it is shown as it stands.
        rooms: Where it is made.
        request: Whose client asks.

    Raises:
        CrossSiteRequest: A foreign page asks; it must not make jobs.
        QueueFull: The fit is not there yet, and has no place to wait.
    """
    if not isinstance(record.spec, ManyRuns):
        return record
    if is_cross_site(request):
        raise CrossSiteRequest("A page of another origin must not ask for the history of a run")
    fit = await rooms.service.repeat_run(record, run, client=client_of(request))
    return await wait_until(fit, is_done, wait=wait, rooms=rooms, request=request)
