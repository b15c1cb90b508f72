"""Optimizer and scheduler as a spec names them: a class of torch.optim and its hyperparameters."""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Annotated, Any, Final, Literal, Self, cast

from pydantic import (
    AfterValidator,
    Field,
    ModelWrapValidatorHandler,
    model_serializer,
    model_validator,
)
from pydantic_core import PydanticCustomError

from app.domain.catalogue import (
    OPTIMIZERS,
    SCHEDULERS,
    canonical_name,
    hyperparameter_class,
    refuse,
)
from app.domain.frozen import Frozen

Value = float | int | bool | str | None | tuple[float | int | None, ...]
"""A hyperparameter's value, as torch takes it; an integer stays one, also in a tuple."""

DEFAULT_OPTIMIZER: Final = "Adam"
MAX_LABEL: Final = 60


class _Named(Frozen):
    """A class of the catalogue with every hyperparameter resolved.

    On the wire it is flat: {"name": "Adam", "lr": 0.1, "betas": [0.9, 0.999], ...}.
    """

    name: str
    hyperparameters: dict[str, Value] = Field(default_factory=dict)

    @model_serializer
    def flatten(self) -> dict[str, Any]:
        """Return the flat form, name first."""
        return {"name": self.name, **self.hyperparameters}


def _resolve(given: object, kind: Literal["optimizers", "schedulers"]) -> dict[str, Any]:
    """Return name and complete hyperparameters from a bare name or a flat object.

    Raises:
        PydanticCustomError: The name is unknown.
        ValidationError: A hyperparameter is unknown or out of bounds.
    """
    flat: dict[str, Any]
    if isinstance(given, str):
        flat = {"name": given}
    elif isinstance(given, Mapping):
        flat = dict(cast("Mapping[str, Any]", given))
    else:
        raise PydanticCustomError("wrong-type", "Give a name, or an object with a name")
    typed = flat.pop("name", DEFAULT_OPTIMIZER if kind == "optimizers" else None)
    name = canonical_name(typed, kind) if isinstance(typed, str) else None
    if name is None:
        raise PydanticCustomError(
            "unknown-name",
            "This is not a name that torch knows",
            {
                "got": typed if isinstance(typed, str) else None,
                "allowed": list(OPTIMIZERS if kind == "optimizers" else SCHEDULERS),
            },
        )
    values = hyperparameter_class(name, kind).model_validate(flat)
    return {
        "name": name,
        "hyperparameters": {field: getattr(values, field) for field in type(values).model_fields},
    }


class OptimizerSpec(_Named):
    """One optimizer of torch.optim, e.g. {"name": "SGD", "lr": 0.1, "momentum": 0.9}."""

    @model_validator(mode="wrap")
    @classmethod
    def resolve(cls, given: Any, handler: ModelWrapValidatorHandler[Self]) -> Self:  # noqa: ANN401
        """Accept a bare name, the flat object, or an OptimizerSpec."""
        return given if isinstance(given, cls) else handler(_resolve(given, "optimizers"))

    @property
    def lr(self) -> float | None:
        """The learning rate; None when it is "auto"."""
        value = self.hyperparameters["lr"]
        return float(value) if isinstance(value, int | float) else None


class SchedulerSpec(_Named):
    """One learning-rate scheduler of torch.optim.lr_scheduler, stepped once an update."""

    @model_validator(mode="wrap")
    @classmethod
    def resolve(cls, given: Any, handler: ModelWrapValidatorHandler[Self]) -> Self:  # noqa: ANN401
        """Accept a bare name, the flat object, or a SchedulerSpec."""
        return given if isinstance(given, cls) else handler(_resolve(given, "schedulers"))


def _check_label(label: str) -> str:
    # Labels are written to other people's terminals: no control or direction characters.
    if not label.isprintable():
        raise PydanticCustomError("not-printable", "Give a label of printable characters only")
    return label


