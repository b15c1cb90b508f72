"""Every diagnosis against real runs: where it must speak, where it must be silent, what its try does."""

import math
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, Final, cast

import pytest

from app.domain.data import Columns, columns_from_bytes
from app.domain.diagnosis.diagnose import diagnose
from app.domain.diagnosis.entry import Diagnosis
from app.domain.diagnosis.quadratic import Settings, stability_limit
from app.domain.job import JobRecord
from app.domain.outcome import Outcome
from app.domain.parse import parse_spec
from app.domain.rerun import merge_spec
from app.domain.spec import ComparisonSpec, FitSpec
from tests.numerics.fitted import Fitted, drain, fit
from worker.engine.torch_engine import TorchEngine

NO_STOP: Final = {"loss_below": None}
FAR: Final = {"x": [97.0 + k for k in range(8)], "y": [195.0 + 2 * k for k in range(8)]}
"""Condition number about 4e8."""


def outcome_of(fitted: Fitted) -> Outcome:
    return Outcome(
        exact=fitted.exact, problem=fitted.problem, runs=(fitted.result,), start=fitted.start
    )


def explain(**fields: Any) -> tuple[Diagnosis, ...]:
    """Fit and diagnose."""
    return diagnose(FitSpec.model_validate(fields), outcome_of(fit(**fields)))


def codes(**fields: Any) -> list[str]:
    return [found.code for found in explain(**fields)]


def sgd(**fields: Any) -> dict[str, Any]:
    return {"name": "SGD", **fields}


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """What makes a diagnosis speak, and a like fit of which it must say nothing."""

    code: str
    speaks: dict[str, Any]
    silent: dict[str, Any]


SMALL: Final = {"generate": {"a": 1e-6, "b": 0.0, "noise": 0.0}}
SLOW_ADAGRAD: Final = {"data": "noisy", "init": {"a": 5.0, "b": 0.0}, "steps": 2000}

ROWS: Final = [
    Row(
        code="gradient-never-zeroed",
        speaks={"zero_grad": False, "steps": 300, "optimizer": sgd(lr=0.1), "stop": NO_STOP},
        silent={"steps": 50, "optimizer": sgd(lr=0.1)},
    ),
    Row(
        code="underdetermined",
        speaks={"data": {"preset": "classic", "points": 1}, "steps": 5},
        silent={"data": {"preset": "classic", "points": 2}, "steps": 5},
    ),
    Row(
        code="too-few-points",
        speaks={"data": {"preset": "noisy", "points": 2}, "steps": 5},
        silent={"data": {"preset": "noisy", "points": 3}, "steps": 5},
    ),
    Row(
        code="learning-rate-too-high",
        speaks={"optimizer": sgd(lr=1.0)},
        silent={"optimizer": sgd(lr=0.9)},
    ),
    Row(
        code="learning-rate-too-low",
        speaks={"optimizer": sgd(lr=1e-5), "steps": 500},
        silent={"optimizer": sgd(lr="auto")},
    ),
    Row(
        code="slow-by-learning-rate",
        speaks={"steps": 100, "init": {"a": 50.0, "b": 0.0}},
        silent={"steps": 10_000},
    ),
    Row(
        code="adagrad-stalls",
        speaks={**SLOW_ADAGRAD, "optimizer": {"name": "Adagrad", "lr": 0.01}},
        silent={**SLOW_ADAGRAD, "optimizer": {"name": "Adagrad", "lr": 1.0}},
    ),
    Row(
        code="weight-decay-bias",
        speaks={"data": "noisy", "optimizer": sgd(lr=0.1, weight_decay=0.1), "steps": 500},
        silent={"data": "noisy", "optimizer": sgd(lr=0.1, weight_decay=0.1), "steps": 5},
    ),
    Row(
        code="asgd-bias",
        speaks={"optimizer": {"name": "ASGD", "lr": 0.1}, "steps": 500, "stop": NO_STOP},
        silent={"optimizer": {"name": "ASGD", "lr": 0.1, "lambd": 0}, "steps": 500},
    ),
    Row(
        code="float-floor",
        speaks={
            "dtype": "float32",
            "optimizer": sgd(lr=1e-3),
            "steps": 8000,
            "stop": {"loss_below": 1e-12},
        },
        silent={"optimizer": sgd(lr=1e-3), "steps": 8000, "stop": {"loss_below": 1e-12}},
    ),
    Row(
        code="ill-conditioned",
        speaks={"data": FAR, "steps": 500},
        silent={"data": "noisy", "steps": 500},
    ),
    Row(
        code="stopped-early",
        speaks={"data": SMALL, "init": {"a": 0.0, "b": 0.0}, "optimizer": sgd(lr=0.1)},
        silent={"optimizer": sgd(lr=0.1)},
    ),
    Row(
        code="stop-out-of-reach",
        speaks={"data": "noisy", "optimizer": sgd(lr=0.1), "steps": 500},
        silent={"optimizer": sgd(lr=0.1), "steps": 500},
    ),
    Row(
        code="mini-batch-noise",
        speaks={"data": "noisy", "optimizer": sgd(lr=0.1), "batch_size": 10, "steps": 3000},
        silent={"optimizer": sgd(lr=0.1), "batch_size": 10, "steps": 3000, "stop": NO_STOP},
    ),
    Row(
        code="too-few-steps",
        speaks={"data": "noisy", "optimizer": {"name": "RMSprop"}, "steps": 20},
        silent={"data": "noisy", "optimizer": {"name": "LBFGS"}, "steps": 20},
    ),
]


