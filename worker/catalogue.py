"""Writes app/domain/catalogue.json from torch.optim, so that the service can validate without torch.

Names, defaults and order come from torch's own signatures; bounds stand in this file, because
torch keeps them in `if` statements, and tests/numerics probe every one of them against torch.
`python -m worker.catalogue` writes the file, `--check` fails when it is not what torch says.
"""

import argparse
import inspect
import json
import sys
from pathlib import Path
from typing import Final, cast

import torch
from torch import optim

import app.domain

CATALOGUE_PATH: Final = Path(app.domain.__file__).with_name("catalogue.json")

LARGEST: Final = 1e30
"""torch accepts 1e300 and inf; this fits a float32, and no fit needs more."""

Bound = dict[str, float]
Entry = dict[str, object]

NON_NEGATIVE: Final[Bound] = {"minimum": 0.0, "maximum": LARGEST}
POSITIVE: Final[Bound] = {"exclusive_minimum": 0.0, "maximum": LARGEST}
FRACTION: Final[Bound] = {"minimum": 0.0, "exclusive_maximum": 1.0}
CLOSED_FRACTION: Final[Bound] = {"minimum": 0.0, "maximum": 1.0}
OPEN_FRACTION: Final[Bound] = {"exclusive_minimum": 0.0, "exclusive_maximum": 1.0}
ANY: Final[Bound] = {"minimum": -LARGEST, "maximum": LARGEST}
COUNT: Final[Bound] = {"minimum": 1, "maximum": 10_000_000}
COUNT_OR_ZERO: Final[Bound] = {"minimum": 0, "maximum": 10_000_000}

SWITCHES: Final = frozenset(
    # How torch computes, not what; `maximize` would climb away from the line.
    {"params", "self", "foreach", "fused", "capturable", "differentiable", "maximize"}
    | {"optimizer", "last_epoch", "scale_fn", "scale_mode", "epochs", "steps_per_epoch"}
)

# One list of bounds a component; torch's own checks, made finite.
OPTIMIZER_BOUNDS: Final[dict[str, list[Bound]]] = {
    "lr": [NON_NEGATIVE],
    "betas": [FRACTION, FRACTION],
    "eps": [NON_NEGATIVE],
    "weight_decay": [NON_NEGATIVE],
    "momentum": [NON_NEGATIVE],
    "dampening": [ANY],
    "rho": [CLOSED_FRACTION],
    "alpha": [NON_NEGATIVE],
    # torch takes any, but raises 1 + lambd*lr*step to a power: complex once that is negative.
    "lambd": [NON_NEGATIVE],
    "t0": [ANY],
    "lr_decay": [NON_NEGATIVE],
    "initial_accumulator_value": [NON_NEGATIVE],
    "momentum_decay": [NON_NEGATIVE],
    "etas": [OPEN_FRACTION, {"exclusive_minimum": 1.0, "maximum": LARGEST}],
    "step_sizes": [NON_NEGATIVE, NON_NEGATIVE],
    "beta2_decay": [{"minimum": -LARGEST, "maximum": 0.0}],
    "d": [{"minimum": 1.0, "maximum": LARGEST}],
    # A cancel waits for the end of a step, so a step may not last for seconds.
    "max_iter": [{"minimum": 1, "maximum": 1_000}],
    "max_eval": [{"minimum": 1, "maximum": 1_000}],
    "tolerance_grad": [NON_NEGATIVE],
    "tolerance_change": [NON_NEGATIVE],
    "history_size": [{"minimum": 1, "maximum": 1_000}],
    "ns_coefficients": [ANY, ANY, ANY],
    "ns_steps": [{"minimum": 1, "maximum": 99}],
}
OPTIMIZER_EXCEPTIONS: Final[dict[tuple[str, str], list[Bound]]] = {
    ("SparseAdam", "lr"): [POSITIVE],
    ("SparseAdam", "eps"): [POSITIVE],
    # torch squares the first, and the square must fit a float32.
    ("Adafactor", "eps"): [{"minimum": 0.0, "maximum": 1e15}, NON_NEGATIVE],
}
SCHEDULER_BOUNDS: Final[dict[str, list[Bound]]] = {
    "step_size": [COUNT],
    "gamma": [NON_NEGATIVE],
    "milestones": [COUNT_OR_ZERO],
    "factor": [CLOSED_FRACTION],
    "total_iters": [COUNT],
    "start_factor": [{"exclusive_minimum": 0.0, "maximum": 1.0}],
    "end_factor": [CLOSED_FRACTION],
    "power": [NON_NEGATIVE],
    "T_max": [COUNT],
    "T_0": [COUNT],
    "T_mult": [{"minimum": 1, "maximum": 1_000}],
    "eta_min": [NON_NEGATIVE],
    "base_lr": [NON_NEGATIVE],
    "max_lr": [NON_NEGATIVE],
    "step_size_up": [COUNT],
    "step_size_down": [COUNT],
    "base_momentum": [FRACTION],
    "max_momentum": [FRACTION],
    "total_steps": [COUNT],
    "pct_start": [CLOSED_FRACTION],
    "div_factor": [POSITIVE],
    "final_div_factor": [POSITIVE],
    "patience": [COUNT_OR_ZERO],
    "threshold": [NON_NEGATIVE],
    "cooldown": [COUNT_OR_ZERO],
    "min_lr": [NON_NEGATIVE],
    "eps": [NON_NEGATIVE],
}
SCHEDULER_EXCEPTIONS: Final[dict[tuple[str, str], list[Bound]]] = {
    # torch refuses a factor of 1 here alone: the rate would never fall.
    ("ReduceLROnPlateau", "factor"): [FRACTION],
}
CHOICES: Final[dict[str, list[str]]] = {
    "line_search_fn": ["strong_wolfe"],
    "adjust_lr_fn": ["original", "match_rms_adamw"],
    "anneal_strategy": ["cos", "linear"],
    "threshold_mode": ["rel", "abs"],
}
MODES: Final[dict[str, list[str]]] = {
    "CyclicLR": ["triangular", "triangular2", "exp_range"],
    "ReduceLROnPlateau": ["min", "max"],
}
INTEGERS: Final = frozenset(
    {"max_iter", "max_eval", "history_size", "ns_steps", "step_size", "milestones", "total_iters"}
    | {"T_max", "T_0", "T_mult", "step_size_up", "step_size_down", "total_steps", "patience"}
    | {"cooldown"}
)
# Torch's default is a number or None.
NULLABLE: Final = frozenset(
    {"max_eval", "line_search_fn", "adjust_lr_fn", "step_size_down", "total_steps"}
)

