"""Job records and histories made by hand, one builder each."""

from array import array
from collections.abc import Sequence
from typing import Any

import pytest

from app.charts.series import Curve
from app.domain.history import Rows
from app.domain.job import JobRecord, Progress, Status
from app.domain.outcome import Outcome
from app.domain.result import (
    DeviceUsed,
    EngineUsed,
    Exact,
    Point,
    Problem,
    RunResult,
    StandardErrors,
    StopReason,
    Winner,
    format_equation,
)
from app.domain.spec import ComparisonSpec, FitSpec
from tests.unit.charts.make import Make

T0 = 1_750_000_000_000


@pytest.fixture
def make_curve() -> Make[Curve]:
    def make(
        values: Sequence[float],
        *,
        label: str = "Adam",
        color_index: int = 0,
        steps: Sequence[int] | None = None,
        with_excess: bool = True,
    ) -> Curve:
        column = array("d", values)
        rows = Rows(
            step=array("q", range(len(values)) if steps is None else steps),
            loss=array("d", [v + 1 for v in values]) if with_excess else column,
            a=array("d", [0.0] * len(values)),
            b=array("d", [0.0] * len(values)),
            excess_loss=column if with_excess else None,
        )
        return Curve(label=label, rows=rows, color_index=color_index)

    return make


@pytest.fixture
def make_run() -> Make[RunResult]:
    def make(**changes: Any) -> RunResult:
        values: dict[str, Any] = {
            "label": "Adam",
            "optimizer": "Adam",
            "lr": 0.001,
            "a": 0.9999,
            "b": -0.00002,
            "loss": 9.98e-9,
            "excess_loss": 9.98e-9,
            "r2": 1.0,
            "stop_reason": StopReason.LOSS_BELOW,
            "converged": True,
            "steps": 402,
            "evaluations": 402,
            "steps_to_tolerance": 390,
            "best": Point(step=402, loss=9.98e-9, excess_loss=9.98e-9, a=0.9999, b=-0.00002),
            "gradient_norm": 1e-4,
            "run_seconds": 0.021,
        }
        values |= changes
        a, b = values["a"], values["b"]
        return RunResult(**values, equation=None if a is None else format_equation(a, b))

    return make


def _exact(**changes: Any) -> Exact:
    values: dict[str, Any] = {
        "a": 1.0,
        "b": 0.0,
        "loss": 0.0,
        "r2": 1.0,
        "unique": True,
        "standard_errors": StandardErrors(a=0.0031, b=0.0032),
        "method": "QR, float64",
    }
    return Exact(**(values | changes))


def _problem(**changes: Any) -> Problem:
    values: dict[str, Any] = {
        "points": 1000,
        "mean_x": 0.0,
        "mean_y": 0.0,
        "variance_x": 1.0,
        "hessian_eigenvalues": (2.06, 1.99),
        "condition_number": 1.035,
        "largest_stable_sgd_lr": 0.97,
        "best_sgd_lr": 0.49,
    }
    return Problem(**(values | changes))


@pytest.fixture
def make_record(make_run: Make[RunResult]) -> Make[JobRecord]:
    def make(status: Status = Status.SUCCEEDED, **changes: Any) -> JobRecord:
        is_begun = status is not Status.QUEUED
        values: dict[str, Any] = {
            "id": "job_01k5",
            "spec": FitSpec(),
            "status": status,
            "seq": 3,
            "attempt": 1 if is_begun else 0,
            "created_at_ms": T0,
            "queued_at_ms": T0,
            "started_at_ms": T0 + 4 if is_begun else None,
            "finished_at_ms": T0 + 25 if status.is_terminal else None,
            "device": DeviceUsed(
                requested="auto", queue="cpu", used="cpu" if is_begun else None, reason="small"
            ),
            "engine": EngineUsed(name="torch", reason="asked", version="2.13.0")
            if is_begun
            else None,
            "progress": Progress(step=402, steps=10_000, fraction=0.5, loss=3e-5, a=0.9, b=0.1)
            if is_begun
            else None,
            "outcome": Outcome(exact=_exact(), problem=_problem(), runs=(make_run(),))
            if status is Status.SUCCEEDED
            else None,
        }
        return JobRecord(**(values | changes))

    return make


@pytest.fixture
def comparison(make_record: Make[JobRecord], make_run: Make[RunResult]) -> JobRecord:
    """Return a finished comparison of three; the third diverged."""
    spec = ComparisonSpec.model_validate(
        {"optimizers": ["Adam", "SGD", {"name": "SGD", "lr": 5.0}]}
    )
    labels = [contender.label for contender in spec.optimizers]
    runs = (
        make_run(run=0, label=labels[0]),
        make_run(run=1, label=labels[1], excess_loss=1e-12, steps=10_000, steps_to_tolerance=None),
        make_run(
            run=2,
            label=labels[2],
            a=None,
            b=None,
            loss=None,
            excess_loss=None,
            stop_reason=StopReason.DIVERGED,
            steps_to_tolerance=None,
        ),
    )
    outcome = Outcome(
        exact=_exact(),
        problem=_problem(),
        runs=runs,
        ranking=(1, 0, 2),
        winner=Winner(run=1, label=labels[1], why=f"{labels[1]} ended lowest, at 1e-12."),
    )
    return make_record(spec=spec, outcome=outcome)


@pytest.fixture
def make_exact() -> Make[Exact]:
    return _exact


@pytest.fixture
def make_problem() -> Make[Problem]:
    return _problem
