"""From a name and its hyperparameters to an object of torch.optim; the loop knows the rest."""

from collections.abc import Mapping
from typing import Any, Final, cast

import torch
from torch import nn

from app.domain.optimizers import OptimizerSpec, SchedulerSpec

NEEDS_CLOSURE: Final = frozenset({"LBFGS"})
"""Optimizers that evaluate loss and gradient several times a step."""

_FUSED: Final = frozenset({"Adam", "AdamW", "Adagrad"})
"""Optimizers whose fused form takes little more than half the time; SGD gains nothing."""


class Schedule:
    """Changes the learning rate after every update.

    Args:
        scheduler: Of torch.optim.lr_scheduler.
        with_loss: Whether it wants to know the loss before the update.
    """

    def __init__(self, scheduler: Any, *, with_loss: bool) -> None:  # noqa: ANN401  # torch has no common type
        self._scheduler = scheduler
        self._with_loss = with_loss
        self._fields = cast("dict[str, object]", vars(scheduler))

    def advance(self, loss: float) -> None:
        """Set the rates of the next update; `loss` is the one before the last."""
        self._scheduler.step(*[loss] if self._with_loss else [])

    def state(self) -> dict[str, object]:
        """Return what changes: numbers and lists of them; the rest was said by the spec."""
        return {
            name: value
            for name, value in self._fields.items()
            if value is None or isinstance(value, int | float | list)
        }

    def restore(self, state: Mapping[str, object]) -> None:
        """Go on from a state; the optimizer's rates are the optimizer's own state."""
        self._fields.update(state)


def make_optimizer(
    optimizer: OptimizerSpec, net: nn.Module, *, lr: float, with_fused: bool = False
) -> torch.optim.Optimizer:
    """Return the optimizer of torch.optim that a spec names.

    Args:
        optimizer: Name and hyperparameters.
        net: Whose parameters it moves.
        lr: The learning rate, resolved.
        with_fused: Take the fused form where it pays.
    """
    settings: dict[str, Any] = {**optimizer.hyperparameters, "lr": lr}
    if with_fused and optimizer.name in _FUSED:
        settings["fused"] = True
    made: torch.optim.Optimizer = getattr(torch.optim, optimizer.name)(net.parameters(), **settings)
    return made


def make_schedule(
    scheduler: SchedulerSpec | None, optimizer: torch.optim.Optimizer, *, steps: int
) -> Schedule | None:
    """Return what changes the learning rate after an update, None for nothing.

    Args:
        scheduler: Name and hyperparameters.
        optimizer: Whose learning rate it moves.
        steps: Updates that the spec asks for; what OneCycleLR spans when nothing else is said.
    """
    if scheduler is None:
        return None
    settings: dict[str, Any] = dict(scheduler.hyperparameters)
    if scheduler.name == "OneCycleLR" and settings["total_steps"] is None:
        settings["total_steps"] = steps
    made: Any = getattr(torch.optim.lr_scheduler, scheduler.name)(optimizer, **settings)
    return Schedule(made, with_loss=scheduler.name == "ReduceLROnPlateau")
