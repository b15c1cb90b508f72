"""The catalogue gives every optimizer and scheduler a class that holds torch's own bounds."""

import json
import math
from typing import Any, Literal

import pytest
from pydantic import ValidationError

from app.domain.catalogue import (
    AUTO_LR_OPTIMIZERS,
    OPTIMIZERS,
    SCHEDULERS,
    canonical_name,
    hyperparameter_class,
)
from app.domain.optimizers import Contender, OptimizerSpec, SchedulerSpec, check_pair, make_label

Part = Literal["optimizers", "schedulers"]
ALL: list[tuple[str, Part]] = [
    *((name, "optimizers") for name in OPTIMIZERS),
    *((name, "schedulers") for name in SCHEDULERS),
]
NEEDED: dict[str, dict[str, Any]] = {
    "StepLR": {"step_size": 10},
    "MultiStepLR": {"milestones": [10, 20]},
    "ExponentialLR": {"gamma": 0.9},
    "CosineAnnealingLR": {"T_max": 10},
    "CosineAnnealingWarmRestarts": {"T_0": 10},
    "CyclicLR": {"base_lr": 0.1, "max_lr": 1.0},
    "OneCycleLR": {"max_lr": 1.0},
}
NUMBERS = [
    (name, part, field)
    for name, part in ALL
    for field, about in (OPTIMIZERS if part == "optimizers" else SCHEDULERS)[name][
        "hyperparameters"
    ].items()
    if about["type"] in {"number", "integer"}
]


def resolve(name: str, part: Part, **given: Any) -> OptimizerSpec | SchedulerSpec:
    kind = OptimizerSpec if part == "optimizers" else SchedulerSpec
    return kind.model_validate({"name": name, **NEEDED.get(name, {}), **given})


def test_catalogue_has_what_torch_exports() -> None:
    assert len(OPTIMIZERS) == 15
    assert {"Adam", "SGD", "LBFGS", "Muon", "SparseAdam", "Adafactor"} <= OPTIMIZERS.keys()
    assert {"StepLR", "OneCycleLR", "ReduceLROnPlateau"} <= SCHEDULERS.keys()


@pytest.mark.parametrize(("name", "part"), ALL)
def test_name_is_known_in_any_case(name: str, part: Part) -> None:
    assert canonical_name(name.upper(), part) == name
    assert canonical_name(name.lower(), part) == name
    assert canonical_name(f"{name}x", part) is None


@pytest.mark.parametrize(("name", "part"), ALL)
def test_every_name_resolves_with_its_defaults(name: str, part: Part) -> None:
    found = resolve(name, part)
    catalogue = OPTIMIZERS if part == "optimizers" else SCHEDULERS

    assert found.name == name
    assert found.hyperparameters.keys() == catalogue[name]["hyperparameters"].keys()


@pytest.mark.parametrize(("name", "part"), ALL)
def test_every_default_survives_json_to_the_letter(name: str, part: Part) -> None:
    found = resolve(name, part)
    text = found.model_dump_json()

    assert json.loads(text)["name"] == name
    assert type(found).model_validate_json(text) == found
    assert type(found).model_validate_json(text).model_dump_json() == text


@pytest.mark.parametrize(("name", "part"), ALL)
def test_saying_the_defaults_changes_nothing(name: str, part: Part) -> None:
    found = resolve(name, part)
    said = type(found).model_validate(json.loads(found.model_dump_json()))

    assert said.model_dump_json() == found.model_dump_json()


@pytest.mark.parametrize(("name", "part", "field"), NUMBERS)
def test_number_is_refused_beyond_its_bounds(name: str, part: Part, field: str) -> None:
    catalogue = OPTIMIZERS if part == "optimizers" else SCHEDULERS
    bounds = catalogue[name]["hyperparameters"][field]["bounds"]
    outside = {
        "minimum": lambda limit: limit - 1 - abs(limit),
        "maximum": lambda limit: limit + 1 + abs(limit),
        "exclusive_minimum": lambda limit: limit,
        "exclusive_maximum": lambda limit: limit,
    }
    for word, limit in bounds.items():
        with pytest.raises(ValidationError):
            resolve(name, part, **{field: outside[word](limit)})


@pytest.mark.parametrize(("name", "part", "field"), NUMBERS)
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, "1", True, [1], 1e308])
def test_number_is_a_finite_number(name: str, part: Part, field: str, value: object) -> None:
    with pytest.raises(ValidationError):
        resolve(name, part, **{field: value})


@pytest.mark.parametrize("name", sorted(OPTIMIZERS))
def test_every_learning_rate_has_the_bounds_of_torch(name: str) -> None:
    assert resolve(name, "optimizers", lr=1e30).hyperparameters["lr"] == 1e30
    with pytest.raises(ValidationError):
        resolve(name, "optimizers", lr=-1e-9)


