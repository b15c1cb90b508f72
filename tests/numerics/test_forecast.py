"""What is told before a job runs against the job itself: points, start, steps, history."""

from typing import Any

import pytest
import torch

from app.domain.diagnosis.diagnose import diagnose
from app.domain.forecast.draw import Twister
from app.domain.forecast.forecast import MOST_STEPS, Forecast, Foreseen, foretell, foretell_rows
from app.domain.forecast.least_squares import solve
from app.domain.forecast.points import MOST_POINTS, foresee
from app.domain.parse import count_points, parse_spec
from app.domain.spec import ComparisonSpec, FitSpec
from tests.numerics.fitted import compare, fit
from worker.engine.problem import load

SEEDS = [0, 1, 123_456_789, 2**40 + 5, 2**63 - 1]


def forecast_of(spec: FitSpec | ComparisonSpec) -> Forecast:
    return foretell(spec, columns=None, points=count_points(spec) or 0, queue="cpu")


def foresee_fit(**fields: Any) -> Foreseen:
    (run,) = forecast_of(FitSpec.model_validate(fields)).runs
    return run


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("count", [1, 2, 3, 15, 16, 17, 40, 1000])
def test_normal_numbers_are_those_of_torch(seed: int, count: int) -> None:
    for dtype, near in (("float64", 1e-14), ("float32", 5e-7)):
        generator = torch.Generator().manual_seed(seed)
        drawn = torch.randn(count, dtype=getattr(torch, dtype), generator=generator)

        assert list(Twister(seed).normal(count, dtype=dtype)) == pytest.approx(
            drawn.tolist(), rel=near, abs=near
        )


DATA: list[dict[str, Any]] = [
    {},
    {"dtype": "float32"},
    {"data": "noisy", "seed": 7},
    {"data": "far"},
    {"data": "outliers"},
    {"data": {"preset": "classic", "points": 1}},
    {"data": {"preset": "noisy", "seed": 5}, "seed": 3},
    {"data": {"generate": {"n": 7, "x": [1.0, 3.0]}}},
    {"data": {"generate": {"n": 500, "a": -3.0, "noise": 2.0, "seed": 9}}, "dtype": "float32"},
    {"data": [[1.0, 2.0], [2.0, 3.5], [4.0, 9.0]], "init": {"a": 0.1, "b": -2.0}},
]


@pytest.mark.parametrize("fields", DATA, ids=str)
def test_points_start_and_exact_line_are_those_of_the_worker(fields: dict[str, Any]) -> None:
    spec = FitSpec.model_validate(fields)
    task = load(spec, columns=None, device=torch.device("cpu"))
    foreseen = foresee(spec, None)
    assert foreseen is not None
    x, y, start = foreseen
    solved = solve(x, y)
    assert solved is not None
    exact, problem = solved
    near = 5e-7 if spec.data == FitSpec().data or spec.dtype == "float32" else 1e-12

    assert list(x) == pytest.approx(task.x.flatten().tolist(), rel=near, abs=near)
    assert list(y) == pytest.approx(task.y.flatten().tolist(), rel=near, abs=near)
    # A float32 net begins at the start as a float32 holds it.
    assert start.a == pytest.approx(task.start.a, rel=1e-7)
    assert start.b == pytest.approx(task.start.b, rel=1e-7)
    true = task.bowl
    assert (exact.a, exact.b) == pytest.approx((true.exact.a, true.exact.b), rel=1e-7, abs=1e-7)
    assert exact.loss == pytest.approx(true.exact.loss, rel=1e-6, abs=1e-12)
    assert exact.unique is true.exact.unique
    assert problem.hessian_eigenvalues == pytest.approx(true.problem.hessian_eigenvalues, rel=1e-7)


RUNS: list[dict[str, Any]] = [
    {},
    {"data": "noisy", "optimizer": {"name": "SGD", "lr": "auto"}, "steps": 200},
    {"optimizer": {"name": "SGD", "lr": 0.01}},
    {"data": "noisy", "optimizer": {"name": "SGD", "lr": 0.01}, "stop": {"gradient_below": 1e-5}},
    {"data": "noisy", "optimizer": {"name": "SGD", "lr": 0.1, "momentum": 0.9}, "steps": 300},
    {"data": "noisy", "optimizer": {"name": "SGD", "lr": 0.1, "weight_decay": 0.2}, "steps": 300},
    {"optimizer": {"name": "SGD", "lr": 0.01}, "zero_grad": False, "steps": 400},
    {"optimizer": {"name": "Adam", "lr": 0.05}, "zero_grad": False, "steps": 400},
    {"optimizer": {"name": "SGD", "lr": 1.5}},
    {
        "data": "noisy",
        "optimizer": {"name": "AdamW", "lr": 0.05, "weight_decay": 0.1},
        "steps": 400,
    },
    {"data": "noisy", "optimizer": {"name": "Adam", "lr": 0.05, "weight_decay": 0.1}, "steps": 400},
    {"data": "noisy", "optimizer": {"name": "Adagrad", "lr": 0.3, "lr_decay": 0.01}, "steps": 400},
    {"data": "noisy", "optimizer": {"name": "ASGD", "lr": 0.1, "lambd": 0.1}, "steps": 400},
    {"data": "noisy", "optimizer": {"name": "Adam", "lr": 0.3}, "stop": {"patience": 20}},
]


