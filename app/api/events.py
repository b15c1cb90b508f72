"""Route of a job's event log."""

from typing import Annotated, Final

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from app.api.answer import Answer
from app.api.asked import AskedDep
from app.api.deps import StoreDep
from app.api.errors import responses
from app.api.listing import link_header, next_page
from app.api.show import job_headers
from app.api.view import JOB_PATH, JOBS_PATH, event_object
from app.domain.errors import InvalidParameter, JobExpired, JobNotFound, StoreUnavailable

router = APIRouter(prefix=JOB_PATH, tags=["jobs"])

DEFAULT_EVENTS: Final = 100
MAX_EVENTS: Final = 1_000
_LARGEST_SEQ: Final = 2**53


@router.get(
    "/events",
    responses=responses(InvalidParameter, JobNotFound, JobExpired, StoreUnavailable),
)
async def list_events(
    asked: AskedDep,
    store: StoreDep,
    request: Request,
    after: Annotated[
        int, Query(ge=0, le=_LARGEST_SEQ, description="Only events after this seq.")
    ] = 0,
    limit: Annotated[int, Query(ge=1, le=MAX_EVENTS)] = DEFAULT_EVENTS,
) -> Response:
    """List what happened to a job, oldest first; `seq` only rises."""
    record = await store.get(asked.id)
    events = await store.events(record.id, after=after, limit=limit + 1)
    page = events[:limit]
    last = page[-1].seq if page else after
    path = f"{JOBS_PATH}/{record.id}/events"
    following = next_page(request, path, after=last if len(events) > limit else None)
    content = {
        "object": "list",
        "data": [event_object(event) for event in page],
        "last_seq": last,
        "next": following,
    }
    return Answer(
        content, headers={**job_headers(record), **asked.headers(), **link_header(following)}
    )
