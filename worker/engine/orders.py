"""In which order the runs of a job stand: by any of their numbers, and by who did best."""

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from app.domain.run_records import NOT_DONE
from worker.engine.bowls import Floats
from worker.engine.records import ARRIVED, DIVERGED, Records

_SORTED_BY: Final = ("loss", "excess_loss", "steps", "a", "b")
_LAST: Final = np.iinfo(np.int64).max

Flags = npt.NDArray[np.bool_]


def order_all(records: Records, *, converged: Flags) -> dict[str, bytes]:
    """Return positions of runs, best or smallest first, by the name of what they are ordered by.

    What is not a number and runs that were never made stand last; equals in their own order.

    Args:
        records: Of all runs.
        converged: Whether each converged.
    """
    is_done = records["steps"] != NOT_DONE
    columns: Mapping[str, npt.NDArray[Any]] = {name: records[name] for name in _SORTED_BY}
    reached = records["steps_to_tolerance"].astype(np.int64)
    orders = {
        "rank": rank(records, converged=converged),
        "steps_to_tolerance": _order(np.where(is_done & (reached >= 0), reached, _LAST)),
    }
    orders["steps"] = _order(np.where(is_done, records["steps"].astype(np.int64), _LAST))
    for name, column in columns.items():
        if name != "steps":
            orders[name] = _order(column)
    return {name: to_bytes(order) for name, order in orders.items()}


def has_converged(records: Records, *, goals: Floats) -> Flags:
    """Tell which runs converged, as report.py says it of one.

    Args:
        records: Of all runs.
        goals: Excess loss that counts as within tolerance, one a run.
    """
    # Without an excess loss, NaN here, only a stop rule can tell.
    is_near = records["excess_loss"] <= goals
    found: Flags = np.isfinite(records["a"]) & (np.isin(records["reason"], ARRIVED) | is_near)
    return found


def rank(records: Records, *, converged: Flags) -> npt.NDArray[np.intp]:
    """Return positions of runs, best first, as app.domain.ranking has it; never made ones last."""
    is_done = records["steps"] != NOT_DONE
    reached = records["steps_to_tolerance"]
    arrived = converged & (reached >= 0)
    excess = records["excess_loss"]
    height = np.where(np.isnan(excess), records["loss"], excess)
    height = np.where(np.isnan(height), np.inf, height)
    # The last key is the first to count.
    return np.lexsort(
        (
            height,
            np.where(arrived, reached, 0),
            ~arrived,
            records["reason"] == DIVERGED,
            ~is_done,
        )
    )


def to_bytes(order: npt.NDArray[np.intp]) -> bytes:
    """Return positions as the store keeps them: little-endian int32."""
    return order.astype("<i4").tobytes()


def _order(column: npt.NDArray[Any]) -> npt.NDArray[np.intp]:
    """Return positions, smallest first, NaN last."""
    return np.argsort(column, kind="stable")
