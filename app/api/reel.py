"""What follows in the log of one job, read and encoded once for all its streams.

It does not know when to read: the streams do, because each has its own watch.
"""

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Final

from app.api.frame import make_frame
from app.api.place import ask_place
from app.api.view import event_object, job_object
from app.domain.events import Event
from app.store.jobs import JobStore

EVENTS_A_READ: Final = 100
"""Some 30 kB of frames: what a reader who fell behind makes us hold at once."""

SNAPSHOT: Final = "snapshot"

Turn = Callable[[], AbstractAsyncContextManager[None]]
"""Asked before each use of the store."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """Frames that follow each other, ready to be sent.

    Attributes:
        frames: Perhaps none: a job also changes without an event.
        seq: Where a reader stands who has them.
        is_whole: Nothing followed when they were read.
        is_last: Nothing can follow.
    """

    frames: bytes
    seq: int
    is_whole: bool = True
    is_last: bool = False


class Reel:
    """The log of one job as frames.

    Args:
        job_id: Which job.
        store: Where it is.
        turn: Bounds how many read at once.
    """

    def __init__(self, job_id: str, *, store: JobStore, turn: Turn) -> None:
        self._job_id = job_id
        self._store = store
        self._turn = turn
        self._lock = asyncio.Lock()
        self._from: int | None = None
        self._piece: Piece | None = None

    async def after(self, seq: int | None, *, told: int) -> Piece:
        """Return what a reader has not seen yet.

        Args:
            seq: What the reader has seen; None begins with a snapshot. A snapshot also comes where
                the log does not go on from there, see Tail.goes_on_from.
            told: Watch.told. Once the reader has heard anything, what another one found is as good
                as a read of its own: whatever came later will be heard as well.

        Raises:
            JobNotFound: The job was deleted.
            JobExpired: Its retention is over.
            StoreUnavailable: Redis is away.
        """
        async with self._lock:
            known = self._piece
            if told and known and seq is not None and seq == self._from and seq < known.seq:
                return known
            async with self._turn():
                piece = await (self._begin() if seq is None else self._go_on(seq))
            self._from, self._piece = seq, piece
            return piece

    async def _go_on(self, seq: int) -> Piece:
        tail = await self._store.tail(self._job_id, after=seq, limit=EVENTS_A_READ)
        if not tail.goes_on_from(seq):
            return await self._begin()
        return Piece(
            frames=b"".join([await self._encode(event) for event in tail.events]),
            seq=tail.seq if tail.is_whole else tail.events[-1].seq,
            is_whole=tail.is_whole,
            is_last=tail.is_whole and tail.is_done,
        )

    async def _begin(self) -> Piece:
        """Return the job as it stands, and of one that has ended also the event that ended it.

        Its snapshot is numbered just before that event: so ids rise, and a connection that breaks
        between the two loses neither.
        """
        record = await self._store.get(self._job_id)
        shown = job_object(record, place=await ask_place(record, store=self._store))
        if not record.status.is_terminal:
            return Piece(frames=make_frame(SNAPSHOT, shown, seq=record.seq), seq=record.seq)
        last = (await self._store.tail(self._job_id, limit=1)).newest
        frames = make_frame(SNAPSHOT, shown, seq=last.seq - 1)
        frames += make_frame(last.type, shown, seq=last.seq)
        return Piece(frames=frames, seq=last.seq, is_last=True)

    async def _encode(self, event: Event) -> bytes:
        shown = event_object(event)
        if event.type.is_terminal:
            shown = job_object(await self._store.get(self._job_id))
        return make_frame(event.type, shown, seq=event.seq)