@pytest.mark.parametrize("fields", RUNS, ids=str)
def test_run_ends_as_foreseen(fields: dict[str, Any]) -> None:
    result = foresee_fit(**fields).result
    real = fit(**{"engine": "auto", **fields}).result
    assert result is not None

    assert result.stop_reason is real.stop_reason
    assert result.converged is real.converged
    assert abs(result.steps - real.steps) <= 1
    assert result.steps_to_tolerance == real.steps_to_tolerance
    if real.a is not None:
        assert (result.a, result.b) == pytest.approx((real.a, real.b), rel=1e-6, abs=1e-6)
        assert result.loss == pytest.approx(real.loss, rel=1e-6, abs=1e-12)


CLOSED: list[dict[str, Any]] = [
    {"optimizer": {"name": "SGD", "lr": 0.01}, "stop": {"loss_below": None}, "steps": 400},
    {"data": "noisy", "optimizer": {"name": "SGD", "lr": 0.05, "momentum": 0.9}, "steps": 150},
    {
        "data": "outliers",
        "optimizer": {"name": "SGD", "lr": 0.05, "momentum": 0.5, "nesterov": True},
    },
    {"data": "noisy", "optimizer": {"name": "SGD", "lr": 0.05, "weight_decay": 0.3}, "steps": 150},
    {"optimizer": {"name": "SGD", "lr": 0.01}, "zero_grad": False, "steps": 199},
]


@pytest.mark.parametrize("fields", CLOSED, ids=str)
def test_history_in_closed_form_matches_the_run_to_a_millionth(fields: dict[str, Any]) -> None:
    spec = FitSpec.model_validate({"steps": 200, **fields})
    forecast = forecast_of(spec)
    assert forecast.outcome is not None
    rows = foretell_rows(forecast.runs[0], forecast.outcome, points=200)
    assert rows is not None
    real = fit(**{"steps": 200, **fields}).rows

    assert len(rows) > 100
    for k, step in enumerate(rows.step):
        at = real.step.index(step)
        assert rows.loss[k] == pytest.approx(real.loss[at], rel=1e-6, abs=1e-12)
        assert (rows.a[k], rows.b[k]) == pytest.approx((real.a[at], real.b[at]), rel=1e-6, abs=1e-6)


def test_comparison_as_asked_is_foreseen_and_both_mistakes_are_named() -> None:
    spec = parse_spec({"preset": "weak-optimizers"}).spec
    forecast = forecast_of(spec)
    real = compare(**spec.model_dump(exclude={"kind"}, mode="json"))

    for foreseen, (_, result) in zip(forecast.runs, real, strict=True):
        assert foreseen.result is not None
        assert foreseen.result.excess_loss == pytest.approx(result.excess_loss, rel=0.01)
    codes = [found.code for found in diagnose(spec, forecast.outcome, is_foreseen=True)]
    assert codes == ["gradient-never-zeroed", "underdetermined"]


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"loss": "huber"}, "only mse"),
        ({"data": {"generate": {"n": MOST_POINTS + 1}}}, "points"),
        ({"optimizer": "LBFGS"}, "LBFGS"),
        ({"batch_size": 10}, "other points"),
        ({"scheduler": {"name": "ExponentialLR", "gamma": 0.9}}, "scheduler"),
        ({"steps": MOST_STEPS + 1, "stop": {"loss_below": None}}, "100,000 steps"),
    ],
)
def test_what_is_not_cheap_is_left_out_and_said(fields: dict[str, Any], why: str) -> None:
    foreseen = foresee_fit(**fields)

    assert foreseen.result is None
    assert foreseen.left_out is not None
    assert why in foreseen.left_out
    assert foreseen.seconds > 0


def test_plain_sgd_is_foreseen_however_many_steps_it_takes() -> None:
    fields = {"optimizer": {"name": "SGD", "lr": 1e-6}, "steps": 10_000_000}
    result = foresee_fit(**fields).result

    assert result is not None
    # ln(0.02518 / 1e-8) / (2 lr l) for l between 1.976 and 2.140
    assert 3.44e6 < result.steps < 3.74e6
    assert str(result.stop_reason) == "loss_below"


def test_float_floor_of_sgd_is_foretold_and_met() -> None:
    fields: dict[str, Any] = {
        "dtype": "float32",
        "optimizer": {"name": "SGD", "lr": 1e-3},
        "stop": {"loss_below": 1e-12},
        "steps": 10_000,
    }
    spec = FitSpec.model_validate(fields)
    told = diagnose(spec, forecast_of(spec).outcome, is_foreseen=True)
    real = fit(**{"engine": "auto", **fields}).result

    assert [found.code for found in told] == ["float-floor"]
    assert real.excess_loss == pytest.approx(float(told[0].evidence["excess_loss_floor"]), rel=0.2)
