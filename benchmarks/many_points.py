"""Ten million points: the one pass over them, and the run that no longer needs them."""

from typing import Final

from benchmarks import ours, ruled
from benchmarks.alternate import Candidate, alternate
from benchmarks.ours import RATE, START, Problem, make_problem
from benchmarks.peers import c_loop, plain_torch
from benchmarks.table import Row
from benchmarks.verdict import faster, in_words, missing, within
from worker.engine import exact

POINTS: Final = 10_000_000
QUICK_POINTS: Final = 1_000_000
STEPS: Final = 1_500
PLAIN_STEPS: Final = 2
"""Of the loop that takes a third of a second a step; the rest is multiplied."""

_ROUNDS: Final = 3
"""Whoever passes over ten million points takes seconds for a sample."""
_LEAST: Final = 3_000.0
_MOST_OF_C: Final = 2.5


def measure(*, quick: bool) -> list[Row]:
    """Return the rows of many points."""
    points = QUICK_POINTS if quick else POINTS
    ruled.build_kernels()
    problem = make_problem(points=points, steps=STEPS)
    try:
        return [_whole(problem), _moments(problem)]
    finally:
        # 320 MB that no other part wants.
        make_problem.cache_clear()


def _whole(problem: Problem) -> Row:
    """Return one run with its pass over the points, against as many plain steps."""
    case = f"n = {len(problem.x):,}, {STEPS} steps, against the plain torch loop"
    executor = ruled.make_compiled("Adam")
    x, y = problem.task.x, problem.task.y

    def fit(_: None) -> None:
        exact.solve(x, y)
        ours.drain(ruled.make_run(problem, executor))

    timings = alternate(
        [
            Candidate(name="ours", call=fit, units=STEPS),
            Candidate(
                name="plain",
                call=lambda _: plain_torch.fit_adam(x, y, steps=PLAIN_STEPS, lr=RATE, start=START),
                units=PLAIN_STEPS,
            ),
        ],
        rounds=_ROUNDS,
    )
    mine, plain = (timings.seconds(name) * STEPS for name in ("ours", "plain"))
    measured = f"{in_words(mine)} against {in_words(plain)}, scaled up from {PLAIN_STEPS} steps"
    return faster(case, timings.ratio("plain", "ours"), least=_LEAST, measured=measured)


def _moments(problem: Problem) -> Row:
    """Return the exact answer's passes, all digits kept, against one plain pass in C."""
    case = f"n = {len(problem.x):,}, moments and exact answer, against one pass in C"
    loop = c_loop.build()
    if loop is None:
        return missing(case, f"at most {_MOST_OF_C:g}x its time", c_loop.MISSING)
    x, y = problem.task.x, problem.task.y
    timings = alternate(
        [
            Candidate(name="ours", call=lambda _: exact.solve(x, y), units=1),
            Candidate(name="C", call=lambda _: loop.sum_moments(problem.x, problem.y), units=1),
        ],
        rounds=_ROUNDS,
    )
    measured = f"{in_words(timings.seconds('ours'))} against {in_words(timings.seconds('C'))}"
    return within(case, timings.ratio("ours", "C"), most=_MOST_OF_C, measured=measured)
