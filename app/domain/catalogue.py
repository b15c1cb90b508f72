"""What torch.optim offers, read from catalogue.json and turned into types that validate it.

One pydantic class is made for every optimizer and scheduler, so that its error messages, its
JSON Schema and its defaults come from one place. This file knows no torch.
"""

import json
from collections.abc import Callable, Mapping
from functools import cache
from importlib import resources
from typing import Annotated, Any, Final, Literal, cast

from pydantic import Field, Strict, create_model, model_validator
from pydantic_core import InitErrorDetails, PydanticCustomError, ValidationError

from app.domain.frozen import Frozen

_RAW: Final[dict[str, Any]] = json.loads(
    resources.files("app.domain").joinpath("catalogue.json").read_text()
)

TORCH_VERSION: Final[str] = _RAW["torch"]
"""The torch that the catalogue was generated from."""

OPTIMIZERS: Final[Mapping[str, Mapping[str, Any]]] = _RAW["optimizers"]
SCHEDULERS: Final[Mapping[str, Mapping[str, Any]]] = _RAW["schedulers"]

_BOUND_WORDS: Final = {
    "minimum": "ge",
    "maximum": "le",
    "exclusive_minimum": "gt",
    "exclusive_maximum": "lt",
}
_MAX_MILESTONES: Final = 1_000

AUTO_LR_OPTIMIZERS: Final = frozenset({"SGD"})
"""Where theory gives the best constant learning rate (from the Hessian's eigenvalues)."""


def canonical_name(name: str, kind: Literal["optimizers", "schedulers"]) -> str | None:
    """Return torch's spelling of a name typed in any case, None when there is none."""
    return _folded(kind).get(name.casefold())


@cache
def _folded(kind: str) -> dict[str, str]:
    return {name.casefold(): name for name in _RAW[kind]}


@cache
def hyperparameter_class(name: str, kind: Literal["optimizers", "schedulers"]) -> type[Frozen]:
    """Return the class whose fields are the hyperparameters of `name`, torch's defaults filled in.

    Args:
        name: Torch's own spelling.
        kind: Which part of the catalogue.
    """
    fields: dict[str, Any] = {
        parameter: _field_of(description)
        for parameter, description in _RAW[kind][name]["hyperparameters"].items()
    }
    if kind == "optimizers" and name in AUTO_LR_OPTIMIZERS:
        annotation, default = fields["lr"]
        fields["lr"] = (Literal["auto"] | annotation, default)
    rule = _RULES.get(name)
    validators = {"_rule": cast("Any", model_validator(mode="after")(rule))} if rule else None
    return create_model(name, __base__=Frozen, __validators__=validators, **fields)


def _field_of(description: Mapping[str, Any]) -> tuple[Any, Any]:
    annotation = _annotation_of(description)
    if description.get("nullable"):
        annotation = annotation | None
    if description.get("required"):
        return annotation, ...
    return annotation, _default_of(description)


def _default_of(description: Mapping[str, Any]) -> Any:  # noqa: ANN401  # as torch takes it
    """Return the default in the type that validation gives: 0 and 0.0 are two fingerprints."""
    default: Any = description["default"]
    if description["type"] == "numbers":
        return tuple(None if value is None else float(value) for value in default)
    return float(default) if description["type"] == "number" else default


def _annotation_of(description: Mapping[str, Any]) -> Any:  # noqa: ANN401  # a type is built here
    match description["type"]:
        case "number":
            return _bounded(float, description["bounds"])
        case "integer":
            return _bounded(int, description["bounds"])
        case "boolean":
            return bool
        case "choice":
            return Literal[tuple(description["choices"])]
        case "numbers":
            # Adafactor's first eps is None by default: torch then uses the type's own epsilon.
            parts: list[Any] = [
                _bounded(float, bounds) | None
                if description["default"][i] is None
                else _bounded(float, bounds)
                for i, bounds in enumerate(description["items"])
            ]
            fixed_tuple: Any = tuple
            return Annotated[fixed_tuple[tuple(parts)], Strict(strict=False)]
        case "integers":
            items = _bounded(int, description["items"][0])
            return Annotated[
                tuple[items, ...],  # type: ignore[valid-type]  # built from the catalogue
                Strict(strict=False),
                Field(min_length=1, max_length=_MAX_MILESTONES),
            ]
        case other:
            raise LookupError(f"catalogue.json has a type that this file does not know: {other}")


def _bounded(number: type, bounds: Mapping[str, float]) -> Any:  # noqa: ANN401  # a type is built here
    words = {_BOUND_WORDS[word]: limit for word, limit in bounds.items()}
    return Annotated[number, Strict(), Field(**cast("Any", words))]


def refuse(title: str, location: str, code: str, detail: str, value: object) -> ValidationError:
    """Return a validation error at one field, for rules that a bound cannot state."""
    error = PydanticCustomError(cast("Any", code), cast("Any", detail.replace("{", "(")))
    return ValidationError.from_exception_data(
        title, [InitErrorDetails(type=error, loc=(location,), input=value)]
    )


# Rules between fields, as torch states them in the constructors.
def _check_sgd(values: Any) -> Any:  # noqa: ANN401  # the class is made at run time
    if values.nesterov and (values.momentum <= 0 or values.dampening != 0):
        raise refuse(
            "SGD",
            "nesterov",
            "torch-rule",
            "Nesterov momentum needs momentum above 0 and dampening 0",
            values.nesterov,
        )
    if values.lr == "auto" and (values.nesterov or values.dampening != 0 or values.weight_decay):
        raise refuse(
            "SGD",
            "lr",
            "no-theory",
            'lr "auto" is known for plain SGD and momentum only: give a number, or drop nesterov, '
            "dampening and weight_decay",
            values.lr,
        )
    return values


def _check_cyclic(values: Any) -> Any:  # noqa: ANN401  # the class is made at run time
    if values.max_lr < values.base_lr:
        raise refuse(
            "CyclicLR", "max_lr", "torch-rule", "max_lr must not be below base_lr", values.max_lr
        )
    return values


_RULES: Final[dict[str, Callable[[Any], Any]]] = {
    "SGD": _check_sgd,
    "CyclicLR": _check_cyclic,
}
