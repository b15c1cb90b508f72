"""Buffers history rows and writes them in batches: few round trips, nothing left behind."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from app.domain.history import Rows
from app.domain.job import Progress
from app.store.checkpoint import Checkpoint
from app.store.claim import Claim, Description
from app.store.runs import Batch, RunStore
from worker.outage import Outage

RECORD_SECONDS: Final = 0.25
"""Progress at most four times a second."""
FIRST_RECORD_SECONDS: Final = 0.03
"""Then 0.06, 0.12, ...: a fit of half a second still draws a moving curve."""
CHECKPOINT_SECONDS: Final = 1.0
"""A killed job repeats at most so much of its work."""
ROWS_A_WRITE: Final = 50_000
"""At most 2.4 MB: what piled up while Redis was away must not time out as one call."""

Snapshot = Callable[[], Checkpoint | None]
"""Says where the job stands now; None when that cannot be kept."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Last:
    """What an attempt has not written when its job ends; None where nothing is left.

    Attributes:
        batch: The last rows.
        description: Where and how it ran.
    """

    batch: Batch | None
    description: Description | None


class Recorder:
    """Everything that an attempt writes while it runs.

    It holds no more than one run's rows (spec.MAX_HISTORY_ROWS, 48 bytes each), because every run
    ends with a flush.

    Args:
        runs: Where to write.
        claim: The attempt.
        outage: Says when not to try, and counts the tries that were in vain.
        clock: Seconds that only rise.
    """

    def __init__(
        self,
        runs: RunStore,
        claim: Claim,
        *,
        outage: Outage,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._runs = runs
        self._claim = claim
        self._outage = outage
        self._clock = clock
        self._started = clock()
        self._wait = FIRST_RECORD_SECONDS
        self._due = self._started + self._wait
        self._run = 0
        self._pending: list[Rows] = []
        self._progress: Progress | None = None
        self._is_pending = False
        self._checkpoint_due = self._started + CHECKPOINT_SECONDS
        self._description: Description | None = None

    def describe(self, description: Description) -> None:
        """Keep where and how the attempt runs; the next write carries it.

        A write that is due by now, as after a long preparation, is made at once.

        Raises:
            LeaseLost: Another attempt has taken the job.
        """
        self._description = description
        if self._clock() >= self._due and not self._outage.is_on:
            with self._outage.endured():
                self._runs.describe(self._claim, description)
                self._description = None

    def add(self, rows: Rows, *, progress: Progress, snapshot: Snapshot | None = None) -> None:
        """Keep rows of the run that `progress` names, and write them when it is time.

        A store that is away costs nothing but delay: the rows stay here until it is back. Flush
        before the first row of another run.

        Args:
            rows: What follows the rows before.
            progress: Where the job stands after them.
            snapshot: Asked when a checkpoint is due; None when the job cannot go on from here.

        Raises:
            LeaseLost: Another attempt has taken the job.
        """
        self.keep(rows, progress=progress)
        if self._clock() < self._due or self._outage.is_on:
            return
        is_due = self._clock() >= self._checkpoint_due
        with self._outage.endured():
            self._write(with_event=True, snapshot=snapshot if is_due else None)
        self._wait = min(2 * self._wait, RECORD_SECONDS)
        self._due = self._clock() + self._wait

    def keep(self, rows: Rows, *, progress: Progress) -> None:
        """Keep rows without writing them: what ends the job carries them.

        Args:
            rows: What follows the rows before.
            progress: Where the job stands after them.
        """
        self._run = progress.run
        if len(rows):
            self._pending.append(rows)
        self._progress = progress
        self._is_pending = True

    def flush(self, *, snapshot: Snapshot | None = None) -> None:
        """Write what is pending; called before a run, an attempt or a job ends.

        Args:
            snapshot: Where the job can go on; written even when nothing else is pending.

        Raises:
            LeaseLost: Another attempt has taken the job.
            StoreUnavailable: Redis is away; nothing was dropped, call again.
        """
        self._write(with_event=False, snapshot=snapshot)

    def take_last(self) -> Last:
        """Return what the write that ends the job carries; more than one write holds is written.

        Nothing is dropped: the job's end comes with it, or not at all.

        Raises:
            LeaseLost: Another attempt has taken the job.
            StoreUnavailable: Redis is away; nothing was dropped, call again.
        """
        if self._count_next() < len(self._pending):
            self._write(with_event=False, snapshot=None)
        batch = None
        if self._is_pending and self._progress is not None:
            batch = Batch(run=self._run, rows=self._pending, progress=self._progress)
        return Last(batch=batch, description=self._description)

    def _write(self, *, with_event: bool, snapshot: Snapshot | None) -> None:
        progress = self._progress
        while progress is not None and (self._is_pending or snapshot is not None):
            count = self._count_next()
            is_last = count == len(self._pending)
            # With the last rows only: it must not be ahead of the history.
            checkpoint = snapshot() if is_last and snapshot is not None else None
            self._runs.record(
                self._claim,
                run=self._run,
                rows=self._pending[:count],
                progress=progress,
                with_event=with_event and is_last,
                checkpoint=checkpoint,
                description=self._description,
            )
            self._description = None
            # An answer that was lost leaves them here: the store knows rows that it has.
            del self._pending[:count]
            if checkpoint is not None:
                self._checkpoint_due = self._clock() + CHECKPOINT_SECONDS
            if is_last:
                self._is_pending, snapshot = False, None

    def _count_next(self) -> int:
        """Return how many pending blocks fit into one write, at least one if there is one."""
        room = ROWS_A_WRITE
        for count, rows in enumerate(self._pending):
            room -= len(rows)
            if room < 0 and count > 0:
                return count
        return len(self._pending)
