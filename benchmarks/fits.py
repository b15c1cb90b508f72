"""The exact answer that stands beside every result, against the libraries that give one."""

from typing import Final

from benchmarks.alternate import Candidate, alternate
from benchmarks.ours import make_problem
from benchmarks.peers import exact_fits
from benchmarks.table import Row
from benchmarks.verdict import in_words, told
from worker.engine import exact

POINTS: Final = (10, 1_000, 100_000)
_APPROXIMATE: Final = "sklearn SGDRegressor"


def measure(*, quick: bool) -> list[Row]:
    """Return a row for each number of points."""
    return [_measure(points, rounds=3 if quick else 7) for points in POINTS]


def _measure(points: int, *, rounds: int) -> Row:
    problem = make_problem(points=points, steps=1)
    x, y = problem.task.x, problem.task.y
    fits = exact_fits.make_fits(problem.x, problem.y)
    everybody = {"ours": lambda: exact.solve(x, y), **fits}
    timings = alternate([_candidate(*pair) for pair in everybody.items()], rounds=rounds)
    fastest = min((name for name in fits if name != _APPROXIMATE), key=timings.seconds)
    others = ", ".join(f"{name} {in_words(timings.seconds(name))}" for name in fits)
    return told(
        f"exact line with standard errors, n = {points:,}, against {fastest}",
        f"{in_words(timings.seconds('ours'))}; {others}",
        timings.ratio("ours", fastest),
    )


def _candidate(name: str, fit: exact_fits.Fit) -> Candidate:
    return Candidate(name=name, call=lambda _: fit(), units=1)
