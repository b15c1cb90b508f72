"""One text, executed in four ways, with the same bits of each.

As it stands on plain numbers, straightened on plain numbers, straightened on NumPy's scalars, and
compiled.
"""

import itertools
import math
import random
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
import torch

from app.domain.history import Rows, concatenate
from app.domain.result import RunResult, StopReason
from app.domain.spec import FitSpec
from tests.numerics.cases import data_sets, optimizers, title
from tests.numerics.fitted import drain, same_bits
from worker.engine.autograd import AutogradRun
from worker.engine.problem import Task, load
from worker.engine.rules import run as run_module
from worker.engine.rules.clock import KEPT_TICKS
from worker.engine.rules.executors import Compiled, Executor, Interpreted
from worker.engine.rules.kernels import Kernels
from worker.engine.rules.rule import RULES
from worker.engine.rules.run import RulesRun

STEPS = 120
WAYS = ("plain", "straight", "scalars", "compiled")
SCHEDULES: dict[str, dict[str, Any]] = {
    "StepLR": {"step_size": 5, "gamma": 0.7},
    "MultiStepLR": {"milestones": [3, 9, 25], "gamma": 0.5},
    "ConstantLR": {"total_iters": 20},
    "LinearLR": {"total_iters": 30},
    "ExponentialLR": {"gamma": 0.95},
    "PolynomialLR": {"total_iters": 40, "power": 2.0},
    "CosineAnnealingLR": {"T_max": 17},
    "CosineAnnealingWarmRestarts": {"T_0": 7, "T_mult": 2},
    "CyclicLR": {"base_lr": 0.001, "max_lr": 0.1, "step_size_up": 5, "cycle_momentum": False},
    "OneCycleLR": {"max_lr": 0.1, "cycle_momentum": False},
}
MODES: dict[str, dict[str, Any]] = {
    "full": {},
    "kept": {"zero_grad": False},
    "batches": {"batch_size": 7},
    "kept-batches": {"batch_size": 7, "zero_grad": False},
    "thinned": {"record_every": 7},
}


def spec_of(**fields: Any) -> FitSpec:
    given = {"data": {"preset": "noisy", "points": 50}, "steps": STEPS, **fields}
    return FitSpec.model_validate({"stop": {"loss_below": None}, **given})


def task_of(spec: FitSpec) -> Task:
    return load(spec, columns=None, device=torch.device("cpu"))


def executor_of(way: str, spec: FitSpec, kernels: Kernels) -> Executor:
    rule = RULES[spec.optimizer.name]
    if way == "compiled":
        kernel = kernels.load(rule, spec.dtype)
        assert kernel is not None
        return Compiled(rule, kernel, spec.dtype)
    interpreted = Interpreted(rule, spec.dtype, straight_from=10**9 if way == "plain" else 0)
    if way == "scalars":
        interpreted._is_float64 = False
    return interpreted


def prepare(way: str, spec: FitSpec, kernels: Kernels) -> RulesRun:
    executor = executor_of(way, spec, kernels)
    return RulesRun(spec, task=task_of(spec), index=0, label="run", executor=executor)


def play(way: str, spec: FitSpec, kernels: Kernels) -> tuple[Rows, RunResult]:
    rows, result, _ = drain(prepare(way, spec, kernels))
    return rows, result.model_copy(update={"run_seconds": 0.0})


def assert_same(one: tuple[Rows, RunResult], other: tuple[Rows, RunResult]) -> None:
    assert one[0].columns().keys() == other[0].columns().keys()
    for name, column in one[0].columns().items():
        pair = ([float(value) for value in part] for part in (column, other[0].columns()[name]))
        assert same_bits(*pair), name
    assert one[1] == other[1]


def check(kernels: Kernels, **fields: Any) -> tuple[Rows, RunResult]:
    """Run a spec in every way, and return what all of them say."""
    spec = spec_of(**fields)
    *others, compiled = (play(way, spec, kernels) for way in WAYS)
    for other in others:
        assert_same(other, compiled)
    return compiled


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("optimizer", list(optimizers()), ids=title)
def test_every_rule_has_the_same_bits(
    optimizer: dict[str, Any], mode: str, dtype: str, kernels: Kernels
) -> None:
    rows, result = check(kernels, optimizer=optimizer, dtype=dtype, **MODES[mode])

    assert result.steps == STEPS
    assert rows.step[-1] == STEPS


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("data", data_sets("float64"))
def test_every_data_set_has_the_same_bits(data: str, dtype: str, kernels: Kernels) -> None:
    for name in RULES:
        check(kernels, optimizer=name, dtype=dtype, steps=60, **data_sets(dtype)[data])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", ["SGD", "Adam", "ASGD"])
