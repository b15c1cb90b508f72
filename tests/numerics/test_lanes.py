"""Runs in lanes: the bits of the same run alone, to the step, whatever ends it."""

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from app.domain.result import RunResult, StopReason
from app.domain.run_records import REASONS, RunRecord, unpack_records
from app.domain.spec import FitSpec, Start
from tests.numerics.cases import data_sets, optimizers, title
from tests.numerics.fitted import drain
from tests.numerics.test_executors import SCHEDULES
from worker.engine.bowls import Bowls
from worker.engine.problem import Task, load
from worker.engine.rules.executors import Compiled
from worker.engine.rules.kernels import Kernels
from worker.engine.rules.rule import RULES
from worker.engine.rules.run import RulesRun, bowl_of
from worker.engine.rules.strips import plan_of
from worker.engine.slices import LaneSlice, Lot

STEPS = 90
RATES = np.geomspace(1e-4, 10.0, 10)
STARTS = ((0.3, -0.7), (1e3, 0.0), (-0.0, 2.5))
NEVER: dict[str, Any] = {"loss_below": None}
STOPS: dict[str, dict[str, Any]] = {
    "never": {"stop": NEVER},
    "loss": {"stop": {"loss_below": 0.05}},
    "gradient": {"stop": {"loss_below": None, "gradient_below": 0.3}},
    "patience": {"stop": {"loss_below": None, "patience": 4}},
    "all": {"stop": {"loss_below": 0.012, "gradient_below": 0.2, "patience": 9}},
    "kept": {"stop": NEVER, "zero_grad": False},
    "kept-all": {"stop": {"loss_below": 0.012, "gradient_below": 0.2}, "zero_grad": False},
}


def spec_of(**fields: Any) -> FitSpec:
    given = {"data": {"preset": "noisy", "points": 50}, "steps": STEPS, **fields}
    return FitSpec.model_validate(given)


def task_of(spec: FitSpec) -> Task:
    return load(spec, columns=None, device=torch.device("cpu"))


def alone(spec: FitSpec, task: Task, kernels: Kernels) -> RunResult:
    rule = RULES[spec.optimizer.name]
    kernel = kernels.load(rule, spec.dtype)
    assert kernel is not None
    executor = Compiled(rule, kernel, spec.dtype)
    return drain(RulesRun(spec, task=task, index=0, label="run", executor=executor))[1]


def record_of(result: RunResult) -> RunRecord:
    numbers = [
        math.nan if value is None else value
        for value in (
            result.a,
            result.b,
            result.loss,
            result.excess_loss,
            result.best.loss if result.best else None,
        )
    ]
    reached = result.steps_to_tolerance
    reason = REASONS.index(result.stop_reason)
    a, b, loss, excess, best = numbers
    steps = -1 if reached is None else reached
    return RunRecord(result.steps, steps, reason, a, b, loss, excess, best)


def at_rate(spec: FitSpec, rate: float) -> FitSpec:
    own = spec.optimizer.hyperparameters
    optimizer = spec.optimizer.model_copy(update={"hyperparameters": {**own, "lr": rate}})
    return spec.model_copy(update={"optimizer": optimizer})


def lanes(spec: FitSpec, task: Task, kernels: Kernels) -> list[RunRecord]:
    """Return every rate from every start, rates slowest."""
    plan = plan_of(spec, kernels)
    assert plan is not None
    count = len(RATES) * len(STARTS)
    lot = Lot(
        starts_a=np.resize([a for a, _ in STARTS], count),
        starts_b=np.resize([b for _, b in STARTS], count),
        rates=np.repeat(RATES, len(STARTS)),
        bowls=Bowls.of_one(bowl_of(task)),
    )
    part = LaneSlice(plan, lot, scheduler=spec.scheduler)
    shares = list(part.blocks())
    assert shares[-1] == 1.0
    assert shares == sorted(shares)
    return list(unpack_records(part.records(), is_batch=False))


def check(kernels: Kernels, **fields: Any) -> set[StopReason]:
    """Hold every lane against its run alone, and return how they ended."""
    spec = spec_of(**fields)
    task = task_of(spec)
    found = iter(lanes(spec, task, kernels))
    reasons = set[StopReason]()
    for rate in RATES:
        for a, b in STARTS:
            own = replace(task, start=Start(a=a, b=b))
            expected = record_of(alone(at_rate(spec, float(rate)), own, kernels))
            record = next(found)
            # Bits, because -0.0 is not 0.0, and NaN is NaN.
            assert [part.hex() for part in map(float, record)] == [
                part.hex() for part in map(float, expected)
            ], (rate, a, b)
            reasons.add(REASONS[record.reason])
    return reasons


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("stops", STOPS)
@pytest.mark.parametrize("optimizer", list(optimizers()), ids=title)
def test_a_lane_has_the_bits_of_the_run_alone(
    optimizer: dict[str, Any], stops: str, dtype: str, kernels: Kernels
) -> None:
    assert check(kernels, optimizer=optimizer, dtype=dtype, **STOPS[stops])


def test_lanes_end_for_every_reason(kernels: Kernels) -> None:
    stops = ({"loss_below": 0.05}, {"loss_below": None, "gradient_below": 0.3, "patience": 4})
    found = set[StopReason]().union(
        *(
            check(kernels, optimizer=name, stop=stop, steps=300)
            for name in ("SGD", "Adam")
            for stop in stops
        )
    )

    assert found == {
        StopReason.LOSS_BELOW,
        StopReason.GRADIENT_BELOW,
        StopReason.PATIENCE,
        StopReason.MAX_STEPS,
        StopReason.DIVERGED,
    }


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("data", data_sets("float64"))
def test_every_data_set_has_the_same_bits(data: str, dtype: str, kernels: Kernels) -> None:
    for name in ("SGD", "Adam", "RMSprop", "Rprop"):
        check(kernels, optimizer=name, dtype=dtype, **data_sets(dtype)[data])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", ["SGD", "Adam", "ASGD"])
@pytest.mark.parametrize("scheduler", SCHEDULES)
def test_every_scheduler_has_the_same_bits(
    scheduler: str, name: str, dtype: str, kernels: Kernels
) -> None:
    schedule = {"name": scheduler, **SCHEDULES[scheduler]}
    check(kernels, optimizer=name, dtype=dtype, scheduler=schedule)
