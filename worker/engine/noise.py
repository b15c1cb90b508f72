"""From which step on a run's gradient is rounding noise; it takes no step."""

import math
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from app.domain.history import Rows
from worker.engine.problem import Task


class NoiseFloor:
    """Watches recorded rows for the first whose line is the exact one up to a rounding.

    The gradient is a mean of residuals' differences from the exact line's, and a residual in
    floating point is known to eps (|a x| + |b| + |y|). Where the root of the excess loss, the root
    mean square of those differences, is no more than eps (|a| rms(x) + |b| + rms(y)), the gradient
    on all points says nothing but how residuals were rounded.

    Args:
        task: Its exact answer and moments are asked, no point.

    Attributes:
        reached_at: Step of that row, None before it.
    """

    def __init__(self, task: Task) -> None:
        bowl = task.bowl
        self._eps = torch.finfo(task.x.dtype).eps
        self._rms_x = math.hypot(bowl.problem.mean_x, bowl.deviation_x)
        self._rms_y = math.hypot(bowl.problem.mean_y, math.sqrt(bowl.variance_y))
        self.reached_at: int | None = None

    def see(self, rows: Rows) -> None:
        """Look at the rows that follow those seen before."""
        if self.reached_at is not None or rows.excess_loss is None or not len(rows):
            return
        excess, a, b = (np.frombuffer(part) for part in (rows.excess_loss, rows.a, rows.b))
        with np.errstate(all="ignore"):
            # Most runs are nowhere near, which extremes tell at a quarter of the price.
            if np.sqrt(excess.min()) > self._rounding_of(_largest(a), _largest(b)):
                return
            is_noise = np.sqrt(excess) <= self._rounding_of(np.abs(a), np.abs(b))
        first = int(is_noise.argmax())
        # An excess and terms that are inf say nothing.
        if is_noise[first] and math.isfinite(excess[first]):
            self.reached_at = rows.step[first]

    def _rounding_of(self, a: Any, b: Any) -> Any:  # noqa: ANN401  # numbers or columns of them
        return self._eps * (a * self._rms_x + b + self._rms_y)


def _largest(column: NDArray[np.float64]) -> float:
    return max(abs(float(column.min())), abs(float(column.max())))
