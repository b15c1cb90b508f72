"""The loss history as columns, and the two ways to make it shorter without lying."""

import math
from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

AUTO_ROWS: Final = 10_000
"""record_every "auto" keeps every step up to this many, then thins evenly."""

EMBEDDED_ROWS: Final = 200
"""Rows shown inside a job object unless ?history says otherwise."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rows:
    """Rows of one run's history, oldest first; row k holds the values after k updates.

    Attributes:
        step: Number of updates made, int64, strictly rising; 0 is the start.
        loss: Loss on all points, float64 (a float32 run's values are widened, not rounded).
        a: Slope, float64.
        b: Intercept, float64.
        excess_loss: Mean squared error minus the exact minimum; None unless the loss is mse.
        batch_loss: Loss on the batch of the update that led here; NaN in row 0; None when
            every batch is all points.
    """

    step: "array[int]"
    loss: "array[float]"
    a: "array[float]"
    b: "array[float]"
    excess_loss: "array[float] | None" = None
    batch_loss: "array[float] | None" = None

    def __len__(self) -> int:
        return len(self.step)

    def columns(self) -> "dict[str, array[int] | array[float]]":
        """Return the columns that exist by name, in the order of the contract."""
        named: dict[str, array[int] | array[float] | None] = {
            "step": self.step,
            "loss": self.loss,
            "excess_loss": self.excess_loss,
            "a": self.a,
            "b": self.b,
            "batch_loss": self.batch_loss,
        }
        return {name: column for name, column in named.items() if column is not None}

    def select(self, positions: Sequence[int]) -> "Rows":
        """Return the rows at the given positions, in the order given."""
        return Rows(
            step=array("q", [self.step[i] for i in positions]),
            loss=array("d", [self.loss[i] for i in positions]),
            a=array("d", [self.a[i] for i in positions]),
            b=array("d", [self.b[i] for i in positions]),
            excess_loss=_pick(self.excess_loss, positions),
            batch_loss=_pick(self.batch_loss, positions),
        )


def _pick(column: "array[float] | None", positions: Sequence[int]) -> "array[float] | None":
    return None if column is None else array("d", [column[i] for i in positions])


def make_empty(*, with_excess: bool = True, with_batch: bool = False) -> Rows:
    """Return rows of length 0 with the optional columns asked for."""
    return Rows(
        step=array("q"),
        loss=array("d"),
        a=array("d"),
        b=array("d"),
        excess_loss=array("d") if with_excess else None,
        batch_loss=array("d") if with_batch else None,
    )


def concatenate(blocks: Iterable[Rows]) -> Rows:
    """Join blocks of one run, oldest first, into one; no blocks give empty rows."""
    parts = list(blocks)
    if not parts:
        return make_empty()
    first = parts[0]
    joined = make_empty(
        with_excess=first.excess_loss is not None, with_batch=first.batch_loss is not None
    )
    for part in parts:
        for name, column in joined.columns().items():
            column.extend(part.columns()[name])  # type: ignore[arg-type]  # same name, same type
    return joined


def stride_for(record_every: int | str, *, steps: int) -> int:
    """Return the distance in steps between recorded rows.

    Args:
        record_every: A number of steps, or "auto": 1 up to AUTO_ROWS steps, then even thinning.
        steps: Steps that the spec asks for.
    """
    if isinstance(record_every, int):
        return record_every
    return max(1, math.ceil(steps / AUTO_ROWS))


def thin(rows: Rows, points: int) -> Rows:
    """Return at most `points` rows that keep the picture: first, last, and each bucket's extremes.

    The lowest and the highest loss of every bucket survive, so spikes and the best step stay
    visible (sampling every n-th row hides both). Non-finite rows survive as far as room allows.

    Args:
        rows: Any number of rows.
        points: Largest number of rows to return, at least 4.
    """
    count = len(rows)
    if count <= points:
        return rows
    # Two ends, and two rows of each bucket.
    num_buckets = max(1, (points - 2) // 2)
    inner = count - 2
    # NaN compares with nothing; slices of an array are searched at the speed of C.
    heights = rows.loss
    if math.isnan(sum(heights)):
        heights = array("d", [math.inf if math.isnan(loss) else loss for loss in heights])
    kept = {0, count - 1}
    for bucket in range(num_buckets):
        low = 1 + bucket * inner // num_buckets
        high = 1 + (bucket + 1) * inner // num_buckets
        bucket_heights = heights[low:high]
        kept.add(low + bucket_heights.index(min(bucket_heights)))
        kept.add(low + bucket_heights.index(max(bucket_heights)))
    return rows.select(sorted(kept))
