"""Holding an answer until a job has moved: how long a client asks for, and who wakes it.

The wake-up is the event itself, through the feed; the store is never polled.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Annotated, Final

from fastapi import Depends, Header, Query, Request

from app.api.deps import Rooms, RoomsDep
from app.domain.errors import InvalidParameter
from app.domain.job import JobRecord

DEFAULT_WAIT_SECONDS: Final = 30.0
"""What `?wait` without a number means."""

_WORDS: Final = {"": DEFAULT_WAIT_SECONDS, "true": DEFAULT_WAIT_SECONDS, "false": 0.0}

Settled = Callable[[JobRecord], bool]
"""Tells whether a job is what the client waits for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wait:
    """How long an answer may be held.

    Attributes:
        seconds: 0 answers at once.
        applied: Value of Preference-Applied; None when no Prefer header was heeded.
    """

    seconds: float
    applied: str | None = None

    def headers(self) -> dict[str, str]:
        """Return what the answer says about the wait."""
        return {} if self.applied is None else {"Preference-Applied": self.applied}


def parse_wait(asked: str | None, prefer: str | None, *, default: float, cap: float) -> Wait:
    """Return the wait that a request asks for; the query wins over the header.

    Args:
        asked: Value of ?wait; "" is `?wait` alone; None when there is none.
        prefer: Value of Prefer; None when there is none.
        default: Seconds when neither says anything.
        cap: Longest wait; a longer one is cut, because a proxy would cut it anyway.

    Raises:
        InvalidParameter: ?wait is no number of seconds. A bad preference is ignored (RFC 7240).
    """
    if asked is not None:
        seconds = _to_seconds(asked)
        if seconds is None:
            raise InvalidParameter(
                f"wait must be a number of seconds up to {cap:g}, or nothing for "
                f"{DEFAULT_WAIT_SECONDS:g}"
            )
        return Wait(seconds=min(seconds, cap))
    preferred = _preferred_seconds(prefer or "")
    if preferred is not None:
        seconds = min(preferred, cap)
        return Wait(seconds=seconds, applied=f"wait={seconds:g}")
    return Wait(seconds=min(default, cap))


def _to_seconds(text: str) -> float | None:
    word = _WORDS.get(text.strip().lower())
    if word is not None:
        return word
    try:
        seconds = float(text)
    except ValueError:
        return None
    return seconds if seconds >= 0 else None  # also refuses NaN


def _preferred_seconds(prefer: str) -> float | None:
    """Return the seconds of "wait=N" among the preferences; respond-async is 0."""
    for preference in prefer.split(","):
        name, _, value = preference.split(";")[0].partition("=")
        match name.strip().lower():
            case "wait":
                return _to_seconds(value.strip().strip('"'))
            case "respond-async":
                return 0.0
            case _:
                continue
    return None


WaitText = Annotated[
    str | None,
    Query(
        alias="wait",
        description="Hold the answer until the job is done, at most so many seconds; "
        "`?wait` alone is 30. The status code tells whether it is.",
        examples=["10"],
    ),
]
PreferText = Annotated[
    str | None, Header(alias="Prefer", description="`wait=N` is the same as `?wait=N`.")
]


async def read_wait(rooms: RoomsDep, wait: WaitText = None, prefer: PreferText = None) -> Wait:
    """Read ?wait and Prefer of a request that answers at once by default."""
    return parse_wait(wait, prefer, default=0.0, cap=rooms.settings.max_wait_seconds)


async def read_patient_wait(
    rooms: RoomsDep, wait: WaitText = None, prefer: PreferText = None
) -> Wait:
    """Read ?wait and Prefer of the short aliases, which hold the answer by default."""
    cap = rooms.settings.max_wait_seconds
    return parse_wait(wait, prefer, default=DEFAULT_WAIT_SECONDS, cap=cap)


WaitDep = Annotated[Wait, Depends(read_wait)]
PatientWaitDep = Annotated[Wait, Depends(read_patient_wait)]


def is_done(record: JobRecord) -> bool:
    """Tell whether the job has ended."""
    return record.status.is_terminal


async def wait_until(
    record: JobRecord, settled: Settled, *, wait: Wait, rooms: Rooms, request: Request
) -> JobRecord:
    """Return the job as soon as it is settled, or as it stands when time is up.

    A client that goes away ends the wait at once, and so does a process that is asked to stop.

    Args:
        record: The job as it was read last.
        settled: What is waited for.
        wait: For how long.
        rooms: Store and feed.
        request: Whose client may go away.

    Raises:
        JobNotFound: The job was deleted meanwhile.
        JobExpired: Its retention ended meanwhile.
        StoreUnavailable: Redis went away.
    """
    if settled(record) or wait.seconds <= 0:
        return record
    following = _follow(record.id, settled, rooms=rooms, seconds=wait.seconds)
    return await _unless_gone(following, request) or record


async def _follow(job_id: str, settled: Settled, *, rooms: Rooms, seconds: float) -> JobRecord:
    loop = asyncio.get_running_loop()
    deadline = loop.time() + seconds
    # Registered first, read second: a change between the two wakes the watch.
    async with rooms.feed.watch(job_id) as watch:
        while True:
            record = await rooms.store.get(job_id)
            left = deadline - loop.time()
            if settled(record) or left <= 0 or rooms.following.is_closing:
                return record
            await watch.moved_past(record.seq, timeout=left)


async def _unless_gone(following: Awaitable[JobRecord], request: Request) -> JobRecord | None:
    """Return what is followed, or None when the client has hung up before."""
    task = asyncio.ensure_future(following)
    hang_up = asyncio.ensure_future(_until_gone(request))
    try:
        await asyncio.wait({task, hang_up}, return_when=asyncio.FIRST_COMPLETED)
        return task.result() if task.done() else None
    finally:
        for pending in (task, hang_up):
            pending.cancel()
        await asyncio.gather(task, hang_up, return_exceptions=True)


async def _until_gone(request: Request) -> None:
    # The body has been read or there is none; what follows is the disconnect.
    while (await request.receive())["type"] != "http.disconnect":
        pass
