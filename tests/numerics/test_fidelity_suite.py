"""The fidelity suite: rules and moments against the plain torch loop, wherever one can go wrong.

Every class of torch.optim with all its options, on every data set, in both number types, by every
engine: the loop's own bits are test_plain_loop.py's part.
"""

import math
import statistics
from typing import Any

import pytest
import torch

from app.domain.catalogue import OPTIMIZERS
from app.domain.history import Rows
from app.domain.spec import FitSpec
from tests.numerics.amplifiers import AMPLIFIERS, Amplifier, amplifies
from tests.numerics.cases import ALL_OPTIONS, MILLION, all_optimizers, data_sets, title
from tests.numerics.contract import Itself, Verdict, judge, play_loop
from tests.numerics.fitted import drain
from worker.engine.autograd import AutogradRun
from worker.engine.fidelity import FACTOR
from worker.engine.moments import MomentsRun
from worker.engine.problem import Task, load
from worker.engine.rules.executors import Compiled
from worker.engine.rules.kernels import Kernels
from worker.engine.rules.rule import RULES
from worker.engine.rules.run import RulesRun

STEPS = 150
FAR = {"tiny", "small", "large", "huge"}
"""Points of another scale than the learning rates: a start far from them is left by leaps, which
enlarge every rounding, or by steps too small to see."""
STEPS_FROM_AFAR = 60
STEPS_OF_LBFGS = 8
"""Each evaluates the loss up to 20 times."""
MODES: dict[str, dict[str, Any]] = {
    "gradient kept": {"zero_grad": False},
    "batches": {"batch_size": 7},
    "kept batches": {"batch_size": 7, "zero_grad": False},
    "cosine": {"scheduler": {"name": "CosineAnnealingLR", "T_max": 60}},
    "warm restarts": {"scheduler": {"name": "CosineAnnealingWarmRestarts", "T_0": 7, "T_mult": 2}},
}
STEPS_OF_MODES = 200


def prepare(**fields: Any) -> tuple[FitSpec, Task]:
    """Return a spec that records every row and never stops, and its points."""
    given = {"stop": {"loss_below": None}, "record_every": 1, **fields}
    spec = FitSpec.model_validate(given)
    return spec, load(spec, columns=None, device=torch.device("cpu"))


def prepare_case(optimizer: dict[str, Any], data: str, dtype: str) -> tuple[FitSpec, Task]:
    """Return a case of the suite."""
    steps = STEPS_FROM_AFAR if data in FAR else STEPS
    steps = STEPS_OF_LBFGS if optimizer["name"] == "LBFGS" else steps
    points = data_sets(dtype)[data]
    return prepare(optimizer=optimizer, dtype=dtype, steps=steps, **points)


def play_rules(spec: FitSpec, task: Task, kernels: Kernels) -> Rows:
    rule = RULES[spec.optimizer.name]
    kernel = kernels.load(rule, spec.dtype)
    assert kernel is not None
    executor = Compiled(rule, kernel, spec.dtype)
    return drain(RulesRun(spec, task=task, index=0, label="run", executor=executor))[0]


def play_moments(spec: FitSpec, task: Task) -> Rows:
    return drain(MomentsRun(spec, task=task, index=0, label="run"))[0]


def verdicts(
    spec: FitSpec, task: Task, kernels: Kernels, loop: Rows | None = None
) -> dict[str, Verdict]:
    """Judge every engine that a spec can have, by its name."""
    loop = play_loop(spec, task) if loop is None else loop
    own = Itself(spec, task, loop)
    played = {"moments": play_moments(spec, task)}
    if spec.optimizer.name in RULES:
        played["rules"] = play_rules(spec, task, kernels)
    return {engine: judge(task, loop, rows, own) for engine, rows in played.items()}


def test_the_suite_is_whole() -> None:
    assert set(ALL_OPTIONS) == set(OPTIMIZERS)
    assert len(data_sets("float32")) == len(data_sets("float64")) >= 12
    assert all({} in sets for sets in ALL_OPTIONS.values())


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_every_option_is_tried(name: str) -> None:
    tried = {key for options in ALL_OPTIONS[name] for key in options}

    assert tried >= set(OPTIMIZERS[name]["hyperparameters"]) - {"lr"}
    assert "lr" in tried


