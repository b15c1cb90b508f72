"""Many runs, each as one record of fixed size: how it ended, and of a batch also its exact line.

A job's records lie in one string of the store, run after run, so that a shard writes its slice, and
a page reads its lines, without the others.
"""

import math
import struct
from collections.abc import Iterator
from typing import Final, NamedTuple

from app.domain.result import StopReason

REASONS: Final = tuple(StopReason)
"""A stop reason is stored as its place here; new ones go to the end."""
NOT_DONE: Final = -1
"""Steps of a run that was never made, because its job ended before."""


class RunRecord(NamedTuple):
    """How one run ended; NaN stands for what is not finite.

    Attributes:
        steps: Updates made; NOT_DONE where the run was never made.
        steps_to_tolerance: First step within tolerance; -1 for none.
        reason: Place in REASONS.
        a: Fitted slope; NaN when the run diverged.
        b: Fitted intercept; likewise.
        loss: Loss at the end.
        excess_loss: Loss minus the exact minimum; NaN unless mse.
        best_loss: Lowest loss of any step.
        points: Number of points of a batch's series; 0 in a sweep, as are the next three.
        exact_a: Exact slope of a batch's series.
        exact_b: Exact intercept.
        exact_loss: Exact loss.
    """

    steps: int
    steps_to_tolerance: int
    reason: int
    a: float
    b: float
    loss: float
    excess_loss: float
    best_loss: float
    points: int = 0
    exact_a: float = 0.0
    exact_b: float = 0.0
    exact_loss: float = 0.0


_SHORT: Final = struct.Struct("<iii5d")
_LONG: Final = struct.Struct("<iii5di3d")


def layout(*, is_batch: bool) -> struct.Struct:
    """Return how a record of a sweep or of a batch is laid out, in the order of RunRecord."""
    return _LONG if is_batch else _SHORT


def unpack_records(raw: bytes, *, is_batch: bool) -> Iterator[RunRecord]:
    """Read records that lie one after the other."""
    return (RunRecord(*numbers) for numbers in layout(is_batch=is_batch).iter_unpack(raw))


def pack_record(record: RunRecord, *, is_batch: bool) -> bytes:
    """Write one record."""
    return layout(is_batch=is_batch).pack(*(record if is_batch else record[:8]))


def never_made(count: int, *, is_batch: bool) -> bytes:
    """Return the records of runs that were never made."""
    nan = math.nan
    record = RunRecord(
        steps=NOT_DONE,
        steps_to_tolerance=-1,
        reason=0,
        a=nan,
        b=nan,
        loss=nan,
        excess_loss=nan,
        best_loss=nan,
        exact_a=nan,
        exact_b=nan,
        exact_loss=nan,
    )
    return pack_record(record, is_batch=is_batch) * count
