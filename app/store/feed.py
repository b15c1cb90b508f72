"""Wakes whoever waits for a job to change: one subscription a process, no polling.

The order that makes it free of races: watch first, then read the job, then wait for it to move
past what was read. A change before the watch is in what was read, a later one reaches the watch.
It does not know what changed.
"""

import asyncio
import contextlib
import logging
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any, Final

from redis.asyncio import Redis
from redis.exceptions import RedisError
from redis.exceptions import TimeoutError as RedisTimeoutError

from app.log import fields
from app.settings import Settings
from app.store.connect import Pauses
from app.store.keys import Keys

_LOG: Final = logging.getLogger(__name__)

QUIET_SECONDS: Final = 5.0
"""A connection silent for this long is asked whether it still lives; twice silent, it does not."""
_CANCEL_AGAIN_SECONDS: Final = 0.1


class Watch:
    """One reader's eye on one job."""

    def __init__(self) -> None:
        self._seen = 0
        self._is_shaken = False
        self._moved = asyncio.Event()

    @property
    def told(self) -> int:
        """The largest seq that was heard; 0 when nothing was, or something may have been missed.

        Once anything has been heard, every later change will be.
        """
        return self._seen

    async def moved_past(self, seq: int, *, timeout: float) -> bool:  # noqa: ASYNC109  # a long poll ends by itself
        """Wait until the job may have a larger seq than this; read it again then.

        Args:
            seq: What the reader has seen.
            timeout: Longest wait in seconds.

        Returns:
            False when the time is up and nothing was heard.
        """
        try:
            async with asyncio.timeout(timeout):
                while self._seen <= seq and not self._is_shaken:
                    self._moved.clear()
                    await self._moved.wait()
        except TimeoutError:
            return False
        self._is_shaken = False
        return True

    def tell(self, seq: int) -> None:
        """Take note that the job has reached this seq."""
        self._seen = max(self._seen, seq)
        self._moved.set()

    def shake(self) -> None:
        """Wake the reader although nothing was heard: something may have been missed.

        What was heard before no longer counts: a Redis that came back may have lost it.
        """
        self._seen = 0
        self._is_shaken = True
        self._moved.set()


class Feed:
    """Listens to the bus and tells the watches."""

    def __init__(
        self, redis: Redis, settings: Settings, *, quiet_seconds: float = QUIET_SECONDS
    ) -> None:
        self._redis: Any = redis  # redis-py's own types are partly unknown
        self._channel = Keys(settings.namespace).bus
        self._quiet_seconds = quiet_seconds
        self._watches = dict[str, set[Watch]]()
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begin to listen; Redis may still be away."""
        self._task = asyncio.create_task(self._listen_for_ever(), name="feed")

    async def stop(self) -> None:
        """Stop listening; readers that still wait run into their timeouts."""
        task, self._task = self._task, None
        while task is not None and not task.done():
            # More than once: redis-py 8.1 swallows a cancellation that meets it while a connection
            # breaks, and the listener would go on for ever.
            task.cancel()
            await asyncio.wait({task}, timeout=_CANCEL_AGAIN_SECONDS)

    def shake(self) -> None:
        """Wake every reader although its job may not have moved."""
        for watches in self._watches.values():
            for watch in watches:
                watch.shake()

    @contextlib.asynccontextmanager
    async def watch(self, job_id: str) -> AsyncGenerator[Watch]:
        """Watch a job from here on; read the job inside the block, not before."""
        watch = Watch()
        self._watches.setdefault(job_id, set()).add(watch)
        try:
            yield watch
        finally:
            watches = self._watches[job_id]
            watches.discard(watch)
            if not watches:
                del self._watches[job_id]

    async def _listen_for_ever(self) -> None:
        pauses = Pauses()
        while True:
            try:
                async for _ in self._listen():
                    pauses.reset()
            except (RedisError, OSError) as error:
                _LOG.warning("feed.interrupted", extra=fields(reason=str(error)))
            except Exception:  # noqa: BLE001  # the top of the task: readers must go on being woken
                _LOG.exception("feed.failed")
            await asyncio.sleep(pauses.next_seconds())

    async def _listen(self) -> AsyncIterator[None]:
        """Follow the bus until the connection fails; yields at every sign of life."""
        async with self._redis.pubsub() as bus:
            await bus.subscribe(self._channel)
            is_asked = False
            while True:
                message = await bus.get_message(timeout=self._quiet_seconds)
                if message is None:
                    if is_asked:
                        raise RedisTimeoutError("the connection has fallen silent")
                    await bus.ping()
                    is_asked = True
                    continue
                is_asked = False
                self._take(message["type"], message["data"])
                yield

    def _take(self, kind: str, data: bytes | int) -> None:
        if kind == "subscribe":
            # Whatever was told while nobody listened is lost: everybody reads again.
            self.shake()
        elif isinstance(data, bytes) and kind == "message":
            job_id, _, seq = data.decode().partition(" ")
            for watch in self._watches.get(job_id, ()):
                watch.tell(int(seq))