@pytest.mark.parametrize("name", sorted(OPTIMIZERS))
def test_lr_auto_is_for_those_with_a_theory(name: str) -> None:
    if name in AUTO_LR_OPTIMIZERS:
        found = resolve(name, "optimizers", lr="auto")

        assert isinstance(found, OptimizerSpec)
        assert found.lr is None
    else:
        with pytest.raises(ValidationError):
            resolve(name, "optimizers", lr="auto")


@pytest.mark.parametrize(
    "refused",
    [
        {"nesterov": True},
        {"nesterov": True, "momentum": 0.9, "dampening": 0.1},
        {"lr": "auto", "momentum": 0.9, "nesterov": True},
        {"lr": "auto", "dampening": 0.1},
        {"lr": "auto", "weight_decay": 0.1},
    ],
    ids=str,
)
def test_sgd_refuses_what_does_not_go_together(refused: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        resolve("SGD", "optimizers", **refused)


@pytest.mark.parametrize(
    "taken", [{"nesterov": True, "momentum": 0.9}, {"lr": "auto", "momentum": 0.9}], ids=str
)
def test_sgd_takes_what_goes_together(taken: dict[str, Any]) -> None:
    assert resolve("SGD", "optimizers", **taken).hyperparameters.items() >= taken.items()


def test_tuples_have_their_own_bounds() -> None:
    assert resolve("Adam", "optimizers", betas=[0.0, 0.5]).hyperparameters["betas"] == (0.0, 0.5)
    assert resolve("Adafactor", "optimizers", eps=[None, 1]).hyperparameters["eps"] == (None, 1.0)
    for betas in ([0.9], [0.9, 0.9, 0.9], [0.9, 1.0], [-0.1, 0.9], "ab", None):
        with pytest.raises(ValidationError):
            resolve("Adam", "optimizers", betas=betas)
    with pytest.raises(ValidationError):
        resolve("Rprop", "optimizers", etas=[0.5, 1.0])


def test_milestones_are_one_to_a_thousand_integers() -> None:
    long = list(range(1000))

    assert len(resolve("MultiStepLR", "schedulers", milestones=long).hyperparameters) == 2
    for milestones in ([], [*long, 1], [1.5], ["1"]):
        with pytest.raises(ValidationError):
            resolve("MultiStepLR", "schedulers", milestones=milestones)


def test_resolved_objects_pass_through() -> None:
    adam = OptimizerSpec.model_validate("adam")
    step = SchedulerSpec.model_validate({"name": "steplr", "step_size": 5})
    contender = Contender.model_validate("adam")

    assert OptimizerSpec.model_validate(adam) is adam
    assert SchedulerSpec.model_validate(step) is step
    assert Contender.model_validate(contender) is contender
    assert adam.lr == 0.001


def test_label_is_class_and_learning_rate_unless_given() -> None:
    assert Contender.model_validate({"name": "sgd", "lr": 0.1}).label == "SGD lr 0.1"
    assert Contender.model_validate({"name": "sgd", "label": "mine"}).label == "mine"
    assert make_label(OptimizerSpec.model_validate({"name": "sgd", "lr": "auto"})) == "SGD"


def test_contender_is_flat_on_the_wire() -> None:
    flat = Contender.model_validate({"name": "adagrad", "lr": 0.5}).model_dump()

    assert list(flat)[:2] == ["name", "lr"]
    assert flat["label"] == "Adagrad lr 0.5"


@pytest.mark.parametrize("scheduler", ["CyclicLR", "OneCycleLR"])
@pytest.mark.parametrize("optimizer", sorted(OPTIMIZERS))
def test_momentum_is_cycled_only_where_there_is_one(optimizer: str, scheduler: str) -> None:
    runner = OptimizerSpec.model_validate(optimizer)
    cycling = SchedulerSpec.model_validate({"name": scheduler, **NEEDED[scheduler]})
    still = SchedulerSpec.model_validate(
        {"name": scheduler, **NEEDED[scheduler], "cycle_momentum": False}
    )

    check_pair(runner, still, steps=10)
    if {"momentum", "betas"} & runner.hyperparameters.keys():
        check_pair(runner, cycling, steps=10)
    else:
        with pytest.raises(ValidationError, match="cycle_momentum"):
            check_pair(runner, cycling, steps=10)


def test_one_cycle_must_not_end_before_the_fit() -> None:
    adam = OptimizerSpec.model_validate("adam")
    cycle = SchedulerSpec.model_validate({"name": "OneCycleLR", "max_lr": 1, "total_steps": 10})

    check_pair(adam, cycle, steps=10)
    check_pair(adam, None, steps=11)
    with pytest.raises(ValidationError, match="ends after 10 steps"):
        check_pair(adam, cycle, steps=11)


def test_class_is_made_once() -> None:
    assert hyperparameter_class("Adam", "optimizers") is hyperparameter_class("Adam", "optimizers")
