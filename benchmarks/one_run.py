"""One run of Adam on 1000 points against the plain loop, C, JAX and Python floats."""

from functools import partial
from typing import Final

import numpy as np

from benchmarks import ours, ruled
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
    timings = alternate([_answer(), *_ours(problem), *_peers(problem)], rounds=3 if quick else 9)
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


def _ours(problem: Problem) -> list[Candidate]:
    short = make_problem(points=POINTS, steps=PLAIN_STEPS)
    found = [
        Candidate(
            name="service's plain",
            call=ours.drain,
            units=PLAIN_STEPS,
            prepare=lambda: ours.make_plain_run(short),
        )
    ]
    executors = {
        "compiled": ruled.make_compiled("Adam"),
        "interpreted": ruled.make_interpreted("Adam"),
    }
    return found + [
        Candidate(
            name=name,
            call=ours.drain,
            units=STEPS,
            prepare=partial(ruled.make_run, problem, executor),
        )
        for name, executor in executors.items()
    ]


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
    return [
        faster(
            f"one run, n = 1000, {name}, against the plain torch loop",
            timings.ratio("plain", name),
            least=least,
            measured=_both(timings, name, "plain"),
        )
        for name, least in (("compiled", _LEAST_COMPILED), ("interpreted", _LEAST_INTERPRETED))
    ]


def _against_limits(timings: Timings) -> list[Row]:
    peers = (
        ("C", "plain C", _MOST_OF_C, c_loop.MISSING),
        ("JAX", "JAX scan with optax", _MOST_OF_JAX, jax_scan.MISSING),
    )
    rows = list[Row]()
    for name, words, most, without in peers:
        case = f"one run, compiled, against {words}"
        if name not in timings.samples:
            rows.append(missing(case, f"at most {most:g}x its time", without))
            continue
        measured = _both(timings, "compiled", name)
        if name != "C" and "C" in timings.samples:
            # Whether anybody could do better than we do.
            measured += f"; C takes {timings.ratio('C', name):.2g}x its time"
        rows.append(within(case, timings.ratio("compiled", name), most=most, measured=measured))
    return rows


def _for_comparison(timings: Timings) -> list[Row]:
    return [
        told(case, _both(timings, name, peer), timings.ratio(name, peer))
        for case, name, peer in (
            ("the service's plain torch loop against the answer's", "service's plain", "plain"),
            (
                "one run, interpreted, against Adam by hand on Python floats",
                "interpreted",
                "floats",
            ),
        )
    ]


def _both(timings: Timings, name: str, peer: str) -> str:
    return f"{in_words(timings.seconds(name))} against {in_words(timings.seconds(peer))} a step"
