"""Which engine computes what, and what is said of it."""

from typing import Any

import pytest

from app.domain.catalogue import OPTIMIZERS, SCHEDULERS
from app.domain.engines import (
    ENGINES,
    MIXED,
    RULE_OPTIMIZERS,
    choose_engine,
    choose_job_engine,
    looks_at_every_point,
    servers,
    why_not,
)
from app.domain.errors import Flaw, InvalidSpec
from app.domain.parse import parse_spec
from app.domain.spec import ComparisonSpec, FitSpec

WITHOUT_RULE = ("Adafactor", "LBFGS", "Muon", "SparseAdam")
NEEDED: dict[str, dict[str, Any]] = {
    "StepLR": {"step_size": 3},
    "MultiStepLR": {"milestones": [3]},
    "ExponentialLR": {"gamma": 0.9},
    "CosineAnnealingLR": {"T_max": 5},
    "CosineAnnealingWarmRestarts": {"T_0": 5},
    "CyclicLR": {"base_lr": 0.1, "max_lr": 1.0},
    "OneCycleLR": {"max_lr": 0.1},
}


def fit_of(**fields: Any) -> FitSpec:
    return FitSpec.model_validate(fields)


def compare(*optimizers: Any, **fields: Any) -> ComparisonSpec:
    return ComparisonSpec.model_validate({"optimizers": list(optimizers), **fields})


def scheduler(name: str, **changes: Any) -> dict[str, Any]:
    return {"name": name, **NEEDED.get(name, {}), **changes}


def flaws_of(**body: Any) -> tuple[Flaw, ...]:
    with pytest.raises(InvalidSpec) as caught:
        parse_spec(body)
    return caught.value.flaws


def name_of(queue: str = "cpu", **fields: Any) -> str:
    return choose_engine(fit_of(**fields), queue=queue).name


def test_every_optimizer_has_a_rule_or_a_reason_why_not() -> None:
    assert {*RULE_OPTIMIZERS, *WITHOUT_RULE} == set(OPTIMIZERS)
    assert RULE_OPTIMIZERS.isdisjoint(WITHOUT_RULE)


@pytest.mark.parametrize("optimizer", sorted(OPTIMIZERS))
def test_optimizer_takes_the_fastest_engine_that_serves_it(optimizer: str) -> None:
    choice = choose_engine(fit_of(optimizer=optimizer), queue="cpu")

    assert choice.name == ("moments" if optimizer in WITHOUT_RULE else "rules")
    assert choice.reason.startswith(optimizer)
    assert choice.reason.endswith("closed-form gradient")


@pytest.mark.parametrize(
    "fields",
    [
        {"batch_size": 7},
        {"zero_grad": False},
        {"dtype": "float32"},
        {"stop": {"gradient_below": 1e-3}},
        {"optimizer": {"name": "SGD", "lr": "auto", "momentum": 0.9}},
        {"optimizer": {"name": "Adam", "amsgrad": True, "decoupled_weight_decay": True}},
        {"device": "cuda", "if_unavailable": "cpu"},
    ],
    ids=str,
)
def test_rules_serve_all_that_leaves_the_gradient_a_closed_form(fields: dict[str, Any]) -> None:
    assert name_of(**fields) == "rules"


@pytest.mark.parametrize("name", sorted(SCHEDULERS))
def test_rules_serve_schedulers_that_move_the_rate_alone(name: str) -> None:
    cycles = SCHEDULERS[name]["hyperparameters"].get("cycle_momentum") is not None
    expected = "moments" if cycles or name == "ReduceLROnPlateau" else "rules"
    choice = choose_engine(fit_of(scheduler=scheduler(name)), queue="cpu")

    assert choice.name == expected
    assert (name in choice.reason) == (expected == "moments")


@pytest.mark.parametrize("name", ["CyclicLR", "OneCycleLR"])
@pytest.mark.parametrize("optimizer", ["SGD", "Adam", "Adagrad"])
def test_cycle_that_leaves_the_momentum_alone_has_a_rule(name: str, optimizer: str) -> None:
    quiet = scheduler(name, cycle_momentum=False)

    assert name_of(scheduler=quiet, optimizer=optimizer) == "rules"


@pytest.mark.parametrize("loss", ["l1", "huber", "smooth_l1"])
def test_loss_without_a_closed_form_is_for_the_loop(loss: str) -> None:
    choice = choose_engine(fit_of(loss=loss), queue="cpu")

    assert choice.name == "torch"
    assert choice.reason.startswith(f"the gradient of {loss} has no closed form")


def test_cuda_computes_with_its_own_arithmetic() -> None:
    choice = choose_engine(fit_of(device="cuda"), queue="cuda")

    assert choice.name == "torch"
    assert "cuda" in choice.reason


@pytest.mark.parametrize("engine", ENGINES)
def test_forced_engine_is_obeyed(engine: str) -> None:
    assert choose_engine(fit_of(engine=engine), queue="cpu") == (engine, "asked for by the spec")


# --- whole jobs ---------------------------------------------------------------------------------


