"""One worker's right to run a job, a shard of one, or to assemble one."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from app.domain.batch import BatchSpec
from app.domain.data import Columns, columns_from_bytes
from app.domain.errors import LeaseLost
from app.domain.job import JobError, JobRecord, Status
from app.domain.result import DeviceUsed, EngineUsed
from app.domain.series import SeriesColumns, series_from_bytes
from app.store import codec
from app.store.checkpoint import Checkpoint, decode_checkpoint
from app.store.records import Shelf, decode_shelf


@dataclass(frozen=True, slots=True, kw_only=True)
class Split:
    """How a job was split, and how its computing has ended.

    Attributes:
        shard: Number of the shard that was claimed; None when the job has to be assembled.
        shelf: How the runs are cut, and which shards are done.
        closed: How the job must end; None when nothing has ended it early.
        fault: Why it failed.
    """

    shard: int | None
    shelf: Shelf
    closed: Status | None = None
    fault: JobError | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """One worker's right to run a job.

    Attributes:
        record: The job as it was claimed.
        columns: The stored points; None when the spec says what the points are, or the worker has
            said that it has them in hand.
        attempt: Number of this try, from 1, for people; a drained attempt gives its number back.
        fence: Names the claim, and no other one of any time: a rising number and a nonce.
        worker: Who claimed.
        checkpoint: Where an older attempt stood; history and progress reach as far.
        split: What it is of a job of many runs that was split; None for a whole job.
    """

    record: JobRecord
    columns: Columns | SeriesColumns | None
    attempt: int
    fence: str
    worker: str
    checkpoint: Checkpoint | None = None
    split: Split | None = None

    @property
    def shard(self) -> int | None:
        """Number of the shard that it is; None for a job."""
        return None if self.split is None else self.split.shard

    @property
    def id(self) -> str:
        """What is held: a job, or a shard of one."""
        return self.record.id if self.shard is None else f"{self.record.id}/{self.shard}"

    @property
    def hold(self) -> tuple[str, str]:
        """What every script of an attempt begins with: what it holds, and by which right."""
        return self.id, self.fence

    def check(self, is_held: int) -> None:
        """Read what a script says.

        Raises:
            LeaseLost: It is no longer this attempt's.
        """
        if not is_held:
            raise LeaseLost(f"Attempt {self.attempt} of {self.id} is over: the job is not its own")


@dataclass(frozen=True, slots=True, kw_only=True)
class Description:
    """Where and how an attempt runs."""

    device: DeviceUsed
    engine: EngineUsed

    def fields(self) -> dict[str, str]:
        """Return the fields of the job that say it."""
        device = self.device
        return {
            "device": codec.encode_device(device),
            "engine": self.engine.model_dump_json(),
            "used": device.used or device.queue,
        }


def decode_claim(reply: Sequence[Any], *, worker: str) -> Claim:
    """Read what claim.lua has handed over."""
    fence, flat, points, kept, shard, attempt, done = reply
    fields = codec.pairs(flat)
    record = codec.decode_record(fields)
    return Claim(
        record=record,
        columns=_decode_points(points, record=record) if points else None,
        attempt=int(attempt),
        fence=fence.decode(),
        worker=worker,
        checkpoint=decode_checkpoint(codec.pairs(kept)) if kept else None,
        split=_decode_split(fields, shard=shard, done=done),
    )


def _decode_points(points: bytes, *, record: JobRecord) -> Columns | SeriesColumns:
    is_batch = isinstance(record.spec, BatchSpec)
    return series_from_bytes(points) if is_batch else columns_from_bytes(points)


def _decode_split(fields: Mapping[bytes, bytes], *, shard: bytes, done: bytes) -> Split | None:
    named = (fields.get(b"total", b"-1"), fields.get(b"shards", b"-1"))
    shelf = decode_shelf((fields[b"kind"], *named, done))
    if shelf is None:
        return None
    closed, fault = fields.get(b"closed"), fields.get(b"fault")
    return Split(
        shard=int(shard) if shard else None,
        shelf=shelf,
        closed=None if closed is None else Status(closed.decode()),
        fault=None if fault is None else JobError.model_validate_json(fault),
    )