@pytest.mark.timeout(600)  # 75 cases of Adam, each up to four loops of 150 steps
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_every_optimizer_keeps_the_contract(name: str, dtype: str, kernels: Kernels) -> None:
    faults, unnamed = dict[str, list[str]](), list[str]()
    for optimizer in ({"name": name, **options} for options in ALL_OPTIONS[name]):
        for data in data_sets(dtype):
            found = verdicts(*prepare_case(optimizer, data, dtype), kernels)
            for engine, verdict in found.items():
                case = f"{engine}: {title(optimizer)} on {data}"
                if verdict.faults:
                    faults[case] = verdict.faults[:2]
                if not verdict.is_plain and not amplifies(optimizer, data):
                    unnamed.append(f"{case}: the loop itself {verdict.loop_itself:.3g}")

    assert faults == {}
    assert unnamed == []


@pytest.mark.parametrize("amplifier", AMPLIFIERS, ids=lambda each: title(each.optimizer))
def test_an_amplifier_breaks_the_contract_with_itself(amplifier: Amplifier) -> None:
    quiet = [data for data in amplifier.data if not is_broken_by_itself(amplifier, data)]

    assert quiet == []


def is_broken_by_itself(amplifier: Amplifier, data: str) -> bool:
    """Tell whether the plain loop leaves the contract by other roundings of its own, in some case."""
    for optimizer in filter(amplifier.has, all_optimizers()):
        for dtype in ("float64", "float32"):
            spec, task = prepare_case(optimizer, data, dtype)
            if max(Itself(spec, task, play_loop(spec, task)).roundings) > FACTOR:
                return True
    return False


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("data", ["noisy", "x=10+N"])
def test_every_mode_keeps_the_contract(data: str, mode: str, dtype: str, kernels: Kernels) -> None:
    points = data_sets(dtype)[data]
    fields = {"dtype": dtype, "steps": STEPS_OF_MODES, **points, **MODES[mode]}
    found = {
        f"{engine}: {name}": verdict.faults[:2]
        for name in RULES
        for engine, verdict in verdicts(*prepare(optimizer=name, **fields), kernels).items()
    }

    assert {name: faults for name, faults in found.items() if faults} == {}


@pytest.mark.parametrize("optimizer", ["SGD", "Adam", "NAdam", "Rprop", "SparseAdam", "Adafactor"])
def test_a_million_points_keep_the_contract(optimizer: str, kernels: Kernels) -> None:
    found = verdicts(*prepare(optimizer=optimizer, steps=25, **MILLION), kernels)

    assert {engine: verdict.is_plain for engine, verdict in found.items() if verdict.faults} == {}
    assert all(verdict.is_plain for verdict in found.values())


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


@pytest.mark.parametrize("optimizer", ["SGD", "Adam", "NAdam", "Rprop", "Adafactor"])
def test_a_million_float32_points_keep_the_contract(optimizer: str, kernels: Kernels) -> None:
    spec, task = prepare(optimizer=optimizer, steps=25, dtype="float32", **MILLION)
    loop = drain(WideSums(spec, task=task, index=0, label="run"))[0]
    found = verdicts(spec, task, kernels, loop)

    assert all(verdict.is_plain for verdict in found.values())


def test_a_million_float32_points_break_the_contract_with_themselves() -> None:
    spec, task = prepare(
        optimizer={"name": "SGD", "lr": 0.05}, steps=25, dtype="float32", **MILLION
    )
    own = Itself(spec, task, play_loop(spec, task))

    assert max(own.roundings) > FACTOR


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", ["RMSprop", "Adadelta"])
def test_volatile_optimizers_rattle_as_much_as_the_loop(
    name: str, dtype: str, kernels: Kernels
) -> None:
    optimizer = {"name": name, "rho": 0.5, "eps": 1e-4} if name == "Adadelta" else {"name": name}
    spec, task = prepare(data="noisy", optimizer=optimizer, dtype=dtype, steps=3000)
    loop = play_loop(spec, task)
    for ours in (play_rules(spec, task, kernels), play_moments(spec, task)):
        assert loop.excess_loss is not None
        assert ours.excess_loss is not None
        theirs, own = loop.excess_loss[2000:], ours.excess_loss[2000:]

        assert max(theirs) / 10 < max(own) < 10 * max(theirs)
        middle = statistics.median(theirs)
        assert middle / 10 < statistics.median(own) < 10 * middle
