"""Every optimizer of the catalogue solves the noisy problem, and survives its own bounds."""

import math
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from torch import nn

from app.domain.catalogue import OPTIMIZERS, SCHEDULERS
from tests.numerics.fitted import fit

COOLING = {"name": "ExponentialLR", "gamma": 0.98}
# Settings that reach 1e-6 of the first excess loss, and why they are not the defaults.
WORKING: dict[str, tuple[dict[str, Any], dict[str, Any] | None]] = {
    # Its lambd is a weight decay: the default leaves a floor of lambd^2 / 4 on this bowl.
    "ASGD": ({"lr": 0.1, "lambd": 0.0}, None),
    # Its first steps are about sqrt(eps).
    "Adadelta": ({"lr": 1.0, "eps": 1e-3}, None),
    # Its steps are relative to the size of a and b, so they need a floor (eps) and must cool.
    "Adafactor": ({"lr": 0.1, "eps": [None, 1.0]}, COOLING),
    "Adagrad": ({"lr": 1.0}, None),
    "Adam": ({"lr": 0.1}, None),
    # Weight decay pulls away from the least-squares line: off.
    "AdamW": ({"lr": 0.1, "weight_decay": 0.0}, None),
    "Adamax": ({"lr": 0.1}, None),
    "LBFGS": ({}, None),
    # On a (1, 1) matrix its steps have the size of lr whatever the gradient: they must cool.
    "Muon": ({"lr": 0.1, "weight_decay": 0.0}, COOLING),
    "NAdam": ({"lr": 0.1}, None),
    "RAdam": ({"lr": 0.1}, None),
    # Near the minimum it turns rounding noise into steps of size lr: it must cool.
    "RMSprop": ({"lr": 0.1}, COOLING),
    "Rprop": ({}, None),
    "SGD": ({"lr": 0.1}, None),
    "SparseAdam": ({"lr": 0.1}, None),
}
# Bounds of ours that are stricter than torch's constructor, which takes these and fails later.
STRICTER = frozenset(
    {("ASGD", "alpha"), ("ASGD", "lambd"), ("Adafactor", "eps"), ("Muon", "eps")}
    | {("Muon", "ns_steps"), ("Rprop", "step_sizes")}
    | {("LBFGS", name) for name in ("max_iter", "max_eval", "history_size")}
    | {("LBFGS", name) for name in ("tolerance_grad", "tolerance_change")}
)
REQUIRED = {"step_size": 2, "milestones": [2], "gamma": 0.5, "T_max": 3, "T_0": 2}
REQUIRED |= {"base_lr": 0.001, "max_lr": 0.1}  # type: ignore[dict-item]


def test_table_names_every_optimizer() -> None:
    assert sorted(WORKING) == sorted(OPTIMIZERS)


@pytest.mark.parametrize("name", WORKING)
def test_optimizer_reaches_a_millionth_of_its_first_excess_loss(name: str) -> None:
    hyperparameters, scheduler = WORKING[name]
    fitted = fit(
        optimizer={"name": name, **hyperparameters},
        scheduler=scheduler,
        data={"preset": "noisy"},
        steps=400,
        stop={"loss_below": None},
        tolerance=1e-6,
    )
    excess = fitted.rows.excess_loss

    assert excess is not None
    assert excess[-1] < 1e-6 * excess[0]
    assert fitted.result.converged
    assert fitted.result.steps_to_tolerance is not None
    assert fitted.result.gradient_norm is not None
    assert fitted.result.gradient_norm < 1e-2


def edges(description: Mapping[str, Any]) -> Iterator[Any]:
    """Yield the extreme values that the catalogue allows of one hyperparameter."""
    match description["type"]:
        case "boolean":
            yield from (True, False)
        case "choice":
            yield from description["choices"]
        case "numbers":
            for i, bounds in enumerate(description["items"]):
                for value in ends(bounds, kind=float):
                    yield [*description["default"][:i], value, *description["default"][i + 1 :]]
        case "integers":
            yield from ([value] for value in ends(description["items"][0], kind=int))
        case "integer":
            yield from ends(description["bounds"], kind=int)
        case _:
            yield from ends(description["bounds"], kind=float)


def ends(bounds: Mapping[str, float], *, kind: type) -> Iterator[Any]:
    inward = {"exclusive_minimum": math.inf, "exclusive_maximum": -math.inf}
    for word, limit in bounds.items():
        yield kind(math.nextafter(limit, inward[word]) if word in inward else limit)


def just_outside(description: Mapping[str, Any]) -> Iterator[Any]:
    """Yield values just beyond the bounds that are torch's own, not the finite ends of ours."""
    parts = description.get("items") or [description["bounds"]]
    for i, bounds in enumerate(parts):
        for word, limit in bounds.items():
            if abs(limit) >= 1e15:
                continue
            outward = -math.inf if "minimum" in word else math.inf
            value = limit if word.startswith("exclusive") else math.nextafter(limit, outward)
            default = description["default"]
            yield (*default[:i], value, *default[i + 1 :]) if "items" in description else value


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_bounds_are_those_of_torch(name: str) -> None:
    for parameter, description in OPTIMIZERS[name]["hyperparameters"].items():
        if description["type"] not in {"number", "numbers"} or (name, parameter) in STRICTER:
            continue
        for value in just_outside(description):
            with pytest.raises(ValueError, match=r"(?i)invalid|should|must"):
                getattr(torch.optim, name)([nn.Parameter(torch.zeros(1, 1))], **{parameter: value})


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_every_allowed_hyperparameter_ends_in_an_expected_way(name: str, dtype: str) -> None:
    for parameter, description in OPTIMIZERS[name]["hyperparameters"].items():
        for value in edges(description):
            optimizer = {"name": name, parameter: value}
            if parameter == "nesterov" and name == "SGD":
                optimizer["momentum"] = 0.5
            fitted = fit(optimizer=optimizer, dtype=dtype, steps=3, stop={"loss_below": None})

            assert fitted.result.stop_reason in {"max_steps", "diverged"}, optimizer


@pytest.mark.parametrize("name", SCHEDULERS)
def test_every_allowed_schedule_ends_in_an_expected_way(name: str) -> None:
    hyperparameters = SCHEDULERS[name]["hyperparameters"]
    required = {
        key: value
        for key, value in REQUIRED.items()
        if hyperparameters.get(key, {}).get("required")
    }
    for parameter, description in hyperparameters.items():
        for value in edges(description):
            scheduler = {"name": name, **required, parameter: value}
            if (parameter, value) in [("pct_start", 1.0), ("factor", 1.0), ("total_steps", 1)]:
                continue  # refused by a rule of its own
            if "base_lr" in scheduler:
                scheduler["max_lr"] = max(scheduler["max_lr"], scheduler["base_lr"])
            fitted = fit(
                optimizer={"name": "SGD", "momentum": 0.5},
                scheduler=scheduler,
                steps=3,
                stop={"loss_below": None},
            )

            assert fitted.result.stop_reason in {"max_steps", "diverged"}, scheduler


@pytest.mark.parametrize(
    ("steps", "cycle"),
    [
        (10, {"pct_start": 1.0}),
        (10, {"pct_start": 0.1}),
        (3, {"pct_start": 1 / 3, "three_phase": True}),
    ],
)
def test_a_cycle_is_refused_where_torch_would_divide_by_zero(
    steps: int, cycle: dict[str, Any]
) -> None:
    scheduler = {"name": "OneCycleLR", "max_lr": 0.1, **cycle}
    with pytest.raises(ValidationError, match="phase without length"):
        fit(steps=steps, scheduler=scheduler)
