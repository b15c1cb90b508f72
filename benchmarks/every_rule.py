"""Each update rule, one run, compiled and interpreted: the slowest of them is told."""

from typing import Final

import numpy as np

from benchmarks import ours, ruled
from benchmarks.alternate import Candidate, Timings, alternate
from benchmarks.ours import RATE, START, make_problem
from benchmarks.peers import c_loop
from benchmarks.table import Row
from benchmarks.verdict import below, in_words
from worker.engine.rules.executors import Executor
from worker.engine.rules.rule import RULES

STEPS: Final = 20_000
QUICK_STEPS: Final = 5_000

_COMPILED_SECONDS: Final = 0.4e-6
_INTERPRETED_SECONDS: Final = 3e-6


def measure(*, quick: bool) -> list[Row]:
    """Return the slowest rule of each executor."""
    steps = QUICK_STEPS if quick else STEPS
    rounds = 3 if quick else 5
    compiled = {name: ruled.make_compiled(name) for name in RULES}
    interpreted = {name: ruled.make_interpreted(name) for name in RULES}
    return [
        _worst("compiled", compiled, most=_COMPILED_SECONDS, steps=steps, rounds=rounds),
        _worst("interpreted", interpreted, most=_INTERPRETED_SECONDS, steps=steps, rounds=rounds),
    ]


def _worst(
    words: str, executors: dict[str, Executor], *, most: float, steps: int, rounds: int
) -> Row:
    candidates = [_candidate(*pair, steps=steps) for pair in executors.items()]
    timings = alternate([*candidates, *_limit(steps)], rounds=rounds)
    ordered = sorted(executors, key=timings.seconds)
    worst, best = ordered[-1], ordered[0]
    seconds = timings.seconds(worst)
    measured = (
        f"{worst} {in_words(seconds)} a step, "
        f"{best} {in_words(timings.seconds(best))}{_beside(timings)}"
    )
    return below(
        f"any of the {len(RULES)} rules, one run, {words}",
        seconds,
        most=most,
        shown=f"{in_words(most)} a step",
        measured=measured,
        ratio=timings.ratio(worst, "C") if "C" in timings.samples else None,
    )


def _beside(timings: Timings) -> str:
    return (
        f"; ratio to Adam in C, {in_words(timings.seconds('C'))}" if "C" in timings.samples else ""
    )


def _candidate(name: str, executor: Executor, *, steps: int) -> Candidate:
    problem = make_problem(points=1_000, steps=steps, optimizer=name)
    return Candidate(
        name=name,
        call=ours.drain,
        units=steps,
        prepare=lambda: ruled.make_run(problem, executor),
    )


def _limit(steps: int) -> list[Candidate]:
    loop = c_loop.build()
    if loop is None:
        return []
    moments = make_problem(points=1_000, steps=steps).moments
    losses = np.zeros(steps + 1)
    return [
        Candidate(
            name="C",
            call=lambda line: loop.fit(moments, line=line, lr=RATE, losses=losses),
            units=steps,
            prepare=lambda: np.array(START),
        )
    ]
