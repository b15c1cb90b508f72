"""Jobs of many runs as a worker sees them: split one, say how far a shard is, end it, read them all.

A shard is claimed, renewed and released as a job is (runs). It does not know what a run computes.
"""

from collections.abc import Callable, Iterator
from typing import Any, Final

from redis import Redis

from app.domain.job import JobError, Status
from app.domain.run_records import never_made
from app.settings import Settings
from app.store.claim import Claim, Description
from app.store.connect import translate_errors
from app.store.keys import Keys
from app.store.records import Shelf
from app.store.scripts import Scripts, times_of
from app.store.wake_ups import MOST_WAKE_UPS

_BYTES_A_READ: Final = 4_000_000
"""What one answer may carry: a job of a million runs has 52 MB of records."""


class ShardStore:
    """Shards of running jobs in Redis; every method is one round trip unless it says otherwise.

    All raise StoreUnavailable when Redis does not answer: the caller repeats the call, and a call
    that had happened after all does no harm the second time.

    Args:
        redis: A worker's connection.
        keys: Names of its namespace.
        scripts: Loaded there.
        settings: How long a lease is.
    """

    def __init__(self, redis: Redis, keys: Keys, scripts: Scripts, settings: Settings) -> None:
        self._redis: Any = redis  # redis-py's own types are partly unknown
        self._keys = keys
        self._scripts = scripts
        self._lease_ms = round(settings.lease_seconds * 1000)
        self._retention_ms = times_of(settings)[0]

    def split(
        self,
        claim: Claim,
        shelf: Shelf,
        *,
        description: Description,
        make_wake_up: Callable[[str], bytes] | None = None,
    ) -> None:
        """Cut a job into shards, and let it go: it stays running, and is ready again at its end.

        Args:
            claim: Whose attempt.
            shelf: How it is cut, into more than one.
            description: Where and how the attempt runs.
            make_wake_up: Writes a Celery message that wakes a worker of a queue; None wakes none.

        Raises:
            LeaseLost: The job is no longer this attempt's; nothing was written.
        """
        spec = claim.record.spec
        described = [word for field in description.fields().items() for word in field]
        count = 0 if make_wake_up is None else min(MOST_WAKE_UPS, shelf.cut.num_shards)
        wake_ups = [make_wake_up(claim.record.device.queue) for _ in range(count) if make_wake_up]
        reply = self._scripts.run(
            "split",
            *claim.hold,
            *shelf.fields().values(),
            spec.steps,
            round(spec.timeout_seconds * 1000),
            len(described),
            *described,
            *wake_ups,
        )
        claim.check(reply)

    def advance(self, claim: Claim, *, runs: float) -> None:
        """Say how far a shard is, and renew its lease; its job tells its clients now and then.

        Args:
            claim: Whose attempt.
            runs: Runs that are done, by their share of the work.

        Raises:
            LeaseLost: The shard is no longer this attempt's.
        """
        claim.check(self._scripts.run("advance", *claim.hold, self._lease_ms, f"{runs:.3f}"))

    def finish(
        self,
        claim: Claim,
        *,
        status: Status,
        records: bytes = b"",
        error: JobError | None = None,
    ) -> None:
        """End a shard: its records lie in its job's, and the next shards are opened.

        A shard that has failed ends its job; one that was cancelled leaves nothing.

        Args:
            claim: Whose attempt.
            status: Terminal.
            records: One a run, when it has succeeded.
            error: Why it failed.

        Raises:
            LeaseLost: The shard is no longer this attempt's; nothing was written.
        """
        split = claim.split
        if split is None or split.shard is None:
            raise ValueError(f"{claim.id} is no shard")
        runs = split.shelf.cut.runs_of(split.shard)
        if status is Status.SUCCEEDED and len(records) != len(runs) * split.shelf.record_bytes:
            raise ValueError(f"{len(records)} bytes are not the records of {len(runs)} runs")
        reply = self._scripts.run(
            "deliver",
            *claim.hold,
            status.value,
            runs.start,
            len(runs),
            records,
            "" if error is None else error.model_dump_json(),
            self._retention_ms,
        )
        claim.check(reply)

    def read(self, claim: Claim, runs: range) -> bytes:
        """Return what stands in the records of some runs that are done."""
        size = self._shelf(claim).record_bytes
        with translate_errors():
            found: bytes = self._redis.getrange(
                self._keys.records(claim.record.id), runs.start * size, runs.stop * size - 1
            )
        return found

    def pieces(self, claim: Claim) -> Iterator[bytes | range]:
        """Say how to gather the records of all runs: ranges to `read`, and what was never made."""
        shelf = self._shelf(claim)
        at_once = _BYTES_A_READ // shelf.record_bytes
        for is_done, stretch in shelf.stretches():
            if not is_done:
                yield never_made(len(stretch), is_batch=shelf.is_batch)
                continue
            for first in range(stretch.start, stretch.stop, at_once):
                yield range(first, min(first + at_once, stretch.stop))

    @staticmethod
    def _shelf(claim: Claim) -> Shelf:
        if claim.split is None:
            raise ValueError(f"{claim.id} was not split")
        return claim.split.shelf