class Contender(Frozen):
    """One optimizer of a comparison and the label under which it is ranked and drawn."""

    optimizer: OptimizerSpec
    label: Annotated[str, AfterValidator(_check_label)] = Field(min_length=1, max_length=MAX_LABEL)

    @model_validator(mode="wrap")
    @classmethod
    def resolve(cls, given: Any, handler: ModelWrapValidatorHandler[Self]) -> Self:  # noqa: ANN401
        """Accept a bare name, a flat object with an optional label, or a Contender."""
        if isinstance(given, cls):
            return given
        label: object = None
        if isinstance(given, Mapping):
            flat = dict(cast("Mapping[str, Any]", given))
            label = flat.pop("label", None)
            given = flat
        optimizer = OptimizerSpec.model_validate(given)
        return handler(
            {"optimizer": optimizer, "label": cls.name_of(optimizer) if label is None else label}
        )

    @classmethod
    def name_of(cls, optimizer: OptimizerSpec) -> str:
        """Return the label of an optimizer that was given none."""
        return make_label(optimizer)

    @model_serializer
    def flatten(self) -> dict[str, Any]:
        """Return the flat form: the optimizer's own fields and the label."""
        return {**self.optimizer.flatten(), "label": self.label}


class SweptContender(Contender):
    """One optimizer of a sweep and the label under which its runs are told."""

    @classmethod
    def name_of(cls, optimizer: OptimizerSpec) -> str:
        """Return the class, and what differs from torch's defaults; the grid has the rates."""
        own = (
            f" {name} {value:g}" if isinstance(value, float) else f" {name} {value}"
            for name, value in own_hyperparameters(optimizer).items()
            if name != "lr"
        )
        return "".join((optimizer.name, *own))[:MAX_LABEL]


def own_hyperparameters(optimizer: OptimizerSpec) -> dict[str, Value]:
    """Return the hyperparameters that are not torch's defaults."""
    defaults = OptimizerSpec.model_validate(optimizer.name).hyperparameters
    return {
        name: value for name, value in optimizer.hyperparameters.items() if value != defaults[name]
    }


def make_label(optimizer: OptimizerSpec) -> str:
    """Return a short name for a legend: the class and its learning rate."""
    lr = optimizer.hyperparameters["lr"]
    return f"{optimizer.name} lr {lr:g}" if isinstance(lr, float | int) else optimizer.name


def check_labels(contenders: Sequence[Contender]) -> None:
    """Refuse two optimizers under one label.

    Raises:
        ValidationError: It names the label.
    """
    labels = [contender.label for contender in contenders]
    repeated = {label for label in labels if labels.count(label) > 1}
    if repeated:
        detail = f'Two optimizers have the label "{min(repeated)}": give each its own "label"'
        raise refuse("Spec", "optimizers", "repeated-label", detail, None)


def check_pair(optimizer: OptimizerSpec, scheduler: SchedulerSpec | None, *, steps: int) -> None:
    """Refuse a scheduler that torch would refuse to put on this optimizer.

    Raises:
        ValidationError: It would cycle a momentum that is not there, or end too early.
    """
    if scheduler is None:
        return
    cycles = scheduler.hyperparameters.get("cycle_momentum", False)
    if cycles and not {"momentum", "betas"} & optimizer.hyperparameters.keys():
        detail = (
            f"{scheduler.name} cycles the momentum and {optimizer.name} has none: "
            'set "cycle_momentum": false in the scheduler'
        )
        raise refuse("Spec", "scheduler", "torch-rule", detail, scheduler.name)
    total = scheduler.hyperparameters.get("total_steps")
    if isinstance(total, int) and total < steps:
        detail = (
            f"{scheduler.name} ends after {total} steps and the fit makes up to {steps}: "
            "leave total_steps out, or raise it"
        )
        raise refuse("Spec", "scheduler", "torch-rule", detail, total)
    if scheduler.name == "OneCycleLR":
        _check_phases(scheduler, steps=total if isinstance(total, int) else steps)


def _check_phases(scheduler: SchedulerSpec, *, steps: int) -> None:
    """Refuse a cycle with a phase of no length: torch would divide by that length.

    Raises:
        ValidationError: Two phases end at the same step.
    """
    share = scheduler.hyperparameters["pct_start"]
    rise = float(share) * steps - 1 if isinstance(share, int | float) else 0.0
    ends = [0.0, rise, steps - 1.0]
    if scheduler.hyperparameters["three_phase"]:
        ends.insert(2, 2 * rise)
    if any(start == end for start, end in pairwise(ends)):
        detail = (
            f"OneCycleLR over {steps} steps has a phase without length: "
            "change pct_start or total_steps"
        )
        raise refuse("Spec", "scheduler", "torch-rule", detail, steps)