def quick(fields: dict[str, Any]) -> dict[str, Any]:
    """The same by the fastest engine: what is judged here is not how steps are made."""
    return {"engine": "auto", **fields}


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.code)
def test_diagnosis_speaks_and_is_silent(row: Row) -> None:
    assert row.code in codes(**quick(row.speaks))
    assert row.code not in codes(**quick(row.silent))


def rerun(fields: dict[str, Any], changes: dict[str, Any]) -> Fitted:
    """Fit what /rerun would make of a job."""
    spec = parse_spec(fields).spec
    record = cast("JobRecord", SimpleNamespace(spec=spec, id="old"))
    again = parse_spec(merge_spec(record, changes)).spec
    assert isinstance(again, FitSpec)
    return fit(**again.model_dump(mode="json"))


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.code)
def test_what_is_to_be_tried_helps(row: Row) -> None:
    fields = quick(row.speaks)
    told = next(found for found in explain(**fields) if found.code == row.code)
    assert told.suggestion is not None
    before, after = fit(**fields), rerun(fields, told.suggestion)

    if row.code in {"underdetermined", "too-few-points"}:
        assert after.exact.standard_errors is not None
    elif row.code == "stop-out-of-reach":
        assert after.result.converged
        assert after.result.steps < before.result.steps
        # What the gradient promises.
        assert after.result.excess_loss is not None
        assert after.rows.excess_loss is not None
        assert after.result.excess_loss <= 1e-6 * after.rows.excess_loss[0]
    else:
        assert after.result.excess_loss is not None
        worse = before.result.excess_loss
        assert after.result.converged or (worse and after.result.excess_loss < 0.1 * worse)


def test_every_code_has_a_row() -> None:
    assert len({row.code for row in ROWS}) == len(ROWS) == 15


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
    curvature = fit(data="noisy", steps=1).problem.hessian_eigenvalues[0]
    limit = stability_limit(Settings(lr=1.0, **variant), curvature=curvature)
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
def test_predicted_steps_of_plain_sgd_are_those_of_the_run(lr: float) -> None:
    short = explain(data="noisy", optimizer=sgd(lr=lr), steps=100, stop=NO_STOP)
    told = next(found for found in short if found.code == "learning-rate-too-low").evidence
    predicted = int(told["predicted_steps"])
    needed = fit(
        data="noisy", optimizer=sgd(lr=lr), steps=predicted + 10, stop=NO_STOP
    ).result.steps_to_tolerance

    assert needed is not None
    assert abs(predicted - needed) <= 1


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
            "stop": NO_STOP,
        }
    )
    prepared = TorchEngine().prepare(spec, columns=None, device="cpu")
    runs = tuple(drain(run)[1] for run in prepared.runs)
    outcome = Outcome(
        exact=prepared.exact, problem=prepared.problem, runs=runs, start=prepared.start
    )

    assert [(found.label, found.code) for found in diagnose(spec, outcome)] == [
        ("fast", "learning-rate-too-high"),
        ("slow", "learning-rate-too-low"),
    ]


@pytest.mark.parametrize("engine", ["torch", "rules"])
def test_loss_overflows_at_the_step_that_is_told(engine: str) -> None:
    fields: dict[str, Any] = {"optimizer": sgd(lr=1.3), "engine": engine}
    told = explain(**fields, steps=50)[0].evidence["overflow_step"]
    real = fit(**fields)

    assert str(real.result.stop_reason) == "diverged"
    assert abs(int(told) - real.result.steps) <= 2


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
    found = diagnose(spec, outcome_of(fitted))[0]

    assert found.code == "underdetermined"
    assert "All 3 points have the same x" in found.message
    assert math.isclose(float(found.evidence["variance_x"]), 0.0)
