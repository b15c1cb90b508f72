"""What a sweep says of a grid of learning rates: the usable stretch, the edge, the grid to try next."""

import sys
from collections.abc import Sequence
from itertools import groupby
from typing import Final, Literal

from app.domain.summary import RateRange
from app.domain.sweep import LARGEST_RATE, Grid

_BEYOND: Final = 10.0
"""How far a grid reaches beyond an edge: a decade."""
_REFINED: Final = 16
"""Rates of the grid to try next, as in the default."""

Edge = Literal["lowest", "highest"]


def longest_stretch(rates: Sequence[float], *, holds: Sequence[bool]) -> RateRange | None:
    """Return the longest stretch of neighbouring rates that all hold, the lowest of equals.

    Args:
        rates: Smallest first.
        holds: Whether every start converged, one a rate.
    """
    stretches = [
        [rate for rate, _ in group]
        for held, group in groupby(zip(rates, holds, strict=True), key=lambda pair: pair[1])
        if held
    ]
    longest = max(stretches, key=len, default=None)
    return None if longest is None else RateRange(min=longest[0], max=longest[-1])


def first_of_tail(rates: Sequence[float], *, holds: Sequence[bool]) -> float | None:
    """Return the smallest rate from which on all hold; None when the largest does not.

    Args:
        rates: Smallest first.
        holds: Whether some start diverged, one a rate.
    """
    found = None
    for rate, held in zip(reversed(rates), reversed(holds), strict=True):
        if not held:
            break
        found = rate
    return found


def edge_of(rates: Sequence[float], best: float) -> Edge | None:
    """Tell at which end of the grid the best rate lies; None within it, or where there is one only.

    Args:
        rates: Smallest first, no two the same.
        best: One of them.
    """
    if len(rates) == 1 or best not in {rates[0], rates[-1]}:
        return None
    return "lowest" if best == rates[0] else "highest"


def refine(rates: Sequence[float], best: float, *, scale: Literal["log", "linear"]) -> Grid:
    """Return the grid to try next: between the neighbours of the best, a decade beyond an edge.

    Args:
        rates: Smallest first, no two the same.
        best: One of them.
        scale: Of the grid; beyond an edge rates are spaced by their logarithms.
    """
    place = rates.index(best)
    is_lowest, is_highest = place == 0, place == len(rates) - 1
    low = min(best, max(best / _BEYOND, sys.float_info.min)) if is_lowest else rates[place - 1]
    high = min(best * _BEYOND, LARGEST_RATE) if is_highest else rates[place + 1]
    kept = "log" if is_lowest or is_highest else scale
    return Grid(min=low, max=high, num=_REFINED, scale=kept)
