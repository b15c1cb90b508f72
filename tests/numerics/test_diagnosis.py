"""Every diagnosis against real runs: one where it must speak, one where it must be silent."""

import math
from typing import Any

import pytest

from app.domain.data import Columns, columns_from_bytes
from app.domain.diagnosis import Diagnosis, diagnose, sgd_stability_limit
from app.domain.result import Outcome
from app.domain.spec import ComparisonSpec, FitSpec
from tests.numerics.fitted import drain, fit
from worker.engine.torch_engine import TorchEngine

NO_STOP = {"loss_below": None}


def explain(**fields: Any) -> tuple[Diagnosis, ...]:
    """Fit and diagnose."""
    spec = FitSpec.model_validate(fields)
    fitted = fit(**fields)
    return diagnose(
        spec, Outcome(exact=fitted.exact, problem=fitted.problem, runs=(fitted.result,))
    )


def codes(**fields: Any) -> list[str]:
    return [found.code for found in explain(**fields)]


def sgd(**fields: Any) -> dict[str, Any]:
    return {"name": "SGD", **fields}


@pytest.mark.parametrize(
    ("code", "speaks", "silent"),
    [
        (
            "gradient-never-zeroed",
            {"zero_grad": False, "steps": 50, "stop": NO_STOP},
            {"steps": 50, "stop": NO_STOP},
        ),
        (
            "underdetermined",
            {"data": {"preset": "classic", "points": 1}, "steps": 5},
            {"data": {"preset": "classic", "points": 2}, "steps": 5},
        ),
        (
            "learning-rate-too-high",
            {"optimizer": sgd(lr=1.0)},
            {"optimizer": sgd(lr=0.9)},
        ),
        (
            "slow-by-learning-rate",
            {"steps": 100, "init": {"a": 50.0, "b": 0.0}},
            {"steps": 10_000},
        ),
        (
            "learning-rate-too-low",
            {"optimizer": sgd(lr=1e-5), "steps": 500},
            {"optimizer": sgd(lr="auto")},
        ),
    ],
)
def test_diagnosis_speaks_and_is_silent(
    code: str, speaks: dict[str, Any], silent: dict[str, Any]
) -> None:
    assert code in codes(**speaks)
    assert code not in codes(**silent)


def test_fit_that_converges_needs_no_diagnosis() -> None:
    assert codes(optimizer={"name": "Adam", "lr": 0.1}) == []


VARIANTS = [
    {},
    {"momentum": 0.5},
    {"momentum": 0.9},
    {"momentum": 0.9, "dampening": 0.5},
    {"momentum": 0.9, "nesterov": True},
    {"weight_decay": 0.5},
]


@pytest.mark.parametrize("variant", VARIANTS, ids=str)
@pytest.mark.parametrize("factor", [0.98, 1.02])
def test_stability_limit_is_where_sgd_diverges(variant: dict[str, Any], factor: float) -> None:
    given = {"momentum": 0.0, "dampening": 0.0, "weight_decay": 0.0, "nesterov": 0.0}
    curvature = fit(data="noisy", steps=1).problem.hessian_eigenvalues[0]
    limit = sgd_stability_limit(
        {**given, **{name: float(value) for name, value in variant.items()}}, curvature=curvature
    )
    fields: dict[str, Any] = {
        "data": "noisy",
        "optimizer": sgd(lr=factor * limit, **variant),
        "stop": NO_STOP,
        "steps": 600,
        # Far away, so that weight decay's own floor is not reached from either side.
        "init": {"a": 1e6, "b": 1e6},
    }
    excess = fit(**fields).rows.excess_loss
    assert excess is not None

    assert (excess[-1] > excess[0]) == (factor > 1)
    assert ("learning-rate-too-high" in codes(**{**fields, "steps": 1})) == (factor > 1)


def test_oscillation_has_the_period_that_is_told() -> None:
    fields: dict[str, Any] = {
        "data": {"preset": "classic", "points": 1},
        "optimizer": sgd(lr=0.01),
        "zero_grad": False,
        "stop": NO_STOP,
        "steps": 400,
    }
    told = explain(**fields)[0].evidence["sgd_period_steps"]
    loss = fit(**fields).rows.loss
    # The loss is quadratic in the error, so it is low twice a period.
    lows = [k for k in range(1, 400) if loss[k] < loss[k - 1] and loss[k] <= loss[k + 1]]
    measured = 2 * (lows[-1] - lows[0]) / (len(lows) - 1)

    assert isinstance(told, float)
    assert measured == pytest.approx(told, rel=0.02)


@pytest.mark.parametrize("lr", [4e-3, 2e-2])
def test_predicted_steps_of_plain_sgd_are_enough_and_not_many_too_many(lr: float) -> None:
    short = explain(data="noisy", optimizer=sgd(lr=lr), steps=100, stop=NO_STOP)
    told = next(found for found in short if found.code == "learning-rate-too-low").evidence
    predicted = int(told["predicted_steps"])
    needed = fit(
        data="noisy", optimizer=sgd(lr=lr), steps=predicted + 10, stop=NO_STOP
    ).result.steps_to_tolerance

    # The slowest component alone is looked at: an upper bound, close for a round bowl.
    assert needed is not None
    assert needed <= predicted <= 1.1 * needed


def test_adam_cannot_be_quicker_than_its_bound() -> None:
    found = explain(steps=100, init={"a": 5.0, "b": 0.0})
    steps_left = next(f for f in found if f.code == "slow-by-learning-rate").evidence["steps_left"]
    needed = fit(init={"a": 5.0, "b": 0.0}).result.steps

    assert needed >= 100 + int(steps_left) * 0.9


def test_comparison_tells_shared_causes_once_and_others_by_label() -> None:
    spec = ComparisonSpec.model_validate(
        {
            "optimizers": [sgd(lr=5.0, label="fast"), sgd(lr=1e-6, label="slow")],
            "data": "noisy",
            "steps": 300,
            "engine": "torch",
        }
    )
    prepared = TorchEngine().prepare(spec, columns=None, device="cpu")
    runs = tuple(drain(run)[1] for run in prepared.runs)
    outcome = Outcome(exact=prepared.exact, problem=prepared.problem, runs=runs)

    assert [(found.label, found.code) for found in diagnose(spec, outcome)] == [
        ("fast", "learning-rate-too-high"),
        ("slow", "learning-rate-too-low"),
    ]


def test_suggested_rate_converges() -> None:
    found = explain(data="noisy", optimizer=sgd(lr=5.0))
    assert found[0].suggestion is not None
    again = fit(data="noisy", optimizer=sgd(**found[0].suggestion), steps=500)

    assert again.result.converged


def test_nothing_is_said_without_an_outcome() -> None:
    assert diagnose(FitSpec(), None) == ()


def test_constant_x_is_underdetermined() -> None:
    columns: Columns = columns_from_bytes(Columns(x=[3, 3, 3], y=[1, 2, 3]).to_bytes())
    fitted = fit(columns, data={"x": [3, 3, 3], "y": [1, 2, 3]}, steps=5)
    spec = FitSpec.model_validate({"data": {"x": [3, 3, 3], "y": [1, 2, 3]}, "steps": 5})
    outcome = Outcome(exact=fitted.exact, problem=fitted.problem, runs=(fitted.result,))
    found = diagnose(spec, outcome)[0]

    assert found.code == "underdetermined"
    assert "All 3 points have the same x" in found.message
    assert math.isclose(float(found.evidence["variance_x"]), 0.0)