@pytest.mark.parametrize("scheduler", SCHEDULES)
def test_every_scheduler_has_the_same_bits(
    scheduler: str, name: str, dtype: str, kernels: Kernels
) -> None:
    schedule = {"name": scheduler, **SCHEDULES[scheduler]}
    check(kernels, optimizer=name, dtype=dtype, scheduler=schedule)


@pytest.mark.parametrize("scheduler", SCHEDULES)
def test_rates_are_those_of_the_loop(scheduler: str, kernels: Kernels) -> None:
    spec = spec_of(optimizer="SGD", scheduler={"name": scheduler, **SCHEDULES[scheduler]})
    ours = play("compiled", spec, kernels)[0]
    loop = drain(AutogradRun(spec, task=task_of(spec), index=0, label="run"))[0]

    assert list(ours.a) == pytest.approx(list(loop.a), rel=1e-12)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    ("stop", "reason"),
    [
        ({"loss_below": 0.1}, StopReason.LOSS_BELOW),
        ({"loss_below": None, "gradient_below": 0.5}, StopReason.GRADIENT_BELOW),
        ({"loss_below": None, "patience": 9}, StopReason.PATIENCE),
    ],
    ids=["loss", "gradient", "patience"],
)
def test_stop_rules_hold_at_the_step_of_the_loop(
    stop: dict[str, Any], reason: StopReason, dtype: str, kernels: Kernels
) -> None:
    # So large a rate goes past the minimum and back, and is patient for some steps on the way.
    optimizer = {"name": "Adam", "lr": 0.3, "betas": [0.95, 0.99]}
    fields = {"optimizer": optimizer, "dtype": dtype, "stop": stop, "record_every": 5}
    rows, result = check(kernels, **fields)
    spec = spec_of(**fields)
    loop, said, _ = drain(AutogradRun(spec, task=task_of(spec), index=0, label="run"))

    assert 0 < result.steps < STEPS
    assert result.stop_reason is said.stop_reason is reason
    assert result.steps == said.steps
    assert list(rows.step) == list(loop.step)
    assert result.best is not None
    assert said.best is not None
    assert result.best.step == said.best.step
    assert result.steps_to_tolerance == said.steps_to_tolerance
    assert result.converged == said.converged


DIVERGING: dict[str, dict[str, Any]] = {
    "overflow": {"optimizer": {"name": "SGD", "lr": 1.5}, "steps": 2000},
    "at once": {"optimizer": {"name": "SGD", "lr": 1e30}},
    "momentum": {"optimizer": {"name": "SGD", "lr": 2.0, "momentum": 0.9}, "steps": 2000},
    "asgd": {"optimizer": {"name": "ASGD", "lr": 1e30, "alpha": 1e30}},
    # (1 + 1e-3 t)^1e5 is too large for Python's own power after seven steps.
    "asgd later": {"optimizer": {"name": "ASGD", "lr": 0.1, "lambd": 0.01, "alpha": 1e5}},
    "lambd": {"optimizer": {"name": "ASGD", "lr": 1.0, "lambd": 1e30}},
    "rprop": {
        "optimizer": {"name": "Rprop", "etas": [0.5, 1e30], "step_sizes": [1e-6, 1e30]},
        "steps": 2000,
    },
    "adam": {"optimizer": {"name": "Adam", "lr": 1e30}},
    "nadam": {"optimizer": {"name": "NAdam", "momentum_decay": 1e30, "lr": 1e30}},
    "zero over zero": {
        "optimizer": {"name": "Adam", "eps": 0.0},
        "data": [[0.0, 1.0], [0.0, 1.0]],
        "init": {"a": 1.0, "b": 1.0},
    },
    "adagrad of nothing": {
        "optimizer": {"name": "Adagrad", "eps": 0.0},
        "data": [[1.0, 1.0]],
        "init": {"a": 1.0, "b": 0.0},
    },
    "adamax of nothing": {
        "optimizer": {"name": "Adamax", "eps": 0.0},
        "data": [[1.0, 1.0]],
        "init": {"a": 1.0, "b": 0.0},
    },
    "rate": {
        "optimizer": "SGD",
        "scheduler": {
            "name": "CyclicLR",
            "base_lr": 0.1,
            "max_lr": 1.0,
            "mode": "exp_range",
            "gamma": 1e30,
        },
    },
}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("case", DIVERGING)
def test_divergence_has_the_same_bits_and_the_loop_s_end(
    case: str, dtype: str, kernels: Kernels
) -> None:
    fields = {"dtype": dtype, **DIVERGING[case]}
    rows, result = check(kernels, **fields)
    spec = spec_of(**fields)
    loop, said, _ = drain(AutogradRun(spec, task=task_of(spec), index=0, label="run"))

    assert result.stop_reason is said.stop_reason
    assert result.steps == said.steps
    assert rows.step[-1] == loop.step[-1]
    assert math.isfinite(rows.loss[-1]) == math.isfinite(loop.loss[-1])


