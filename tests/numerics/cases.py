"""What engines are tried with: settings of every rule, and data sets that hurt."""

import math
from collections.abc import Iterator
from typing import Any

import torch

Points = list[list[float]]

OPTIONS: dict[str, list[dict[str, Any]]] = {
    "SGD": [
        {},
        {"momentum": 0.9},
        {"momentum": 0.9, "dampening": 0.3, "weight_decay": 0.1},
        {"momentum": 0.8, "nesterov": True, "lr": 0.01},
    ],
    "Adam": [
        {},
        {"amsgrad": True, "weight_decay": 0.1},
        {"betas": [0.3, 0.5], "lr": 0.05},
        {"betas": [0.0, 0.0], "eps": 1e-3},
        {"decoupled_weight_decay": True, "weight_decay": 0.1, "lr": 0.1},
    ],
    "AdamW": [
        {},
        {"amsgrad": True, "betas": [0.8, 0.9], "weight_decay": 0.3, "lr": 0.01, "eps": 1e-4},
    ],
    "Adagrad": [
        {},
        {"lr_decay": 0.1, "weight_decay": 0.1, "initial_accumulator_value": 0.5},
        {"lr": 0.1, "eps": 0.01},
    ],
    "ASGD": [
        {},
        {"lambd": 0.1, "alpha": 0.3, "weight_decay": 0.1, "t0": 5.0, "lr": 0.03},
    ],
    "RMSprop": [
        {},
        {"centered": True},
        {"momentum": 0.9, "weight_decay": 0.1, "lr": 0.001, "eps": 1e-3},
        {"centered": True, "momentum": 0.5, "alpha": 0.3},
    ],
    "Rprop": [{}, {"etas": [0.3, 1.7], "step_sizes": [1e-3, 2.0], "lr": 0.1}],
    "Adadelta": [{}, {"rho": 0.3, "weight_decay": 0.1, "lr": 0.5, "eps": 1e-4}],
    "Adamax": [{}, {"weight_decay": 0.2, "betas": [0.2, 0.3], "lr": 0.05, "eps": 1e-3}],
    "NAdam": [
        {},
        {"weight_decay": 0.1, "betas": [0.5, 0.9], "lr": 0.005, "eps": 1e-3},
        {"decoupled_weight_decay": True, "weight_decay": 0.1, "momentum_decay": 0.1},
    ],
    "RAdam": [
        {},
        {"weight_decay": 0.1, "lr": 0.05, "eps": 1e-3},
        {"decoupled_weight_decay": True, "weight_decay": 0.1, "betas": [0.5, 0.9]},
    ],
}
"""All settings that a rule has a branch for, the defaults first."""

MORE_OPTIONS: dict[str, list[dict[str, Any]]] = {
    "Adafactor": [
        {},
        {"lr": 0.02, "beta2_decay": -0.5, "weight_decay": 0.1, "d": 2.0, "eps": [1e-6, 0.1]},
    ],
    "LBFGS": [
        {},
        {"line_search_fn": "strong_wolfe"},
        {"lr": 0.5, "max_iter": 3, "max_eval": 3, "history_size": 2, "tolerance_grad": 1e-5},
        {"max_iter": 1, "tolerance_change": 1e-5},
    ],
    "Muon": [
        {},
        {"lr": 0.05, "weight_decay": 0.0, "momentum": 0.5, "nesterov": False, "eps": 1e-3},
        {"ns_coefficients": [3.0, -3.2, 1.2], "ns_steps": 3, "adjust_lr_fn": "match_rms_adamw"},
    ],
    "SparseAdam": [{}, {"lr": 0.01, "betas": [0.5, 0.9], "eps": 1e-3}],
}
"""The same for classes that have no rule."""

ALL_OPTIONS = {**OPTIONS, **MORE_OPTIONS}

MILLION: dict[str, Any] = {"data": {"generate": {"n": 1_000_000, "noise": 0.5, "x": [-2.0, 7.0]}}}
"""The fields of a spec for so many points that summing them is what costs, and rounds."""

SMALL, LARGE = {"float32": 1e-15, "float64": 1e-150}, {"float32": 1e18, "float64": 1e149}
"""Scales whose squares are still numbers of the type."""


def optimizers() -> Iterator[dict[str, Any]]:
    """Yield every optimizer that has a rule with every set of options."""
    for name, sets in OPTIONS.items():
        for options in sets:
            yield {"name": name, **options}


def all_optimizers() -> Iterator[dict[str, Any]]:
    """Yield every optimizer of torch.optim with every set of options."""
    for name, sets in ALL_OPTIONS.items():
        for options in sets:
            yield {"name": name, **options}


def title(optimizer: dict[str, Any]) -> str:
    """Return a short name for a test."""
    return "-".join(
        f"{key}={value}" if key != "name" else value for key, value in optimizer.items()
    )


def _normal(count: int, seed: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(count, generator=generator, dtype=torch.float64)


def _noisy(x: torch.Tensor, *, scale: float = 1.0, noise: float = 0.1) -> Points:
    """Return points around 2 x + 1, in units of `scale`."""
    y = scale * (2.0 * (x / scale) + 1.0 + noise * _normal(len(x), len(x)))
    return torch.stack([x, y], dim=1).tolist()


def data_sets(dtype: str) -> dict[str, dict[str, Any]]:
    """Return the fields of a spec that say what is fitted, by name.

    Args:
        dtype: The run's number type: the extreme scales depend on it.
    """
    x = _normal(60, 1)
    outliers = _noisy(x)
    for at in range(9, 60, 10):
        outliers[at][1] += 1e4
    small, large = SMALL[dtype], LARGE[dtype]
    root = math.sqrt(small)
    return {
        "seed": {"data": "classic"},
        "noisy": {"data": {"preset": "noisy", "points": 80}},
        "x=10+N": {"data": _noisy(10.0 + x)},
        "x=1e3+N": {"data": _noisy(1e3 + x)},
        "x=1e6+N": {"data": _noisy(1e6 + x)},
        "x constant": {"data": _noisy(torch.full((5,), 2.0, dtype=torch.float64))},
        "one point": {"data": [[1.5, 2.0]]},
        "two points": {"data": [[0.0, 1.0], [1.0, 3.0]]},
        "exact": {"data": _noisy(x, noise=0.0)},
        "outliers": {"data": outliers},
        "tiny x": {"data": _noisy(1e-6 * x)},
        "tiny": {"data": _noisy(small * x, scale=small), "init": {"a": 0.5, "b": 0.0}},
        "small": {"data": _noisy(root * x, scale=root), "init": {"a": 0.5, "b": root}},
        "large": {"data": _noisy(x / root, scale=1.0 / root), "init": {"a": 0.5, "b": 0.0}},
        "huge": {"data": _noisy(large * x, scale=large), "init": {"a": 0.5, "b": min(large, 1e30)}},
    }
