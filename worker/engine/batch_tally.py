"""What a batch comes to: how its lines spread, which series is farthest off, and every order of them."""

import math
from dataclasses import dataclass

import numpy as np

from app.domain.run_records import NOT_DONE
from app.domain.summary import BatchSummary, Spread
from worker.contract import Tally
from worker.engine.bowls import Floats
from worker.engine.orders import has_converged, order_all
from worker.engine.records import DIVERGED, read_records


@dataclass(frozen=True, slots=True, kw_only=True)
class Survey:
    """What the records of a batch do not say of its series.

    Attributes:
        first_heights: Excess loss of the start of each, shape (series,).
        num_points: Points of all of them.
        not_unique: How many have no single exact line.
    """

    first_heights: Floats
    num_points: int
    not_unique: int


def tally_batch(raw: bytes, survey: Survey, *, tolerance: float) -> Tally:
    """Sum up a batch.

    Args:
        raw: The records of all runs.
        survey: Of all series.
        tolerance: Share of the first excess loss that counts as converged.
    """
    records = read_records(raw, is_batch=True)
    is_done = records["steps"] != NOT_DONE
    converged = has_converged(records, goals=tolerance * survey.first_heights)
    excess = records["excess_loss"]
    summary = BatchSummary(
        series=len(records),
        done=int(is_done.sum()),
        points=survey.num_points,
        converged=int(converged.sum()),
        diverged=int((is_done & (records["reason"] == DIVERGED)).sum()),
        not_unique=survey.not_unique,
        a=spread_of(records["a"]),
        b=spread_of(records["b"]),
        loss=spread_of(records["loss"]),
        excess_loss=spread_of(excess),
        farthest=None if np.isnan(excess).all() else int(np.nanargmax(excess)),
    )
    return Tally(summary=summary, orders=order_all(records, converged=converged))


def spread_of(column: Floats) -> Spread | None:
    """Return five numbers of what is finite in a column; None when nothing is."""
    values = np.sort(column[np.isfinite(column)])
    if not len(values):
        return None
    places = [math.ceil(share * len(values)) - 1 for share in (0.25, 0.5, 0.75)]
    lower, middle, upper = (float(values[max(0, place)]) for place in places)
    return Spread(
        min=float(values[0]),
        lower_quartile=lower,
        median=middle,
        upper_quartile=upper,
        max=float(values[-1]),
    )
