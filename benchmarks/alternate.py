"""Times candidates in turns, round after round, so that noise hits all of them; knows no engine.

A shared machine is twice as slow in one minute as in the next. So a ratio is taken within each
round, where its two halves stand a few milliseconds apart, and the median of the rounds is told.
"""

import gc
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

SHORTEST_SECONDS: Final = 0.02
"""A sample lasts at least so long: some hundred times the jitter of the clocks."""
MOST_CALLS: Final = 1000

Kind = Literal["cpu", "wall"]
Clocks = tuple[Callable[[], float], Callable[[], float]]


def _nothing() -> None:
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """One way to do the work.

    Args:
        name: Its name in the timings.
        call: Does the work once; gets what `prepare` returned.
        units: How many units (steps, run-steps, fits) one call does.
        prepare: Makes what one call needs; it is not timed.
    """

    name: str
    call: Callable[[Any], object]
    units: float
    prepare: Callable[[], Any] = _nothing


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """Seconds that one unit took in one round.

    Attributes:
        cpu: Of the processor, all threads together.
        wall: By the clock on the wall.
    """

    cpu: float
    wall: float


@dataclass(frozen=True, slots=True)
class Timings:
    """The samples of every candidate, one a round, in the order of the rounds."""

    samples: Mapping[str, Sequence[Sample]]

    def seconds(self, name: str, kind: Kind = "cpu") -> float:
        """Return the median time of a unit."""
        return statistics.median(self._values(name, kind))

    def ratio(self, above: str, below: str, kind: Kind = "cpu") -> float:
        """Return how many times as long `above` takes as `below`: the median over the rounds."""
        pairs = zip(self._values(above, kind), self._values(below, kind), strict=True)
        return statistics.median(high / low for high, low in pairs)

    def _values(self, name: str, kind: Kind) -> list[float]:
        return [sample.cpu if kind == "cpu" else sample.wall for sample in self.samples[name]]


def alternate(
    candidates: Sequence[Candidate],
    *,
    rounds: int,
    shortest: float = SHORTEST_SECONDS,
    clocks: Clocks = (time.process_time, time.perf_counter),
) -> Timings:
    """Time every candidate once a round, forwards and backwards in turn.

    The first call of each is not counted: it loads and compiles. It also says how many calls make
    a sample that is long enough.

    Args:
        candidates: With names of their own.
        rounds: How often, at least 1.
        shortest: Seconds of the shortest sample.
        clocks: Seconds of the processor and of the wall.
    """
    calls = {
        candidate.name: _calls_for(candidate, shortest, clocks=clocks) for candidate in candidates
    }
    samples: dict[str, list[Sample]] = {candidate.name: [] for candidate in candidates}
    for number in range(rounds):
        for candidate in candidates if number % 2 == 0 else reversed(candidates):
            sample = _measure(candidate, calls=calls[candidate.name], clocks=clocks)
            samples[candidate.name].append(sample)
    return Timings(samples)


def _calls_for(candidate: Candidate, shortest: float, *, clocks: Clocks) -> int:
    candidate.call(candidate.prepare())
    once = _measure(candidate, calls=1, clocks=clocks).wall * candidate.units
    return max(1, min(MOST_CALLS, round(shortest / once))) if once > 0 else MOST_CALLS


def _measure(candidate: Candidate, *, calls: int, clocks: Clocks) -> Sample:
    cpu, wall = clocks
    prepared = [candidate.prepare() for _ in range(calls)]
    call = candidate.call
    # A collection belongs to whoever left the garbage, not to whoever runs when it is due.
    gc.collect()
    gc.disable()
    try:
        wall_start, cpu_start = wall(), cpu()
        for argument in prepared:
            call(argument)
        cpu_seconds, wall_seconds = cpu() - cpu_start, wall() - wall_start
    finally:
        gc.enable()
    units = calls * candidate.units
    return Sample(cpu=cpu_seconds / units, wall=wall_seconds / units)
