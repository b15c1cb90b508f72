"""Mini-batches as five numbers each: dealt in the order of Batches, seen from the exact line."""

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray

from worker.engine.exact import Bowl
from worker.engine.problem import Task

Floats64 = NDArray[np.float64]

COLUMNS: Final = ("mean_x", "var_x", "mean_r", "cov_x_r", "var_r")
"""r is the exact line minus y; with e = (a, b) - exact and d = e_a mean_x + e_b + mean_r, a batch
has the gradient (2 (var_x e_a + cov_x_r + mean_x d), 2 d) and the loss
var_r + 2 e_a cov_x_r + e_a^2 var_x + d^2."""


class BatchMoments:
    """Deals what an update needs to know of its batch, for as many updates as asked.

    A pass costs some additions a point, whatever the number of batches in it. Deviations are taken
    from each batch's own means, so that x far from zero costs no digits.

    Args:
        task: Points and exact line.
        size: Points a batch, less than n; the last of a pass may have fewer.
        seed: The spec's seed, as Batches takes it.
    """

    def __init__(self, task: Task, *, size: int, seed: int) -> None:
        self._x = task.x.flatten().double().cpu().numpy()
        self._r = _residuals(self._x, task.y.flatten().double().cpu().numpy(), task.bowl)
        self._size = size
        self._generator = torch.Generator().manual_seed(seed + 1)
        self._before = self._generator.get_state()
        self._pass = np.empty((0, len(COLUMNS)))
        self._dealt = 0

    def take(self, count: int) -> Floats64:
        """Return the moments of the next `count` batches, shape (count, 5); passes are crossed."""
        rows = np.empty((count, len(COLUMNS)))
        filled = 0
        while filled < count:
            if self._dealt == len(self._pass):
                self._shuffle()
            part = self._pass[self._dealt : self._dealt + count - filled]
            rows[filled : filled + len(part)] = part
            filled += len(part)
            self._dealt += len(part)
        return rows

    def state(self) -> dict[str, object]:
        """Return where the dealing stands, in the words of Batches.state."""
        return {"generator": self._before, "dealt": self._dealt}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from a state."""
        self._generator.set_state(state["generator"])
        self._shuffle()
        self._dealt = int(state["dealt"])

    def _shuffle(self) -> None:
        self._before = self._generator.get_state()
        order = torch.randperm(len(self._x), generator=self._generator).numpy()
        x, r = self._x[order], self._r[order]
        whole = len(x) // self._size * self._size
        parts = [_moments(*(v[:whole].reshape(-1, self._size) for v in (x, r)))]
        if whole < len(x):
            parts.append(_moments(x[None, whole:], r[None, whole:]))
        self._pass = np.concatenate(parts)
        self._dealt = 0


def _residuals(x: Floats64, y: Floats64, bowl: Bowl) -> Floats64:
    """Return the exact line minus y, with the line's own remainders."""
    exact = bowl.exact
    residuals: Floats64 = ((exact.a * x - y) + exact.b) + (bowl.remainder_a * x + bowl.remainder_b)
    return residuals


def _moments(x: Floats64, r: Floats64) -> Floats64:
    """Return a row of COLUMNS for each row of points."""
    mean_x, mean_r = x.mean(axis=1), r.mean(axis=1)
    x, r = x - mean_x[:, None], r - mean_r[:, None]
    square_x, product, square_r = ((u * v).mean(axis=1) for u, v in ((x, x), (x, r), (r, r)))
    return np.stack([mean_x, square_x, mean_r, product, square_r], axis=1)