def test_job_of_one_engine_has_its_name_and_one_reason() -> None:
    same = choose_job_engine(compare("Adam", "SGD"), queue="cpu")
    moments = choose_job_engine(compare("Muon", "LBFGS"), queue="cpu")

    assert choose_job_engine(fit_of(), queue="cpu") == choose_engine(fit_of(), queue="cpu")
    assert choose_job_engine(compare("Adam"), queue="cpu") == choose_engine(fit_of(), queue="cpu")
    assert same.name == "rules"
    assert "Adam" not in same.reason
    assert moments == ("moments", "torch.optim is driven by the closed-form gradient")
    assert choose_job_engine(compare("Adam", "LBFGS"), queue="cuda").name == "torch"
    assert choose_job_engine(compare("Adam", "Muon", engine="torch"), queue="cpu") == (
        "torch",
        "asked for by the spec",
    )


def test_comparison_whose_runs_differ_tells_each() -> None:
    spec = compare("Adam", "SGD", "LBFGS", "Adagrad", "Rprop")
    choice = choose_job_engine(spec, queue="cpu")

    assert choice.name == MIXED
    assert (
        'rules for "Adam lr 0.001", "SGD lr 0.001", "Adagrad lr 0.01" and 1 more' in choice.reason
    )
    assert choice.reason.endswith('moments for "LBFGS lr 1"')


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        (fit_of(), False),
        (fit_of(optimizer="LBFGS"), False),
        (compare("Adam", "Muon"), False),
        (fit_of(loss="huber"), True),
        (compare("Adam", "Muon", loss="l1"), True),
        (fit_of(engine="torch"), True),
        (fit_of(engine="rules"), False),
    ],
    ids=repr,
)
def test_only_the_plain_loop_looks_at_every_point(
    spec: FitSpec | ComparisonSpec,
    expected: bool,  # noqa: FBT001
) -> None:
    assert looks_at_every_point(spec) is expected


# --- engines that cannot ------------------------------------------------------------------------


def test_torch_can_everything() -> None:
    assert why_not("torch", fit_of(loss="huber", optimizer="LBFGS", device="cuda")) is None


@pytest.mark.parametrize(
    ("body", "reason", "able"),
    [
        ({"optimizer": "lbfgs"}, "LBFGS evaluates the loss", ("auto", "moments", "torch")),
        ({"loss": "huber"}, "the gradient of huber has no closed form", ("auto", "torch")),
        ({"device": "cuda"}, 'it computes on cpu, and the spec says "cuda"', ("auto", "torch")),
        ({"device": "cuda:1"}, 'the spec says "cuda:1"', ("auto", "torch")),
        (
            {"scheduler": {"name": "OneCycleLR", "max_lr": 0.1}},
            "OneCycleLR moves the momentum",
            ("auto", "moments", "torch"),
        ),
    ],
    ids=str,
)
def test_rules_that_cannot_are_refused_with_the_reason(
    body: dict[str, Any], reason: str, able: tuple[str, ...]
) -> None:
    (flaw,) = flaws_of(engine="rules", **body)

    assert (flaw.pointer, flaw.code, flaw.got) == ("/engine", "engine-cannot", "rules")
    assert flaw.detail.startswith('Engine "rules" cannot run this fit: ')
    assert reason in flaw.detail
    assert flaw.allowed == able


@pytest.mark.parametrize("body", [{"loss": "l1"}, {"device": "cuda"}], ids=str)
def test_moments_that_cannot_are_refused(body: dict[str, Any]) -> None:
    (flaw,) = flaws_of(engine="moments", **body)

    assert flaw.pointer == "/engine"
    assert flaw.allowed == ("auto", "torch")


@pytest.mark.parametrize("engine", ["auto", *ENGINES])
def test_engines_that_can_are_accepted(engine: str) -> None:
    parsed = parse_spec({"engine": engine, "batch_size": 5, "optimizer": "nadam"})

    assert parsed.spec.engine == engine
    assert servers(parsed.spec) == ENGINES


def test_contenders_that_stand_in_the_way_are_named() -> None:
    optimizers = ["adam", {"name": "lbfgs", "label": "searcher"}, {"name": "muon"}]
    flaws = flaws_of(kind="comparison", engine="rules", optimizers=optimizers)

    assert [flaw.pointer for flaw in flaws] == ["/engine", "/engine"]
    assert flaws[0].detail.startswith('Engine "rules" cannot run "searcher": LBFGS ')
    assert flaws[1].detail.startswith('Engine "rules" cannot run "Muon lr 0.001": Muon ')
    assert flaws[0].allowed == ("auto", "moments", "torch")


def test_cause_that_all_contenders_share_is_told_once() -> None:
    (flaw,) = flaws_of(
        kind="comparison", engine="moments", loss="l1", optimizers=["adam", "sgd", "lbfgs"]
    )

    assert flaw.detail.startswith('Engine "moments" cannot run this comparison: ')


def test_unknown_engine_is_told_the_others() -> None:
    (flaw,) = flaws_of(engine="rule")

    assert flaw.did_you_mean == "rules"
    assert flaw.allowed == ("auto", "torch", "moments", "rules")
