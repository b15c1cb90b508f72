"""Route of a job's event log as server-sent events."""

import asyncio
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from typing import Annotated, Final

from fastapi import APIRouter, Header, Query
from starlette.responses import Response, StreamingResponse
from starlette.types import Message, Send

from app.api.asked import AskedDep
from app.api.deps import RoomsDep
from app.api.errors import responses
from app.api.formats import MEDIA_TYPES, AcceptText, choose_format
from app.api.view import JOB_PATH
from app.domain.errors import (
    InvalidParameter,
    JobExpired,
    JobNotFound,
    NotAcceptable,
    StoreUnavailable,
)

router = APIRouter(prefix=JOB_PATH, tags=["jobs"])

_LARGEST_SEQ: Final = 2**53
LONGEST_SEND_SECONDS: Final = 60.0
"""A reader that has taken nothing for so long, with 64 kB waiting for it, is given up."""
_HEADERS: Final = {
    "Cache-Control": "no-store",
    "X-Accel-Buffering": "no",  # nginx holds answers back otherwise
}


class EventStream(StreamingResponse):
    """An answer that goes on; it ends early when the client has gone or takes nothing.

    Args:
        frames: What to send.
        headers: Further headers.
        media_type: Of the whole.
        longest_send_seconds: How long one frame may wait for the client to make room.
    """

    def __init__(
        self,
        frames: AsyncGenerator[bytes],
        *,
        headers: Mapping[str, str],
        media_type: str = MEDIA_TYPES["sse"],
        longest_send_seconds: float = LONGEST_SEND_SECONDS,
    ) -> None:
        super().__init__(frames, headers=headers, media_type=media_type)
        self._frames = frames
        self._longest_send_seconds = longest_send_seconds

    async def stream_response(self, send: Send) -> None:
        """Send frames one at a time: the next is made when the client has taken the last."""

        async def send_in_time(message: Message) -> None:
            # TimeoutError is an OSError, which is what a client that has gone looks like.
            async with asyncio.timeout(self._longest_send_seconds):
                await send(message)

        async with aclosing(self._frames):
            await super().stream_response(send_in_time)


@router.get(
    "/stream",
    response_class=Response,
    responses={
        204: {"description": "The job has ended and the client has seen how: do not come back"},
        **responses(InvalidParameter, NotAcceptable, JobNotFound, JobExpired, StoreUnavailable),
    },
)
async def stream_events(
    asked: AskedDep,
    rooms: RoomsDep,
    after: Annotated[
        int | None,
        Query(ge=0, le=_LARGEST_SEQ, description="Only events after this seq; no snapshot."),
    ] = None,
    last_event_id: Annotated[
        str | None,
        Header(
            alias="Last-Event-ID", description="The same, from a client that comes back; it wins."
        ),
    ] = None,
    accept: AcceptText = None,
) -> Response:
    """Follow a job: a `snapshot`, then every event as it happens; the last carries the job."""
    choose_format(None, accept, offered=("sse",))
    seen = parse_event_id(last_event_id, default=after)
    tail = await rooms.store.tail(asked.id, after=seen or 0, limit=1)
    if seen is not None and tail.is_done and not tail.events and seen <= tail.seq:
        return Response(status_code=204, headers=asked.headers())
    # A seq says nothing of which job it belonged to, and the newest may be another one by now.
    begin = None if asked.location else seen
    return EventStream(
        rooms.following.frames(asked.id, after=begin), headers={**_HEADERS, **asked.headers()}
    )


def parse_event_id(text: str | None, *, default: int | None) -> int | None:
    """Return the seq that a client says it has seen.

    Args:
        text: Value of Last-Event-ID; "" is what a client sends that has seen none.
        default: Value of ?after=.

    Raises:
        InvalidParameter: It is not an id of ours.
    """
    if not text:
        return default
    # The length first: int() refuses thousands of digits, and zeros in front hide a large number.
    is_number = text.isascii() and text.isdigit() and len(text) <= len(str(_LARGEST_SEQ))
    if not is_number or int(text) > _LARGEST_SEQ:
        raise InvalidParameter("Last-Event-ID must be the id of an event: a whole number")
    return int(text)