SCHEDULERS: Final = (
    "StepLR",
    "MultiStepLR",
    "ConstantLR",
    "LinearLR",
    "ExponentialLR",
    "PolynomialLR",
    "CosineAnnealingLR",
    "CosineAnnealingWarmRestarts",
    "CyclicLR",
    "OneCycleLR",
    "ReduceLROnPlateau",
)
"""Every scheduler but those that need a Python function (LambdaLR, MultiplicativeLR) or other
schedulers (SequentialLR, ChainedScheduler); SWALR belongs to weight averaging, not to one fit."""


def optimizer_names() -> list[str]:
    """Return every optimizer class that torch.optim exports, sorted."""
    return sorted(
        name
        for name, value in vars(optim).items()
        if inspect.isclass(value)
        and issubclass(value, optim.Optimizer)
        and value is not optim.Optimizer
    )


def describe_optimizer(name: str) -> Entry:
    """Return name, summary and hyperparameters of one class of torch.optim."""
    return _describe(
        getattr(optim, name),
        f"https://docs.pytorch.org/docs/stable/generated/torch.optim.{name}.html",
        OPTIMIZER_BOUNDS,
        OPTIMIZER_EXCEPTIONS,
    )


def describe_scheduler(name: str) -> Entry:
    """Return name, summary and hyperparameters of one class of torch.optim.lr_scheduler."""
    return _describe(
        getattr(optim.lr_scheduler, name),
        f"https://docs.pytorch.org/docs/stable/generated/torch.optim.lr_scheduler.{name}.html",
        SCHEDULER_BOUNDS,
        SCHEDULER_EXCEPTIONS,
    )


def _describe(
    cls: type,
    reference: str,
    bounds: dict[str, list[Bound]],
    exceptions: dict[tuple[str, str], list[Bound]],
) -> Entry:
    parameters = inspect.signature(cls).parameters
    return {
        "reference": reference,
        "hyperparameters": {
            name: _describe_parameter(
                cls.__name__, parameter, exceptions.get((cls.__name__, name), bounds.get(name))
            )
            for name, parameter in parameters.items()
            if name not in SWITCHES
        },
    }


def _describe_parameter(
    cls: str, parameter: inspect.Parameter, bounds: list[Bound] | None
) -> Entry:
    name, default = parameter.name, parameter.default
    entry: Entry = {"type": _type_of(name, default)}
    if default is inspect.Parameter.empty:
        entry["required"] = True
    else:
        is_tuple = isinstance(default, tuple)
        entry["default"] = list(cast("tuple[object, ...]", default)) if is_tuple else default
    if entry["type"] == "choice":
        entry["choices"] = MODES[cls] if name == "mode" else CHOICES[name]
    elif entry["type"] != "boolean":
        if bounds is None:
            raise LookupError(f"{cls}.{name} is new in torch: state its bounds in this file")
        entry["items" if entry["type"] in {"numbers", "integers"} else "bounds"] = (
            bounds if entry["type"] in {"numbers", "integers"} else bounds[0]
        )
    if name in NULLABLE:
        entry["nullable"] = True
    return entry


def _type_of(name: str, default: object) -> str:
    if name in CHOICES or name == "mode":
        return "choice"
    if isinstance(default, bool):
        return "boolean"
    if name == "milestones":
        return "integers"
    if isinstance(default, tuple):
        return "numbers"
    return "integer" if name in INTEGERS else "number"


def make_catalogue() -> str:
    """Return the text of catalogue.json for the torch that is installed."""
    catalogue = {
        "torch": torch.__version__.split("+")[0],
        "optimizers": {name: describe_optimizer(name) for name in optimizer_names()},
        "schedulers": {name: describe_scheduler(name) for name in SCHEDULERS},
    }
    return json.dumps(catalogue, indent=1) + "\n"


def main() -> int:
    """Write the catalogue, or with --check compare it; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing, fail on drift")
    check = parser.parse_args().check
    text = make_catalogue()
    if not check:
        CATALOGUE_PATH.write_text(text)
        return 0
    if CATALOGUE_PATH.read_text() != text:
        sys.stderr.write("catalogue.json is not what torch says: run `make catalogue`\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
