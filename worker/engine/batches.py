"""Which points an update sees: all of them, or shuffled mini-batches pass by pass."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor


class Batches:
    """Deals all points in random order, then all again; the last batch of a pass may be smaller.

    The order comes from its own generator, so it is the same for every optimizer of a job and
    does not depend on where the search begins.

    Args:
        x: Abscissae, shape (n, 1, 1).
        y: Ordinates, likewise.
        size: Points a batch, less than n.
        seed: The spec's seed; the next integer seeds the order, lest it repeat the data's draw.
    """

    def __init__(self, x: Tensor, y: Tensor, *, size: int, seed: int) -> None:
        self._x = x
        self._y = y
        self._size = size
        self._generator = torch.Generator().manual_seed(seed + 1)
        self._before = self._generator.get_state()
        self._left: list[Tensor] = []
        self._dealt = 0

    def deal(self) -> tuple[Tensor, Tensor]:
        """Return the points of the next batch."""
        if not self._left:
            self._shuffle()
        batch = self._left.pop(0)
        self._dealt += 1
        return self._x[batch], self._y[batch]

    def state(self) -> dict[str, object]:
        """Return where the dealing stands: the generator before this pass, and batches dealt in it.

        Not the order itself, which takes 8 bytes a point.
        """
        return {"generator": self._before, "dealt": self._dealt}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from a state."""
        self._generator.set_state(state["generator"])
        self._shuffle()
        self._dealt = int(state["dealt"])
        del self._left[: self._dealt]

    def _shuffle(self) -> None:
        self._before = self._generator.get_state()
        order = torch.randperm(len(self._x), generator=self._generator)
        self._left = list(torch.split(order.to(self._x.device), self._size))
        self._dealt = 0
