"""One run of Adam on 1000 points against the plain loop, C, JAX and Python floats."""

from typing import Final

import numpy as np

from benchmarks import ours
from benchmarks.alternate import Candidate, Timings, alternate
from benchmarks.ours import RATE, START, Problem, make_problem
from benchmarks.peers import c_loop, jax_scan, plain_torch, python_floats
from benchmarks.table import Row
from benchmarks.verdict import faster, in_words, missing, told, within

POINTS: Final = 1_000
STEPS: Final = 20_000
"""The question's own; a long run, so that a step counts and not the start."""
PLAIN_STEPS: Final = 200
"""Of the loops that take 0.3 ms a step."""

_LEAST_COMPILED: Final = 3_000.0
_LEAST_INTERPRETED: Final = 250.0
_MOST_OF_C: Final = 1.5
_MOST_OF_JAX: Final = 0.4


def measure(*, quick: bool) -> list[Row]:
    """Return the rows of one run."""
    problem = make_problem(points=POINTS, steps=STEPS)
    kernel = ours.find_kernel("Adam")
    fast = [_answer(), *_ours(problem, compiled=kernel), *_peers(problem)]
    timings = alternate(fast, rounds=3 if quick else 9)
    return [*_against_plain(timings), *_against_limits(timings), *_for_comparison(timings)]


def _answer() -> Candidate:
    """Return the loop that everybody writes: the plain loop of the goals."""
    short = make_problem(points=POINTS, steps=PLAIN_STEPS)
    x, y = short.task.x, short.task.y
    return Candidate(
        name="plain",
        call=lambda _: plain_torch.fit_adam(x, y, steps=PLAIN_STEPS, lr=RATE, start=START),
        units=PLAIN_STEPS,
    )


def _ours(problem: Problem, *, compiled: object) -> list[Candidate]:
    short = make_problem(points=POINTS, steps=PLAIN_STEPS)
    found = [
        Candidate(
            name="service's plain",
            call=ours.drain,
            units=PLAIN_STEPS,
            prepare=lambda: ours.make_plain_run(short),
        )
    ]
    if ours.can_interpret():
        found.append(
            Candidate(
                name="interpreted",
                call=ours.drain,
                units=STEPS,
                prepare=lambda: ours.make_run(problem, kernel=None),
            )
        )
    if compiled is not None:
        found.append(
            Candidate(
                name="compiled",
                call=ours.drain,
                units=STEPS,
                prepare=lambda: ours.make_run(problem, kernel=compiled),
            )
        )
    return found


def _peers(problem: Problem) -> list[Candidate]:
    moments = problem.moments
    found = [
        Candidate(
            name="floats",
            call=lambda _: python_floats.fit_adam(moments, steps=STEPS, lr=RATE, start=START),
            units=STEPS,
        )
    ]
    loop = c_loop.build()
    if loop is not None:
        losses = np.zeros(STEPS + 1)
        found.append(
            Candidate(
                name="C",
                call=lambda line: loop.fit(moments, line=line, lr=RATE, losses=losses),
                units=STEPS,
                prepare=lambda: np.array(START),
            )
        )
    fit = jax_scan.make_fit(moments, steps=STEPS)
    if fit is not None:
        found.append(Candidate(name="JAX", call=lambda _: fit(*START, RATE), units=STEPS))
    return found


def _against_plain(timings: Timings) -> list[Row]:
    rows = list[Row]()
    for name, least in (("compiled", _LEAST_COMPILED), ("interpreted", _LEAST_INTERPRETED)):
        case = f"one run, n = 1000, {name}, against the plain torch loop"
        if name not in timings.samples:
            rows.append(missing(case, f"{least:,g}x faster", ours.MISSING))
            continue
        both = _both(timings, name, "plain")
        rows.append(faster(case, timings.ratio("plain", name), least=least, measured=both))
    return rows


def _against_limits(timings: Timings) -> list[Row]:
    peers = (
        ("C", "plain C", _MOST_OF_C, c_loop.MISSING),
        ("JAX", "JAX scan with optax", _MOST_OF_JAX, jax_scan.MISSING),
    )
    rows = list[Row]()
    for name, words, most, without in peers:
        case = f"one run, compiled, against {words}"
        if "compiled" not in timings.samples or name not in timings.samples:
            why = without if name not in timings.samples else ours.MISSING
            rows.append(missing(case, f"at most {most:g}x its time", why))
            continue
        measured = _both(timings, "compiled", name)
        if name != "C" and "C" in timings.samples:
            # Whether anybody could do better than we do.
            measured += f"; C takes {timings.ratio('C', name):.2g}x its time"
        rows.append(within(case, timings.ratio("compiled", name), most=most, measured=measured))
    return rows


def _for_comparison(timings: Timings) -> list[Row]:
    rows = [
        told(
            "the service's plain torch loop against the answer's",
            _both(timings, "service's plain", "plain"),
            timings.ratio("service's plain", "plain"),
        )
    ]
    if "interpreted" in timings.samples:
        rows.append(
            told(
                "one run, interpreted, against Adam by hand on Python floats",
                _both(timings, "interpreted", "floats"),
                timings.ratio("interpreted", "floats"),
            )
        )
    return rows


def _both(timings: Timings, name: str, peer: str) -> str:
    return f"{in_words(timings.seconds(name))} against {in_words(timings.seconds(peer))} a step"
