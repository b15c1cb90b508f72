"""Neighbouring runs of a job of many, computed together or one after the other."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from app.domain.optimizers import SchedulerSpec
from worker.contract import Run, Slice
from worker.engine.bowls import Bowls, Floats
from worker.engine.records import Records, fill_ends, fill_one, make_records
from worker.engine.rules.rates import ManyRates
from worker.engine.rules.strips import Deal, Plan, Strips

BLOCK_SECONDS: Final = 0.05
"""How long a cancel may go unheard."""
WING_RUNS: Final = 65_536
"""Runs that are computed at a time: with all that a run needs, 13 MB."""
_FIRST_GUESS: Final = 2e-8
"""Seconds a step of a run, before it is known."""
_MOST_STEPS: Final = 16_384
"""Of a block, so that what depends on the clock stays small."""
_MOST_RATES: Final = 2_000_000
"""Learning rates dealt at a time: 16 MB."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lot:
    """What tells neighbouring runs of one optimizer apart; each field one a run.

    Attributes:
        starts_a: Slopes to begin with.
        starts_b: Intercepts to begin with.
        rates: Learning rates.
        bowls: One a run, or one for all.
        told: Further columns of the records, by the names of RunRecord.
    """

    starts_a: Floats
    starts_b: Floats
    rates: Floats
    bowls: Bowls
    told: Records | None = None

    def take(self, part: slice) -> "Lot":
        """Return the lot of some of the runs."""
        return Lot(
            starts_a=self.starts_a[part],
            starts_b=self.starts_b[part],
            rates=self.rates[part],
            bowls=self.bowls.take(part),
        )


def begin(plan: Plan, lot: Lot, *, scheduler: SchedulerSpec | None) -> Strips:
    """Return runs at their starts."""
    return Strips(
        plan,
        starts_a=lot.starts_a,
        starts_b=lot.starts_b,
        rates=lot.rates,
        deal=_dealer(scheduler, lot.rates, steps=int(plan.stops[0])),
        bowls=lot.bowls,
    )


def _dealer(scheduler: SchedulerSpec | None, rates: Floats, *, steps: int) -> Deal | None:
    """Return what deals learning rates, computed once for all runs that begin with the same."""
    if scheduler is None:
        return None
    distinct, which = np.unique(rates, return_inverse=True)
    many = ManyRates(scheduler, lrs=distinct, steps=steps)
    return lambda count: many.take(count)[:, which]


class LaneSlice:
    """Satisfies worker.contract.Slice by lanes.

    Args:
        plan: What the runs have in common.
        lot: What tells them apart.
        scheduler: Changes their learning rates; None for nothing.
        is_batch: Which records are written.
        clock: Seconds that only rise.
    """

    def __init__(
        self,
        plan: Plan,
        lot: Lot,
        *,
        scheduler: SchedulerSpec | None,
        is_batch: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._plan = plan
        self._lot = lot
        self._scheduler = scheduler
        self._clock = clock
        self._records = make_records(len(lot.rates), is_batch=is_batch)
        self._pace = _FIRST_GUESS

    def blocks(self, breathe: Callable[[], None] = lambda: None) -> Iterator[float]:
        """Compute lazily, about BLOCK_SECONDS at a time, and yield the share that is done.

        Args:
            breathe: Not called: no block takes long.
        """
        del breathe
        count, steps = len(self._lot.rates), self._plan.stops[0]
        for first in range(0, count, WING_RUNS):
            part = slice(first, min(first + WING_RUNS, count))
            lot = self._lot.take(part)
            strips = begin(self._plan, lot, scheduler=self._scheduler)
            while not strips.is_over:
                self._advance(strips)
                if not strips.is_over:
                    ahead = strips.going * (1.0 - strips.made / steps)
                    yield (part.stop - ahead) / count
            self._note(strips, part, lot.bowls)
            yield part.stop / count

    def _advance(self, strips: Strips) -> None:
        going = strips.going
        steps = min(_MOST_STEPS, int(BLOCK_SECONDS / (self._pace * going)))
        if self._scheduler is not None:
            steps = min(steps, _MOST_RATES // len(strips.a))
        steps = max(1, steps)
        before, started = strips.made, self._clock()
        strips.advance(steps)
        taken = self._clock() - started
        self._pace = max(taken / (going * max(1, strips.made - before)), 1e-10)

    def _note(self, strips: Strips, part: slice, bowls: Bowls) -> None:
        excess = bowls.excess(strips.a, strips.b)
        records = self._records[part]
        fill_ends(
            records,
            ended=strips.ended,
            steps_to_tolerance=strips.reached,
            a=strips.a,
            b=strips.b,
            loss=bowls.loss(excess, number=self._plan.number),
            excess_loss=excess,
            best_loss=strips.best,
        )
        if self._lot.told is not None:
            for name in self._lot.told.dtype.names or ():
                records[name] = self._lot.told[name][part]

    def records(self) -> bytes:
        """Return one record a run, in order."""
        return self._records.tobytes()


class LoopSlice:
    """Satisfies worker.contract.Slice by one run after the other.

    Args:
        runs: How many.
        make: Makes one of them, from 0, when it is its turn.
        told: As Lot has it.
        is_batch: Which records are written.
        clock: Seconds that only rise.
    """

    def __init__(
        self,
        runs: int,
        make: Callable[[int], Run],
        *,
        told: Records | None = None,
        is_batch: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._runs = runs
        self._make = make
        self._clock = clock
        self._records = make_records(runs, is_batch=is_batch)
        if told is not None:
            for name in told.dtype.names or ():
                self._records[name] = told[name]

    def blocks(self, breathe: Callable[[], None] = lambda: None) -> Iterator[float]:
        """Compute lazily, at least BLOCK_SECONDS at a time, and yield the share that is done.

        Args:
            breathe: Called within a step that may take long.
        """
        since = self._clock()
        for place in range(self._runs):
            run, reason = self._make(place), None
            for block in run.blocks(breathe):
                reason = block.stop_reason
                if reason is None and self._clock() - since >= BLOCK_SECONDS:
                    yield (place + block.step / run.steps) / self._runs
                    since = self._clock()
            if reason is not None:
                fill_one(self._records, place, run.result(reason))
            if place + 1 < self._runs and self._clock() - since >= BLOCK_SECONDS:
                yield (place + 1) / self._runs
                since = self._clock()
        yield 1.0

    def records(self) -> bytes:
        """Return one record a run, in order."""
        return self._records.tobytes()


class JoinedSlice:
    """Satisfies worker.contract.Slice by several, each made when it is its turn and then left.

    Args:
        parts: Each with its number of runs; making one is told how to breathe.
    """

    def __init__(self, parts: Sequence[tuple[int, Callable[[Callable[[], None]], Slice]]]) -> None:
        self._parts = parts
        self._done = list[bytes]()

    def blocks(self, breathe: Callable[[], None] = lambda: None) -> Iterator[float]:
        """Compute lazily, and yield the share that is done."""
        total = sum(runs for runs, _ in self._parts)
        before = 0
        for runs, make in self._parts:
            part = make(breathe)
            for share in part.blocks(breathe):
                if share == 1.0:
                    self._done.append(part.records())
                yield (before + runs * share) / total
            before += runs

    def records(self) -> bytes:
        """Return one record a run, in order."""
        return b"".join(self._done)
