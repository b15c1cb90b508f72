"""Watches a run row by row: the best row, the tolerance, the stop rules; it takes no step."""

import math
from array import array
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from app.domain.history import Rows, stride_for
from app.domain.result import Point, StopReason
from app.domain.spec import FitSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """What is known after some updates; numbers may be inf or NaN.

    Attributes:
        step: Updates made.
        loss: Loss on all points.
        excess_loss: Mean squared error minus the exact minimum, whatever the loss.
        a: Slope.
        b: Intercept.
        batch_loss: Loss of the batch of the last update; NaN before it.
        gradient_norm: Euclidean norm of the full gradient; None when no rule asks for it.
    """

    step: int
    loss: float
    excess_loss: float
    a: float
    b: float
    batch_loss: float = math.nan
    gradient_norm: float | None = None

    @property
    def is_finite(self) -> bool:
        """Tell whether this is still a line with a loss."""
        return math.isfinite(self.loss) and math.isfinite(self.a) and math.isfinite(self.b)


class Watch:
    """Sees every row of a run, whether it is recorded or not.

    Attributes:
        best: The finite row with the lowest loss, the first of equals.
        steps_to_tolerance: First step whose excess loss is within tolerance of row 0's.
        evaluations_to_tolerance: Loss and gradient evaluations that led there.
    """

    def __init__(self, spec: FitSpec) -> None:
        self.best: Row | None = None
        self.steps_to_tolerance: int | None = None
        self.evaluations_to_tolerance: int | None = None
        self._stop = spec.stop
        self._steps = spec.steps
        self._tolerance = spec.tolerance
        self._is_mse = spec.loss == "mse"
        self._goal: float | None = None

    def judge(self, row: Row, *, evaluations: int | None = None) -> StopReason | None:
        """Take note of the next row and say whether the run ends with it.

        Args:
            row: The next row.
            evaluations: How many led to it; None is one a step.
        """
        if not row.is_finite:
            return StopReason.DIVERGED
        if self.best is None or row.loss < self.best.loss:
            self.best = row
        if self._is_mse:
            self._note_tolerance(row, row.step if evaluations is None else evaluations)
        return self._reason(row, best_step=self.best.step)

    def state(self) -> dict[str, object]:
        """Return what was noted so far."""
        return {
            "best": None if self.best is None else asdict(self.best),
            "steps_to_tolerance": self.steps_to_tolerance,
            "evaluations_to_tolerance": self.evaluations_to_tolerance,
            "goal": self._goal,
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from a state."""
        best = state["best"]
        self.best = None if best is None else Row(**best)
        self.steps_to_tolerance = state["steps_to_tolerance"]
        # Where nobody counted, every step is one.
        self.evaluations_to_tolerance = state.get(
            "evaluations_to_tolerance", state["steps_to_tolerance"]
        )
        self._goal = state["goal"]

    def is_within_tolerance(self, row: Row) -> bool:
        """Tell whether a row's excess loss is within tolerance of row 0's; False unless mse."""
        return self._goal is not None and row.excess_loss <= self._goal

    def _note_tolerance(self, row: Row, evaluations: int) -> None:
        if self._goal is None:
            self._goal = self._tolerance * row.excess_loss
        if self.steps_to_tolerance is None and self.is_within_tolerance(row):
            self.steps_to_tolerance = row.step
            self.evaluations_to_tolerance = evaluations

    def _reason(self, row: Row, *, best_step: int) -> StopReason | None:
        stop = self._stop
        if stop.loss_below is not None and row.loss < stop.loss_below:
            return StopReason.LOSS_BELOW
        norm = row.gradient_norm
        # A norm that overflowed is inf or NaN and stops nothing.
        if stop.gradient_below is not None and norm is not None and norm < stop.gradient_below:
            return StopReason.GRADIENT_BELOW
        if stop.patience is not None and row.step - best_step >= stop.patience:
            return StopReason.PATIENCE
        return StopReason.MAX_STEPS if row.step >= self._steps else None


class Record:
    """Collects the rows that record_every lets through, as columns.

    Args:
        spec: Says how many rows, and which columns.
        with_batch: Whether updates see less than all points.
    """

    def __init__(self, spec: FitSpec, *, with_batch: bool) -> None:
        self._stride = stride_for(spec.record_every, steps=spec.steps)
        self._with_excess = spec.loss == "mse"
        self._with_batch = with_batch
        self._rows: list[Row] = []

    def add(self, row: Row, *, is_last: bool) -> None:
        """Keep the row if it is the first, the last, or its turn."""
        if is_last or row.step % self._stride == 0:
            self._rows.append(row)

    def take(self) -> Rows:
        """Return what was kept since the last call."""
        rows, self._rows = self._rows, []
        return Rows(
            step=array("q", [row.step for row in rows]),
            loss=array("d", [row.loss for row in rows]),
            a=array("d", [row.a for row in rows]),
            b=array("d", [row.b for row in rows]),
            excess_loss=array("d", [row.excess_loss for row in rows])
            if self._with_excess
            else None,
            batch_loss=array("d", [row.batch_loss for row in rows]) if self._with_batch else None,
        )


def to_point(row: Row | None, *, with_excess: bool) -> Point | None:
    """Return a row as the contract shows it: None for what is not finite."""
    if row is None:
        return None
    return Point(
        step=row.step,
        loss=to_finite(row.loss),
        excess_loss=to_finite(row.excess_loss) if with_excess else None,
        a=to_finite(row.a),
        b=to_finite(row.b),
    )


def to_finite(value: float | None) -> float | None:
    """Return the value, None when it is inf or NaN."""
    return value if value is not None and math.isfinite(value) else None
