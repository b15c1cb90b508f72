"""Follows the logs of jobs for the clients that stream them, until they or the process end.

Woken by the feed, never by polling. The log itself is the buffer: a slow reader is read for again
when it has taken what it got, so nobody makes this process hold more than one piece.
"""

import asyncio
import random
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Final
from weakref import WeakValueDictionary

from app.api.frame import HEARTBEAT, WAITING, make_retry
from app.api.reel import Piece, Reel
from app.domain.errors import JobExpired, JobNotFound, StoreUnavailable
from app.store.feed import Feed, Watch
from app.store.jobs import JobStore

HEARTBEAT_SECONDS: Final = 15.0
"""Proxies cut what is silent for 60 s, some for 30."""

_READS_AT_ONCE: Final = 16
"""Each takes a connection to Redis while it lasts, and a thousand streams may wake at once."""
_AWAY_SECONDS: Final = 1.0
"""So long after a failed read nobody tries another: it might wait two seconds for nothing."""
_RETRY_MILLISECONDS: Final = (1_000, 3_000)
"""Clients come back spread over this time, not all in the instant in which a process has gone."""
LOST_SECONDS: Final = 0.1
"""Pause before what was told, and was not there, is looked for again."""
_NEVER: Final = 2**63


class Following:
    """Every open stream of this process.

    Attributes:
        is_closing: The process has been asked to stop: nobody should be kept waiting.

    Args:
        store: Where jobs are.
        feed: Wakes streams.
        heartbeat_seconds: Longest silence.
    """

    def __init__(
        self, store: JobStore, feed: Feed, *, heartbeat_seconds: float = HEARTBEAT_SECONDS
    ) -> None:
        self._store = store
        self._feed = feed
        self._heartbeat_seconds = heartbeat_seconds
        self.is_closing = False
        self._turns = asyncio.Semaphore(_READS_AT_ONCE)
        self._away_until = 0.0
        # A reel lives as long as a stream holds it.
        self._reels = WeakValueDictionary[str, Reel]()

    def close(self) -> None:
        """End every stream at once; clients come back, to another process or to the next one."""
        self.is_closing = True
        self._feed.shake()

    async def frames(self, job_id: str, *, after: int | None) -> AsyncGenerator[bytes]:
        """Yield the frames of one stream, and comments while there are none.

        A store that goes away is waited for: were the stream closed, a browser would meet a 503
        and never come back. It ends without a last event when the job is deleted meanwhile.

        Args:
            job_id: Which job.
            after: Seq that the client has seen; None begins with a snapshot.
        """
        yield make_retry(random.randint(*_RETRY_MILLISECONDS))  # noqa: S311  # no secret
        reel = self._reel(job_id)
        async with self._feed.watch(job_id) as watch:
            while not self.is_closing:
                try:
                    piece = await reel.after(after, told=watch.told)
                except StoreUnavailable:
                    yield WAITING
                    await watch.moved_past(_NEVER, timeout=_AWAY_SECONDS)
                    continue
                except (JobNotFound, JobExpired):
                    return
                if piece.frames:
                    yield piece.frames
                if piece.is_last:
                    return
                while not await self._may_go_on(watch, piece, after=after):
                    yield HEARTBEAT
                after = piece.seq

    async def _may_go_on(self, watch: Watch, piece: Piece, *, after: int | None) -> bool:
        """Wait until there may be more to read; False when it is time for a heartbeat instead."""
        if not piece.is_whole:
            return True
        if watch.told > piece.seq == after:
            # What was told is not there: Redis has lost it, and the feed will soon hear so.
            await asyncio.sleep(LOST_SECONDS)
        return await watch.moved_past(piece.seq, timeout=self._heartbeat_seconds)

    def _reel(self, job_id: str) -> Reel:
        reel = self._reels.get(job_id)
        if reel is None:
            reel = self._reels[job_id] = Reel(job_id, store=self._store, turn=self._turn)
        return reel

    @asynccontextmanager
    async def _turn(self) -> AsyncGenerator[None]:
        clock = asyncio.get_running_loop().time
        async with self._turns:
            if clock() < self._away_until:
                raise StoreUnavailable("The store did not answer just now")
            try:
                yield
            except StoreUnavailable:
                self._away_until = clock() + _AWAY_SECONDS
                raise
