"""Which rule moves which class of torch.optim, with which settings and from which memory."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from worker.engine.rules import updates
from worker.engine.rules.numbers import State

Hyperparameters = Mapping[str, Any]
"""By the names of torch.optim, checked by the catalogue."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One text of updates.py and what its words stand for.

    Attributes:
        name: Of the text.
        update: The text.
        factors: What of it depends on the clock alone.
        num_factors: How many numbers that are.
        remembers: How many numbers a parameter.
        settings: From the hyperparameters of a class to the order of the text.
        start: What is remembered before the first step, from hyperparameters and a learning rate,
            or from a vector of them.
    """

    name: str
    update: Callable[..., updates.Updated]
    factors: Callable[[float, State], State] = updates.no_factors
    num_factors: int = 1
    remembers: int
    settings: Callable[[Hyperparameters], State]
    start: Callable[[Hyperparameters, Any], tuple[Any, ...]]


def _floats(*values: Any) -> State:  # noqa: ANN401  # numbers and flags of the catalogue
    return tuple(float(value) for value in values)


def _adam(*, decoupled: bool | None) -> Rule:
    """Return Adam's rule; AdamW's decay is always decoupled, Adam's when its own flag says so."""
    return Rule(
        name="adam",
        update=updates.adam,
        factors=updates.adam_factors,
        num_factors=2,
        remembers=3,
        settings=lambda given: _floats(
            *given["betas"],
            given["eps"],
            given["weight_decay"],
            given["amsgrad"],
            given["decoupled_weight_decay"] if decoupled is None else decoupled,
        ),
        start=lambda _given, _lr: (0.0, 0.0, 0.0),
    )


RULES: Final[dict[str, Rule]] = {
    "SGD": Rule(
        name="sgd",
        update=updates.sgd,
        remembers=1,
        settings=lambda given: _floats(
            given["momentum"], given["dampening"], given["weight_decay"], given["nesterov"]
        ),
        start=lambda _given, _lr: (0.0,),
    ),
    "Adam": _adam(decoupled=None),
    "AdamW": _adam(decoupled=True),
    "Adagrad": Rule(
        name="adagrad",
        update=updates.adagrad,
        remembers=1,
        settings=lambda given: _floats(given["eps"], given["weight_decay"], given["lr_decay"]),
        start=lambda given, _lr: _floats(given["initial_accumulator_value"]),
    ),
    "ASGD": Rule(
        name="asgd",
        update=updates.asgd,
        remembers=1,
        settings=lambda given: _floats(given["lambd"], given["alpha"], given["weight_decay"]),
        start=lambda _given, lr: (np.float32(lr).astype(np.float64),),
    ),
    "RMSprop": Rule(
        name="rmsprop",
        update=updates.rmsprop,
        remembers=3,
        settings=lambda given: _floats(
            given["alpha"],
            given["eps"],
            given["weight_decay"],
            given["momentum"],
            given["centered"],
        ),
        start=lambda _given, _lr: (0.0, 0.0, 0.0),
    ),
    "Rprop": Rule(
        name="rprop",
        update=updates.rprop,
        remembers=2,
        settings=lambda given: _floats(*given["etas"], *given["step_sizes"]),
        start=lambda _given, lr: (0.0, lr),
    ),
    "Adadelta": Rule(
        name="adadelta",
        update=updates.adadelta,
        remembers=2,
        settings=lambda given: _floats(given["rho"], given["eps"], given["weight_decay"]),
        start=lambda _given, _lr: (0.0, 0.0),
    ),
    "Adamax": Rule(
        name="adamax",
        update=updates.adamax,
        factors=updates.adamax_factors,
        remembers=2,
        settings=lambda given: _floats(*given["betas"], given["eps"], given["weight_decay"]),
        start=lambda _given, _lr: (0.0, 0.0),
    ),
    "NAdam": Rule(
        name="nadam",
        update=updates.nadam,
        factors=updates.nadam_factors,
        num_factors=4,
        remembers=3,
        settings=lambda given: _floats(
            *given["betas"],
            given["eps"],
            given["weight_decay"],
            given["momentum_decay"],
            given["decoupled_weight_decay"],
        ),
        start=lambda _given, _lr: (0.0, 0.0, 1.0),
    ),
    "RAdam": Rule(
        name="radam",
        update=updates.radam,
        factors=updates.radam_factors,
        num_factors=3,
        remembers=2,
        settings=lambda given: _floats(
            *given["betas"], given["eps"], given["weight_decay"], given["decoupled_weight_decay"]
        ),
        start=lambda _given, _lr: (0.0, 0.0),
    ),
}
"""By class of torch.optim. ASGD's t0 moves only its average, which a fit does not return."""