def test_most_of_those_cases_diverge(kernels: Kernels) -> None:
    ends = [play("plain", spec_of(**fields), kernels)[1] for fields in DIVERGING.values()]

    assert sum(end.stop_reason is StopReason.DIVERGED for end in ends) >= len(ends) - 3


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("record_every", [1, 3, 50, 1000])
def test_blocks_of_any_size_have_the_same_rows(
    record_every: int, way: str, kernels: Kernels, monkeypatch: pytest.MonkeyPatch
) -> None:
    fields = {"batch_size": 9, "scheduler": {"name": "CosineAnnealingLR", "T_max": 17}}
    spec = spec_of(optimizer="NAdam", record_every=record_every, **fields)
    whole = play(way, spec, kernels)
    assert list(whole[0].step) == sorted({*range(0, STEPS, record_every), STEPS})
    for first, most in ((1, 1), (2, 3), (7, 5), (STEPS, 1), (STEPS + 1, 1), (1, 10_000)):
        monkeypatch.setattr(run_module, "FIRST_STEPS", first)
        monkeypatch.setattr(run_module, "MOST_STEPS", most)
        assert_same(whole, play(way, spec, kernels))


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", RULES)
def test_a_run_resumes_after_any_block(
    name: str, dtype: str, way: str, kernels: Kernels, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_module, "FIRST_STEPS", 5)
    monkeypatch.setattr(run_module, "MOST_STEPS", 4)
    fields = {"batch_size": 9, "scheduler": {"name": "OneCycleLR", "cycle_momentum": False}}
    fields["scheduler"]["max_lr"] = 0.1  # type: ignore[index]
    spec = spec_of(optimizer=name, dtype=dtype, steps=30, zero_grad=False, **fields)
    whole = play(way, spec, kernels)
    cuts = random.Random(name)  # noqa: S311  # where to cut is no secret
    assert_same(whole, resumed(way, spec, kernels, iter(lambda: cuts.randint(1, 3), 0)))


@pytest.mark.parametrize("way", WAYS)
def test_each_block_can_be_the_last_before_a_cut(
    way: str, kernels: Kernels, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_module, "FIRST_STEPS", 1)
    monkeypatch.setattr(run_module, "MOST_STEPS", 1)
    spec = spec_of(optimizer="RMSprop", steps=20, record_every=3, stop={"patience": 1000})
    whole = play(way, spec, kernels)

    assert_same(whole, resumed(way, spec, kernels, itertools.repeat(1)))
    assert_same(whole, resumed(way, spec, kernels, itertools.repeat(2)))


def resumed(
    way: str, spec: FitSpec, kernels: Kernels, cuts: Iterator[int]
) -> tuple[Rows, RunResult]:
    """Run to the end, by way of bytes and a new run after so many blocks, again and again."""
    run, rows = prepare(way, spec, kernels), list[Rows]()
    while True:
        left = next(cuts)
        for count, block in enumerate(run.blocks(), start=1):
            rows.append(block.rows)
            if block.stop_reason is not None:
                result = run.result(block.stop_reason)
                return concatenate(rows), result.model_copy(update={"run_seconds": 0.0})
            if count == left:
                break
        kept = run.snapshot()
        assert kept is not None
        run = prepare(way, spec, kernels)
        run.resume(kept)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_runs_longer_than_the_kept_clock_have_the_same_bits(dtype: str, kernels: Kernels) -> None:
    steps = KEPT_TICKS + 3000
    fields = {"optimizer": "NAdam", "dtype": dtype, "steps": steps, "record_every": 500}
    rows, result = check(kernels, **fields)

    assert result.steps == steps
    assert rows.step[-1] == steps


def test_a_stretch_changes_nothing_that_it_was_given(kernels: Kernels) -> None:
    spec = spec_of(optimizer="Adam")
    for way in WAYS:
        run = prepare(way, spec, kernels)
        before = replace(run._standing)
        run._executor.advance(10, before, run._course, **run._deal(10))

        assert run._standing == before
