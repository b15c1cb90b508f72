"""From which step on the gradient is rounding noise: every engine says it of its own history."""

import math
from typing import Any

import pytest
import torch

from app.domain.history import Rows
from app.domain.result import StopReason
from app.domain.spec import FitSpec
from tests.numerics.fitted import fit
from worker.engine.problem import Task, load
from worker.engine.tiers import TieredRun

ENGINES = ["torch", "moments", "rules"]
QUICK: dict[str, Any] = {"data": "noisy", "optimizer": {"name": "SGD", "lr": 0.4}}
FOREVER: dict[str, Any] = {"stop": {"loss_below": None}}


def task_of(fields: dict[str, Any]) -> Task:
    return load(FitSpec.model_validate(fields), columns=None, device=torch.device("cpu"))


def first_noise(rows: Rows, task: Task) -> int | None:
    """Return the first step whose line is the exact one up to a rounding, by the points."""
    x, y = (part.double().square().mean().sqrt().item() for part in (task.x, task.y))
    eps = torch.finfo(task.x.dtype).eps
    assert rows.excess_loss is not None
    for step, excess, a, b in zip(rows.step, rows.excess_loss, rows.a, rows.b, strict=True):
        if math.sqrt(excess) <= eps * (abs(a) * x + abs(b) + y):
            return step
    return None


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("engine", ENGINES)
def test_the_step_is_where_the_line_is_exact_up_to_a_rounding(engine: str, dtype: str) -> None:
    fields = {**QUICK, **FOREVER, "engine": engine, "dtype": dtype, "steps": 120}
    fitted = fit(**fields)
    reached = fitted.result.noise_floor_reached_at

    assert reached == first_noise(fitted.rows, task_of(fields))
    assert reached is not None
    assert 5 < reached < 100


@pytest.mark.parametrize("engine", ENGINES)
def test_a_volatile_optimizer_comes_down_to_it(engine: str) -> None:
    fitted = fit(optimizer="RMSprop", data="noisy", dtype="float32", steps=1500, engine=engine)

    assert fitted.result.noise_floor_reached_at is not None


@pytest.mark.parametrize("engine", ENGINES)
def test_a_run_that_is_far_away_has_not_reached_it(engine: str) -> None:
    assert fit(steps=20, engine=engine).result.noise_floor_reached_at is None


@pytest.mark.parametrize("engine", ENGINES)
def test_a_run_that_diverges_has_not_reached_it(engine: str) -> None:
    fitted = fit(optimizer={"name": "SGD", "lr": 1e8}, steps=200, engine=engine)

    assert fitted.result.stop_reason is StopReason.DIVERGED
    assert fitted.result.noise_floor_reached_at is None


def test_other_losses_have_none() -> None:
    fitted = fit(
        **{**QUICK, "data": [[0.0, 0.0], [1.0, 0.0]]}, loss="l1", init={"a": 0.0, "b": 0.0}
    )

    assert fitted.result.noise_floor_reached_at is None


@pytest.mark.parametrize("engine", ENGINES)
def test_a_run_that_goes_on_remembers_it(engine: str) -> None:
    given = {**QUICK, **FOREVER, "engine": engine, "steps": 150}
    task = task_of(given)
    made = {"task": task, "index": 0, "label": "run", "queue": "cpu"}
    one = TieredRun(FitSpec.model_validate({**given, "steps": 120}), **made)
    list(one.blocks())
    kept, reached = one.snapshot(), one.result(StopReason.MAX_STEPS).noise_floor_reached_at
    other = TieredRun(FitSpec.model_validate(given), **made)
    assert kept is not None
    other.resume(kept)
    list(other.blocks())

    assert reached is not None
    assert other.result(StopReason.MAX_STEPS).noise_floor_reached_at == reached
