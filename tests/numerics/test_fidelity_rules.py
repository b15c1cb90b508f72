"""The fidelity suite: rules against the plain torch loop, wherever there is a way to go wrong."""

import math
import statistics
from typing import Any

import pytest
import torch

from app.domain.history import Rows
from app.domain.spec import FitSpec
from tests.numerics.cases import data_sets, optimizers, title
from tests.numerics.contract import judge, play_loop
from tests.numerics.fitted import drain
from worker.engine.autograd import AutogradRun
from worker.engine.problem import Task, load
from worker.engine.rules.executors import Compiled
from worker.engine.rules.kernels import Kernels
from worker.engine.rules.rule import RULES
from worker.engine.rules.run import RulesRun

STEPS = 200
FAR = {"tiny", "small", "large", "huge"}
"""Points of another scale than the learning rates: a start far from them is left by leaps, which
enlarge every rounding, or by steps too small to see."""
STEPS_FROM_AFAR = 60
MODES: dict[str, dict[str, Any]] = {
    "gradient kept": {"zero_grad": False},
    "batches": {"batch_size": 7},
    "kept batches": {"batch_size": 7, "zero_grad": False},
    "cosine": {"scheduler": {"name": "CosineAnnealingLR", "T_max": 60}},
    "warm restarts": {"scheduler": {"name": "CosineAnnealingWarmRestarts", "T_0": 7, "T_mult": 2}},
}


MILLION = {"generate": {"n": 1_000_000, "noise": 0.5, "x": [-2.0, 7.0]}}


def prepare(**fields: Any) -> tuple[FitSpec, Task]:
    """Return a spec that records every row and never stops, and its points."""
    given = {"stop": {"loss_below": None}, "record_every": 1, "steps": STEPS, **fields}
    spec = FitSpec.model_validate(given)
    return spec, load(spec, columns=None, device=torch.device("cpu"))


def play_rules(spec: FitSpec, task: Task, kernels: Kernels) -> Rows:
    rule = RULES[spec.optimizer.name]
    kernel = kernels.load(rule, spec.dtype)
    assert kernel is not None
    executor = Compiled(rule, kernel, spec.dtype)
    return drain(RulesRun(spec, task=task, index=0, label="run", executor=executor))[0]


def faults_of(kernels: Kernels, **fields: Any) -> tuple[list[str], bool]:
    """Return where the rules break the contract, and whether it held as it stands."""
    spec, task = prepare(**fields)
    found = judge(spec, task, play_loop(spec, task), play_rules(spec, task, kernels))
    return found.faults[:2], found.is_plain


def test_there_are_enough_data_sets() -> None:
    assert len(data_sets("float32")) == len(data_sets("float64")) >= 12


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("data", data_sets("float64"))
def test_every_optimizer_keeps_the_contract(data: str, dtype: str, kernels: Kernels) -> None:
    fields = {"dtype": dtype, "steps": STEPS_FROM_AFAR if data in FAR else STEPS}
    points = data_sets(dtype)[data]
    found = {
        title(optimizer): faults_of(kernels, optimizer=optimizer, **fields, **points)
        for optimizer in optimizers()
    }

    assert {name: faults for name, (faults, _) in found.items() if faults} == {}
    if data not in FAR:
        plain = [name for name, (_, is_plain) in found.items() if is_plain]
        assert len(plain) >= 0.75 * len(found)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("data", ["noisy", "x=10+N"])
def test_every_mode_keeps_the_contract(data: str, mode: str, dtype: str, kernels: Kernels) -> None:
    points = data_sets(dtype)[data]
    found = {
        name: faults_of(kernels, optimizer=name, dtype=dtype, **points, **MODES[mode])[0]
        for name in RULES
    }

    assert {name: faults for name, faults in found.items() if faults} == {}


@pytest.mark.parametrize("optimizer", ["SGD", "Adam", "NAdam", "Rprop"])
def test_a_million_points_keep_the_contract(optimizer: str, kernels: Kernels) -> None:
    assert faults_of(kernels, optimizer=optimizer, data=MILLION, steps=25) == ([], True)


class WideSums(AutogradRun):
    """The plain loop with its gradient summed in float64.

    A sum of a million float32 loses three digits by itself, which no contract about residuals says.
    """

    def _update(self, loss: torch.Tensor) -> float:
        del loss
        x, y = self._task.x.double(), self._task.y.double()
        a, b = (part.detach().double().item() for part in self._net.parameters())
        residuals = a * x + b - y
        for part, gradient in zip(self._net.parameters(), (residuals * x, residuals), strict=True):
            part.grad = (2.0 * gradient.mean()).to(part.dtype).reshape(part.shape)
        self._optimizer.step()
        self._evaluations += 1
        return math.nan


@pytest.mark.parametrize("optimizer", ["SGD", "Adam", "NAdam", "Rprop"])
def test_a_million_float32_points_keep_the_contract(optimizer: str, kernels: Kernels) -> None:
    spec, task = prepare(optimizer=optimizer, data=MILLION, steps=25, dtype="float32")
    loop = drain(WideSums(spec, task=task, index=0, label="run"))[0]
    found = judge(spec, task, loop, play_rules(spec, task, kernels))

    assert (found.faults, found.is_plain) == ([], True)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", ["RMSprop", "Adadelta"])
def test_volatile_optimizers_rattle_as_much_as_the_loop(
    name: str, dtype: str, kernels: Kernels
) -> None:
    optimizer = {"name": name, "rho": 0.5, "eps": 1e-4} if name == "Adadelta" else {"name": name}
    spec, task = prepare(data="noisy", optimizer=optimizer, dtype=dtype, steps=3000)
    loop, ours = play_loop(spec, task), play_rules(spec, task, kernels)
    assert loop.excess_loss is not None
    assert ours.excess_loss is not None
    theirs, own = loop.excess_loss[2000:], ours.excess_loss[2000:]

    assert max(theirs) / 10 < max(own) < 10 * max(theirs)
    assert statistics.median(theirs) / 10 < statistics.median(own) < 10 * statistics.median(theirs)
