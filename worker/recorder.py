"""Buffers history rows and writes them in batches: few round trips, nothing left behind."""

import time
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from app.domain.errors import StoreUnavailable
from app.domain.history import Rows
from app.domain.job import Progress
from app.store.runs import Claim, RunStore

RECORD_SECONDS: Final = 0.25
"""Progress at most four times a second."""
FIRST_RECORD_SECONDS: Final = 0.03
"""Then 0.06, 0.12, ...: a fit of half a second still draws a moving curve."""
ROWS_A_WRITE: Final = 50_000
"""At most 2.4 MB: what piled up while Redis was away must not time out as one call."""


class Recorder:
    """Everything that an attempt writes while it runs.

    It holds no more than one run's rows (spec.MAX_HISTORY_ROWS, 48 bytes each), because every run
    ends with a flush.

    Args:
        runs: Where to write.
        claim: The attempt.
        clock: Seconds that only rise.
    """

    def __init__(
        self, runs: RunStore, claim: Claim, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._runs = runs
        self._claim = claim
        self._clock = clock
        self._started = clock()
        self._wait = FIRST_RECORD_SECONDS
        self._due = self._started + self._wait
        self._run = 0
        self._pending: list[Rows] = []
        self._progress: Progress | None = None

    def add(self, rows: Rows, *, progress: Progress) -> None:
        """Keep rows of the run that `progress` names, and write them when it is time.

        A store that is away costs nothing but delay: the rows stay here until it is back. Flush
        before the first row of another run.

        Raises:
            LeaseLost: Another attempt has taken the job.
        """
        self._run = progress.run
        if len(rows):
            self._pending.append(rows)
        self._progress = progress
        if self._clock() < self._due:
            return
        with suppress(StoreUnavailable):
            self._write(with_event=True)
        self._wait = min(2 * self._wait, RECORD_SECONDS)
        self._due = self._clock() + self._wait

    def flush(self) -> None:
        """Write what is pending; called before a run, an attempt or a job ends.

        Raises:
            LeaseLost: Another attempt has taken the job.
            StoreUnavailable: Redis is away; nothing was dropped, call again.
        """
        self._write(with_event=False)

    def _write(self, *, with_event: bool) -> None:
        while self._progress is not None:
            count = self._count_next()
            is_last = count == len(self._pending)
            self._runs.record(
                self._claim,
                run=self._run,
                rows=self._pending[:count],
                progress=self._progress,
                with_event=with_event and is_last,
            )
            # An answer that was lost leaves them here: the store knows rows that it has.
            del self._pending[:count]
            if is_last:
                self._progress = None

    def _count_next(self) -> int:
        """Return how many pending blocks fit into one write, at least one if there is one."""
        room = ROWS_A_WRITE
        for count, rows in enumerate(self._pending):
            room -= len(rows)
            if room < 0 and count > 0:
                return count
        return len(self._pending)
