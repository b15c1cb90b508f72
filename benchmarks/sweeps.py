"""K runs of Adam, one learning rate each, all losses kept, against C, JAX and numpy."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np

from benchmarks import ruled
from benchmarks.alternate import Candidate, Timings, alternate
from benchmarks.ours import START, Column, Problem, make_problem
from benchmarks.peers import c_loop, jax_scan, numpy_vectors
from benchmarks.table import Row
from benchmarks.verdict import faster, in_words, missing, told, within

RUNS: Final = (100, 10_000, 1_000_000)
MOST_STEPS: Final = 1_500
HISTORY_BYTES: Final = 256 * 1024 * 1024
"""Of all losses; it sets how many steps a million runs make."""
_QUICK_SHARE: Final = 8

_MOST_OF_C: Final = 2.0
_MOST_OF_JAX: Final = 0.4
_LEAST_ON_TWO: Final = 1.7


@dataclass(frozen=True, slots=True, kw_only=True)
class _Sweep:
    """One K: rates, starts, and the place for losses that all but JAX share."""

    problem: Problem
    lr: Column
    losses: Column

    def starts(self) -> tuple[Column, Column]:
        """Return fresh starts, which C moves."""
        return np.full_like(self.lr, START[0]), np.full_like(self.lr, START[1])

    @property
    def run_steps(self) -> int:
        """Steps of all runs together."""
        steps: int = self.losses.shape[0] - 1
        return steps * len(self.lr)


def measure(*, quick: bool) -> list[Row]:
    """Return the rows of all sweeps."""
    return [row for runs in RUNS for row in _measure(runs, quick=quick)]


def steps_for(runs: int, *, quick: bool) -> int:
    """Return how many steps keep the losses within their room."""
    room = HISTORY_BYTES // (_QUICK_SHARE if quick else 1)
    return max(4, min(MOST_STEPS, room // (8 * runs)))


def _measure(runs: int, *, quick: bool) -> list[Row]:
    steps = steps_for(runs, quick=quick)
    sweep = _Sweep(
        problem=make_problem(points=1_000, steps=steps),
        lr=np.logspace(-4, -1, runs),
        # Written once, so that nobody pays for the first touch of the pages.
        losses=np.ones((steps + 1, runs)),
    )
    rounds = 3 if quick else 7
    timings = alternate([*_ours(sweep), *_peers(sweep)], rounds=rounds)
    title = f"K = {runs:,} runs"
    return [
        _against(timings, title, peer="C", words="plain C", most=_MOST_OF_C),
        _on_two(timings, title),
        _against(timings, title, peer="JAX", words="JAX vmap and optax", most=_MOST_OF_JAX),
        _for_comparison(timings, title),
    ]


def _ours(sweep: _Sweep) -> list[Candidate]:
    def call(threads: int) -> Callable[[tuple[Column, Column]], object]:
        return lambda starts: ruled.sweep(
            sweep.problem,
            a=starts[0],
            b=starts[1],
            lr=sweep.lr,
            losses=sweep.losses,
            threads=threads,
        )

    return [
        Candidate(name=name, call=call(threads), units=sweep.run_steps, prepare=sweep.starts)
        for name, threads in (("ours", 1), ("ours on two", 2))
    ]


def _peers(sweep: _Sweep) -> list[Candidate]:
    moments, lr, losses = sweep.problem.moments, sweep.lr, sweep.losses
    found = [
        Candidate(
            name="numpy",
            call=lambda starts: numpy_vectors.fit_adam(
                moments, a=starts[0], b=starts[1], lr=lr, losses=losses
            ),
            units=sweep.run_steps,
            prepare=sweep.starts,
        )
    ]
    loop = c_loop.build()
    if loop is not None:

        def call(threads: int) -> Callable[[tuple[Column, Column]], object]:
            return lambda starts: loop.fit_lanes(
                moments, a=starts[0], b=starts[1], lr=lr, losses=losses, threads=threads
            )

        found += [
            Candidate(name=name, call=call(threads), units=sweep.run_steps, prepare=sweep.starts)
            for name, threads in (("C", 1), ("C on two", 2))
        ]
    fit = jax_scan.make_lanes(moments, steps=losses.shape[0] - 1)
    if fit is not None:
        a, b = sweep.starts()
        found.append(Candidate(name="JAX", call=lambda _: fit(a, b, lr), units=sweep.run_steps))
    return found


def _against(timings: Timings, title: str, *, peer: str, words: str, most: float) -> Row:
    case = f"{title}, one core, against {words}"
    if peer not in timings.samples:
        without = {"C": c_loop.MISSING, "JAX": jax_scan.MISSING}[peer]
        return missing(case, f"at most {most:g}x its time", without)
    mine, theirs = timings.seconds("ours"), timings.seconds(peer)
    measured = f"{in_words(mine)} against {in_words(theirs)} a run-step"
    if peer != "C" and "C" in timings.samples:
        # Whether anybody could do better than we do.
        measured += f"; C takes {timings.ratio('C', peer):.2g}x its time"
    return within(case, timings.ratio("ours", peer), most=most, measured=measured)


def _on_two(timings: Timings, title: str) -> Row:
    """Return how much two threads help, by the clock on the wall, and how much they help C."""
    case = f"{title}, two threads against one"
    two = in_words(timings.seconds("ours on two", "wall"))
    measured = f"{two} a run-step"
    if "C" in timings.samples:
        # What the machine had to give just then: its second core may be somebody else's.
        measured += f"; C by the same split {timings.ratio('C', 'C on two', 'wall'):.2g}x"
    ratio = timings.ratio("ours", "ours on two", "wall")
    return faster(case, ratio, least=_LEAST_ON_TWO, measured=measured)


def _for_comparison(timings: Timings, title: str) -> Row:
    return told(
        f"{title}, one core, against numpy vectors",
        f"{in_words(timings.seconds('ours'))} against "
        f"{in_words(timings.seconds('numpy'))} a run-step",
        timings.ratio("ours", "numpy"),
    )
