"""Each update rule, one run, compiled and interpreted: the slowest of them is told."""

from typing import Any, Final

import numpy as np

from benchmarks import ours
from benchmarks.alternate import Candidate, Timings, alternate
from benchmarks.ours import RATE, RULED, START, make_problem
from benchmarks.peers import c_loop
from benchmarks.table import Row
from benchmarks.verdict import below, in_words, missing

STEPS: Final = 20_000
QUICK_STEPS: Final = 5_000

_COMPILED_SECONDS: Final = 0.4e-6
_INTERPRETED_SECONDS: Final = 3e-6


def measure(*, quick: bool) -> list[Row]:
    """Return the slowest rule of each executor."""
    steps = QUICK_STEPS if quick else STEPS
    rounds = 3 if quick else 5
    kernels = {name: ours.find_kernel(name) for name in RULED}
    unbuilt = [name for name, kernel in kernels.items() if kernel is None]
    without = ours.MISSING if len(unbuilt) == len(RULED) else f"not compiled: {', '.join(unbuilt)}"
    plain = dict.fromkeys(RULED) if ours.can_interpret() else {}
    return [
        _worst(
            "compiled",
            {} if unbuilt else kernels,
            most=_COMPILED_SECONDS,
            steps=steps,
            rounds=rounds,
            without=without,
        ),
        _worst(
            "interpreted",
            plain,
            most=_INTERPRETED_SECONDS,
            steps=steps,
            rounds=rounds,
            without=ours.MISSING,
        ),
    ]


def _worst(
    executor: str,
    kernels: dict[str, Any],
    *,
    most: float,
    steps: int,
    rounds: int,
    without: str,
) -> Row:
    case = f"any of the {len(RULED)} rules, one run, {executor}"
    if not kernels:
        return missing(case, f"at most {in_words(most)}", without)
    candidates = [_candidate(name, kernel, steps=steps) for name, kernel in kernels.items()]
    timings = alternate([*candidates, *_limit(steps)], rounds=rounds)
    ordered = sorted(kernels, key=timings.seconds)
    worst, best = ordered[-1], ordered[0]
    seconds = timings.seconds(worst)
    measured = (
        f"{worst} {in_words(seconds)} a step, "
        f"{best} {in_words(timings.seconds(best))}{_beside(timings)}"
    )
    ratio = timings.ratio(worst, "C") if "C" in timings.samples else None
    return below(
        case, seconds, most=most, shown=f"{in_words(most)} a step", measured=measured, ratio=ratio
    )


def _beside(timings: Timings) -> str:
    return (
        f"; ratio to Adam in C, {in_words(timings.seconds('C'))}" if "C" in timings.samples else ""
    )


def _candidate(name: str, kernel: object, *, steps: int) -> Candidate:
    problem = make_problem(points=1_000, steps=steps, optimizer=name)
    return Candidate(
        name=name,
        call=ours.drain,
        units=steps,
        prepare=lambda: ours.make_run(problem, kernel=kernel),
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
