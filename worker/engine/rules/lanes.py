"""Many runs of one rule at once, a lane each: same data and settings, own start and learning rate.

Lanes are cut into strips whose state stays in the processor's second cache; strips are dealt to
threads, since compiled code runs without the interpreter's lock.
"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from worker.engine.rules.kernels import Kernel
from worker.engine.rules.rule import Hyperparameters, Rule
from worker.engine.rules.text import NumberType

STRIP_LANES: Final = 2048
"""Measured: 1,024 to 4,096 are equal, above the state no longer fits."""

Floats = npt.NDArray[np.float64]
Lines = npt.NDArray[np.float32] | npt.NDArray[np.float64]


def run_lanes(
    rule: Rule,
    kernel: Kernel,
    *,
    number: NumberType,
    bowl: tuple[float, ...],
    hyperparameters: Hyperparameters,
    starts_a: Floats,
    starts_b: Floats,
    rates: Floats,
    steps: int,
    losses: Floats | None = None,
    threads: int = 1,
) -> tuple[Lines, Lines]:
    """Return slope and intercept of every lane after so many steps.

    Args:
        rule: What moves them.
        kernel: The rule, compiled for the number type.
        number: The runs' type.
        bowl: The exact answer and its surroundings, as loop.py has them.
        hyperparameters: All but the learning rate.
        starts_a: Slopes to begin with, shape (lanes,).
        starts_b: Intercepts to begin with, shape (lanes,).
        rates: Learning rates, shape (lanes,).
        steps: Updates to make.
        losses: Filled with the loss after each update, shape (steps, lanes), C order.
        threads: How many strips are computed at a time.
    """
    dtype = np.dtype(number)
    a, b = starts_a.astype(dtype), starts_b.astype(dtype)
    lanes, keeps = len(a), losses is not None
    settings = rule.settings(hyperparameters)
    flat = np.empty(0) if losses is None else losses.reshape(-1)

    def run(strip: tuple[int, int]) -> None:
        start, stop = strip
        memory = _memory(rule, hyperparameters, rates[start:stop], dtype)
        lines = (a[start:stop], b[start:stop], memory)
        to = (flat, keeps, lanes, start)
        kernel.sweep((0, steps, stop - start), lines, rates[start:stop], bowl, settings, to)

    if threads == 1:
        for strip in _strips(lanes):
            run(strip)
    else:
        with ThreadPoolExecutor(threads) as pool:
            for _ in pool.map(run, _strips(lanes)):
                pass
    return a, b


def _strips(lanes: int) -> Iterator[tuple[int, int]]:
    return ((start, min(start + STRIP_LANES, lanes)) for start in range(0, lanes, STRIP_LANES))


def _memory(
    rule: Rule, hyperparameters: Hyperparameters, rates: Floats, dtype: "np.dtype[Any]"
) -> Lines:
    """Return what the rule remembers before the first step: of all slopes, then of all intercepts."""
    memory = np.empty((rule.remembers, 2, len(rates)), dtype)
    for place, value in enumerate(rule.start(hyperparameters, rates)):
        memory[place] = value
    return memory.reshape(-1)
