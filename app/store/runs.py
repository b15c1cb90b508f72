"""The job store as a worker sees it: claim, renew, record, finish, release.

Every write names the attempt's fence and is refused once another attempt may have begun. It does
not know what a run computes.
"""

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from redis import Redis

from app.domain.history import Rows, concatenate
from app.domain.job import JobError, JobRecord, Progress, Status, WorkerInfo
from app.domain.outcome import Outcome
from app.settings import Settings
from app.store import codec
from app.store.checkpoint import Checkpoint, encode_checkpoint
from app.store.claim import Claim, Description, decode_claim
from app.store.connect import translate_errors
from app.store.keys import Keys
from app.store.records import Shelf
from app.store.scripts import Argument, Scripts, times_of
from app.store.shards import ShardStore

_STEPS_A_RUN: Final = 1_000_000_000
"""More than a run may make: run * this + step rises through a whole job."""

_NONCE_BYTES: Final = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """Rows of one run that are written together.

    Attributes:
        run: Position of the run.
        rows: Blocks that follow each other; may be empty.
        progress: Where the job stands after them; None when it is where it was.
    """

    run: int
    rows: Sequence[Rows]
    progress: Progress | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """What a job of many runs leaves beside its outcome.

    Attributes:
        orders: Positions of runs by the name of what they are ordered by.
        whole: How the runs lie in `records`; None where shards have written theirs.
        records: Of all runs; empty where shards have written theirs, or none was made.
    """

    orders: Mapping[str, bytes] = field(default_factory=dict[str, bytes])
    whole: Shelf | None = None
    records: bytes = b""

    def fields(self) -> dict[str, str]:
        """Return the fields of the job that tell of them."""
        told = {"orders": ",".join(self.orders)} if self.orders else {}
        return told if self.whole is None else told | self.whole.fields()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Written:
    """The last entry of a history that an attempt was told is there.

    A Redis that comes back without it has lost its last second: see has_forgotten in prelude.lua.
    """

    fence: str = ""
    run: int = 0
    entry: int = 0

    def by(self, claim: Claim, *, run: int) -> int:
        return self.entry if (self.fence, self.run) == (claim.fence, run) else 0


