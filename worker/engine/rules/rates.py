"""The learning rate of every update to come, from torch's own schedulers."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from app.domain.optimizers import SchedulerSpec
from worker.engine.optimizers import make_schedule


class Rates:
    """Deals learning rates in the order of the updates.

    Args:
        scheduler: What changes them, None for nothing. One that reads the loss cannot be dealt.
        lr: The first.
        steps: Updates that the spec asks for.
    """

    def __init__(self, scheduler: SchedulerSpec | None, *, lr: float, steps: int) -> None:
        self._lr = lr
        # Schedulers turn the knob of an optimizer; this one moves nothing.
        knob: Any = torch.optim.SGD([torch.nn.Parameter(torch.zeros(()))], lr=lr)
        self._group: dict[str, Any] = knob.param_groups[0]
        self._schedule = make_schedule(scheduler, knob, steps=steps)
        if self._schedule is not None:
            # torch warns of a scheduler that is stepped first.
            knob.step()

    @property
    def is_constant(self) -> bool:
        """Tell whether all are the same."""
        return self._schedule is None

    def take(self, count: int) -> list[float]:
        """Return those of the next `count` updates; one for all when they are constant."""
        if self._schedule is None:
            return [self._lr]
        rates = list[float]()
        for _ in range(count):
            rates.append(float(self._group["lr"]))
            try:
                self._schedule.advance(math.nan)
            except OverflowError:
                self._group["lr"] = math.inf
        return rates

    def state(self) -> dict[str, object] | None:
        """Return where the dealing stands."""
        if self._schedule is None:
            return None
        return {"lr": float(self._group["lr"]), "schedule": self._schedule.state()}

    def restore(self, state: Mapping[str, Any] | None) -> None:
        """Go on from a state."""
        if self._schedule is not None and state is not None:
            self._group["lr"] = state["lr"]
            self._schedule.restore(state["schedule"])


class ManyRates:
    """Deals learning rates of many runs at once: every schedule only multiplies, adds and divides.

    Args:
        scheduler: What changes them. One that reads the loss cannot be dealt.
        lrs: The first of each run, shape (runs,).
        steps: Updates that the spec asks for.
    """

    def __init__(
        self, scheduler: SchedulerSpec, *, lrs: npt.NDArray[np.float64], steps: int
    ) -> None:
        knob: Any = torch.optim.SGD([torch.nn.Parameter(torch.zeros(()))], lr=1.0)
        self._group: dict[str, Any] = knob.param_groups[0]
        self._group["lr"] = lrs.copy()
        self._shape = lrs.shape
        self._schedule = make_schedule(scheduler, knob, steps=steps)
        # As above, without the arithmetic: torch takes no vector of learning rates.
        knob.zero_grad()
        knob.step()

    def take(self, count: int) -> npt.NDArray[np.float64]:
        """Return those of the next `count` updates, shape (count, runs)."""
        table = np.empty((count, *self._shape))
        with np.errstate(all="ignore"):
            for update in range(count):
                table[update] = self._group["lr"]
                if self._schedule is None:
                    continue
                try:
                    self._schedule.advance(math.nan)
                except OverflowError:
                    self._group["lr"] = np.full(self._shape, math.inf)
        return table
