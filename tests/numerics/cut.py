"""Runs that are cut into pieces by way of their snapshots, and the settings to try it with."""

import itertools
import random
from collections.abc import Iterator
from typing import Any

import torch

from app.domain.catalogue import OPTIMIZERS
from app.domain.history import Rows, concatenate
from app.domain.result import RunResult
from app.domain.spec import FitSpec
from tests.numerics.fitted import same_bits
from worker.contract import Run
from worker.engine.autograd import AutogradRun
from worker.engine.moments import MomentsRun
from worker.engine.problem import load

STEPS = 36
Kind = type[AutogradRun] | type[MomentsRun]
# What a scheduler needs to be told, small enough that its rate changes within STEPS.
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
    "ReduceLROnPlateau": {"patience": 1, "factor": 0.5},
}
# Settings that keep more state than the defaults, or state of another kind.
VARIANTS: dict[str, list[dict[str, Any]]] = {
    "Adam": [{"amsgrad": True, "weight_decay": 0.1}],
    "Adagrad": [{"lr_decay": 0.1, "initial_accumulator_value": 0.5}],
    "ASGD": [{"t0": 3.0, "lr": 0.05}],
    "LBFGS": [{"line_search_fn": "strong_wolfe"}, {"max_iter": 2, "history_size": 3}],
    "RMSprop": [{"momentum": 0.9, "centered": True}],
    "SGD": [{"momentum": 0.9, "nesterov": True}, {"momentum": 0.5, "dampening": 0.1}],
}
OPTIMIZER_CASES = [
    {"name": name, **settings} for name in OPTIMIZERS for settings in [{}, *VARIANTS.get(name, [])]
]
LOADS: dict[str, dict[str, Any]] = {
    "full-float64": {},
    "full-float32": {"dtype": "float32"},
    "batches-float64": {"batch_size": 7},
    "batches-float32-kept-gradient": {"batch_size": 7, "dtype": "float32", "zero_grad": False},
    "full-float64-kept-gradient": {"zero_grad": False},
}


class Ticks:
    """A clock on which every block has so many steps as the test says."""

    def __init__(self, steps_a_block: int) -> None:
        self._now = itertools.count()
        self._scale = 0.051 / steps_a_block

    def __call__(self) -> float:
        return next(self._now) * self._scale


def prepare(fields: dict[str, Any], *, steps_a_block: int = 1, kind: Kind = AutogradRun) -> Run:
    """Make a run of an engine without asking which engine would be chosen."""
    given = {"data": {"preset": "noisy"}, "steps": STEPS, "engine": "torch"}
    spec = FitSpec.model_validate({**given, **fields})
    task = load(spec, columns=None, device=torch.device("cpu"))
    return kind(spec, task=task, index=0, label="run", clock=Ticks(steps_a_block))


def play(fields: dict[str, Any], cuts: Iterator[int], **given: Any) -> tuple[Rows, RunResult, int]:
    """Run to the end, moving to a new run by way of bytes after so many blocks, again and again."""
    run, blocks, moved = prepare(fields, **given), list[Rows](), 0
    while True:
        left = next(cuts, None)
        for count, block in enumerate(run.blocks(), start=1):
            blocks.append(block.rows)
            if block.stop_reason is not None:
                return concatenate(blocks), run.result(block.stop_reason), moved
            if count == left:
                break
        kept = run.snapshot()
        assert kept is not None
        run, moved = prepare(fields, **given), moved + 1
        run.resume(kept)


def assert_same(one: tuple[Rows, RunResult, int], other: tuple[Rows, RunResult, int]) -> None:
    assert one[0].columns().keys() == other[0].columns().keys()
    for name, column in one[0].columns().items():
        assert same_bits(
            [float(value) for value in column],
            [float(value) for value in other[0].columns()[name]],
        ), name
    results = [part[1].model_copy(update={"run_seconds": 0.0}) for part in (one, other)]
    assert results[0] == results[1]


def case_name(case: Any) -> str:
    return "-".join(str(value) for value in case.values())


def check(fields: dict[str, Any], *, kind: Kind = AutogradRun) -> None:
    """Cut a run four times and compare it with the same run left alone."""
    fields = {"stop": {"loss_below": None, "gradient_below": 1e-300, "patience": 30}, **fields}
    cuts = random.Random(case_name(fields))  # noqa: S311  # where to cut is no secret
    whole = play(fields, iter(()), kind=kind)
    cut = play(fields, iter([cuts.randint(1, 9) for _ in range(4)]), kind=kind)

    assert_same(whole, cut)
    assert cut[2] == 4 or whole[1].steps < STEPS