class RunStore:
    """Running jobs in Redis; every method is one round trip.

    Attributes:
        shards: The same for jobs that are split.

    All raise StoreUnavailable when Redis does not answer: the caller repeats the call, and a call
    that had happened after all does no harm the second time.
    """

    def __init__(self, redis: Redis, settings: Settings) -> None:
        self._redis: Any = redis  # redis-py's own types are partly unknown
        self._keys = Keys(settings.namespace)
        self._scripts = Scripts(redis, self._keys)
        self._lease_ms = round(settings.lease_seconds * 1000)
        self._unanswered: str | None = None
        self._written = _Written()
        self._times = times_of(settings)
        self.shards = ShardStore(redis, self._keys, self._scripts, settings)

    def warm(self) -> None:
        """Connect, and have Redis learn what every attempt runs: the first would wait for both."""
        self._scripts.load("claim", "renew", "record", "describe", "finish")

    def claim(
        self, queue: str, *, worker: str, device: str, in_hand: JobRecord | None = None
    ) -> Claim | None:
        """Take the next ready job or shard of a queue; None when there is none.

        Args:
            queue: "cpu" or "cuda".
            worker: Name of the worker that asks.
            device: The device that it will run on.
            in_hand: The job whose points the worker has: they are not sent again.
        """
        data = f'"worker":{codec.to_json(worker)},"device":{codec.to_json(device)}}}'
        # A claim that had no answer may have been heard: the same nonce finds the same job.
        nonce = self._unanswered = self._unanswered or secrets.token_hex(_NONCE_BYTES)
        known = "" if in_hand is None else f"{in_hand.id} {in_hand.created_at_ms}"
        reply = self._scripts.run(
            "claim", queue, worker, device, self._lease_ms, nonce, data, known
        )
        self._unanswered = None
        return None if reply is None else decode_claim(reply, worker=worker)

    def renew(self, claim: Claim) -> None:
        """Extend the lease by settings.lease_seconds from now.

        Raises:
            LeaseLost: The job is no longer this attempt's.
        """
        claim.check(self._scripts.run("renew", *claim.hold, self._lease_ms))

    def is_cancel_requested(self, claim: Claim) -> bool:
        """Tell whether somebody asked for this job to stop.

        Raises:
            LeaseLost: The job is no longer this attempt's.
        """
        with translate_errors():
            status, fence, asked = self._redis.hmget(
                self._keys.job(claim.id), ["status", "fence", "cancel_requested_at_ms"]
            )
        claim.check(int(status == b"running" and fence == claim.fence.encode()))
        return asked is not None

    def describe(self, claim: Claim, description: Description) -> None:
        """Write where and how this attempt runs, where no other write can carry it soon.

        Raises:
            LeaseLost: The job is no longer this attempt's.
        """
        fields = description.fields()
        claim.check(self._scripts.run("describe", *claim.hold, *_flat(fields)))

    def record(
        self,
        claim: Claim,
        *,
        run: int,
        rows: Sequence[Rows],
        progress: Progress,
        with_event: bool,
        checkpoint: Checkpoint | None = None,
        description: Description | None = None,
    ) -> None:
        """Append history, move the progress on and renew the lease, all or nothing.

        Args:
            claim: Whose attempt.
            run: Position of the run that the rows belong to.
            rows: Blocks that follow each other; may be empty.
            progress: Where the job stands after them.
            with_event: Tell it as a job.progress event too.
            checkpoint: Where the job stands after them; replaces the last one.
            description: Where and how the attempt runs, when that has not been written yet.

        Raises:
            LeaseLost: The job is no longer this attempt's; nothing was written.
        """
        block, entry = _pack(rows)
        described = _flat(_described(description))
        reply = self._scripts.run(
            "record",
            *claim.hold,
            self._lease_ms,
            run,
            self._written.by(claim, run=run),
            entry or "",
            block,
            progress.model_dump_json(),
            progress.run * _STEPS_A_RUN + progress.step,
            "1" if with_event else "",
            len(described),
            *described,
            *_flat({} if checkpoint is None else encode_checkpoint(checkpoint)),
        )
        claim.check(reply)
        if entry:
            self._written = _Written(fence=claim.fence, run=run, entry=entry)

    def start_over(self, claim: Claim) -> None:
        """Forget the history, progress and checkpoint of older attempts.

        Raises:
            LeaseLost: The job is no longer this attempt's; nothing was written.
        """
        claim.check(self._scripts.run("start_over", *claim.hold))
        self._written = _Written()

    def finish(
        self,
        claim: Claim,
        *,
        status: Status,
        outcome: Outcome | None,
        error: JobError | None,
        checkpoint: Checkpoint | None = None,
        last: Batch | None = None,
        description: Description | None = None,
        made: Made | None = None,
    ) -> None:
        """End the job: last rows, status, event and times to live in one step.

        Args:
            claim: Whose attempt.
            status: Terminal.
            outcome: What was found.
            error: Why it failed.
            checkpoint: Where a fit ended, for one that goes on from there; after its last row.
            last: Rows that have not been written yet.
            description: Where and how the attempt ran, when that has not been written yet.
            made: What a job of many runs leaves beside its outcome.

        Raises:
            LeaseLost: The job is no longer this attempt's; nothing was written.
        """
        if not status.is_terminal:
            raise ValueError(f"a job cannot end as {status}")
        last = last or Batch(run=self._written.run, rows=(), progress=None)
        made = made or Made()
        block, entry = _pack(last.rows)
        found = {"outcome": outcome, "error": error}
        told = {name: part.model_dump_json() for name, part in found.items() if part is not None}
        reply = self._scripts.run(
            "finish",
            *claim.hold,
            status.value,
            last.run,
            self._written.by(claim, run=last.run),
            *self._times,
            told.get("error", "{}"),
            entry or "",
            block,
            "" if last.progress is None else last.progress.model_dump_json(),
            *_kept(made, checkpoint),
            *_flat(_described(description) | told | made.fields()),
        )
        claim.check(reply)

    def release(self, claim: Claim) -> None:
        """Hand the job back to its old place in the queue; the attempt does not count.

        A job that was asked to stop is cancelled instead.

        Raises:
            LeaseLost: The job is no longer this attempt's; nothing was written.
        """
        claim.check(self._scripts.run("release", *claim.hold, *self._times))

    def announce(self, info: WorkerInfo, *, ttl_seconds: float) -> None:
        """Say that a worker lives, for so long."""
        self._scripts.run("announce", info.name, info.model_dump_json(), round(ttl_seconds * 1000))

    def retire(self, name: str) -> None:
        """Say that a worker has ended."""
        with translate_errors():
            self._redis.delete(self._keys.worker(name))


def _described(description: Description | None) -> dict[str, str]:
    return {} if description is None else description.fields()


def _kept(made: Made, checkpoint: Checkpoint | None) -> list[Argument]:
    """Return what finish.lua takes of records, orders and a checkpoint."""
    orders = _flat(made.orders)
    state = _flat({} if checkpoint is None else encode_checkpoint(checkpoint))
    return [made.records, len(orders), len(state), *orders, *state]


def _pack(rows: Sequence[Rows]) -> tuple[bytes, int]:
    """Return one block of all rows, and its entry in the history: 0 when there is no row."""
    full = [part for part in rows if len(part)]
    if not full:
        return b"", 0
    block = concatenate(full)
    return codec.encode_rows(block), block.step[-1] + 1


def _flat(fields: Mapping[str, str | bytes]) -> list[Argument]:
    return [word for field in fields.items() for word in field]
