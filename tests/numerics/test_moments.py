"""torch.optim by moments against the plain torch loop: within the contract, at every step."""

import math
import statistics
from typing import Any

import pytest
import torch

from app.domain.catalogue import OPTIMIZERS
from app.domain.history import Rows, concatenate
from app.domain.result import RunResult, StopReason
from app.domain.spec import FitSpec
from tests.numerics import cut
from tests.numerics.cut import (
    LOADS,
    OPTIMIZER_CASES,
    SCHEDULES,
    Kind,
    assert_same,
    case_name,
    check,
    prepare,
)
from tests.numerics.fitted import drain
from worker.engine.autograd import AutogradRun
from worker.engine.fidelity import allowed_difference, spread_of
from worker.engine.moments import MomentsRun
from worker.engine.problem import Task, load

STEPS = 40
VOLATILE = {"RMSprop", "Adadelta"}
"""They turn gradients that are rounding noise into steps of full size."""


def _points(x: torch.Tensor, *, scale: float = 1.0) -> list[list[float]]:
    generator = torch.Generator().manual_seed(len(x))
    noise = torch.randn(len(x), generator=generator, dtype=torch.float64)
    return torch.stack([x, scale * (2.0 * x / scale + 1.0 + 0.1 * noise)], dim=1).tolist()


def _normal(count: int = 60) -> torch.Tensor:
    return torch.randn(
        count, generator=torch.Generator().manual_seed(count + 1), dtype=torch.float64
    )


DATA: dict[str, Any] = {
    "classic": "classic",
    "noisy": {"preset": "noisy", "points": 80},
    "x=10+N": _points(10.0 + _normal()),
    "x=1e3+N": _points(1e3 + _normal()),
    "x=1e6+N": _points(1e6 + _normal()),
    "x constant": _points(torch.full((5,), 2.0, dtype=torch.float64)),
    "one point": [[1.5, 2.0]],
    "two points": [[0.0, 1.0], [1.0, 3.0]],
    "x tiny": _points(1e-6 * _normal()),
    "x uniform": _points(torch.linspace(-3.0, 5.0, 40, dtype=torch.float64)),
    "x and y large": _points(1e6 * _normal(), scale=1e6),
}
OPTIONS: dict[str, dict[str, Any]] = {
    "plain": {},
    "gradient kept": {"zero_grad": False},
    "batches": {"batch_size": 7},
    "cosine": {"scheduler": {"name": "CosineAnnealingLR", "T_max": 30}},
    "plateau": {"scheduler": {"name": "ReduceLROnPlateau", "patience": 1, "factor": 0.5}},
}


def task_of(spec: FitSpec) -> Task:
    return load(spec, columns=None, device=torch.device("cpu"))


def play(kind: Kind, spec: FitSpec, task: Task) -> tuple[Rows, RunResult]:
    return drain(kind(spec, task=task, index=0, label="run"))[:2]


def both(**fields: Any) -> tuple[Task, Rows, Rows]:
    """Return the plain loop's rows and the moments' rows."""
    spec = FitSpec.model_validate(
        {"stop": {"loss_below": None}, "record_every": 1, "steps": STEPS, **fields}
    )
    task = task_of(spec)
    return task, play(AutogradRun, spec, task)[0], play(MomentsRun, spec, task)[0]


def first_noise(task: Task, rows: Rows) -> int:
    """Return the first step whose excess loss is below what the contract lets rounding do."""
    spread = spread_of(task)
    assert rows.excess_loss is not None
    for step, loss, a, b, excess in zip(
        rows.step, rows.loss, rows.a, rows.b, rows.excess_loss, strict=True
    ):
        if excess < allowed_difference(loss, spread(a, b), task.x.dtype):
            return step
    return len(rows.step)


def compare(name: str, task: Task, plain: Rows, ours: Rows, *, is_kept: bool = False) -> list[str]:
    """Return where the contract does not hold."""
    spread = spread_of(task)
    until = first_noise(task, plain) if name in VOLATILE else len(plain.step)
    assert len(plain.step) == len(ours.step)
    broken, spreads = list[str](), list[float]()
    for step, loss, a, b, other in zip(
        plain.step, plain.loss, plain.a, plain.b, ours.loss, strict=True
    ):
        if step > until:
            break
        spreads.append(spread(a, b))
        allowed = allowed_difference(loss, spreads[-1], task.x.dtype)
        # Where the line runs away or swings undamped, nothing forgets the roundings of any step.
        if is_kept or loss > plain.loss[0]:
            allowed = allowed_difference(loss, max(spreads), task.x.dtype) * max(1.0, step / 8)
        if loss != other and not abs(other - loss) <= allowed:
            broken.append(f"step {step}: {other!r} for {loss!r}, allowed {allowed!r}")
    return broken


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("option", OPTIONS)
@pytest.mark.parametrize("name", [name for name in OPTIMIZERS if name != "LBFGS"])
def test_every_step_is_within_the_contract(name: str, option: str, dtype: str) -> None:
    broken = {
        data: compare(
            name,
            *both(data=points, optimizer=name, dtype=dtype, **OPTIONS[option]),
            is_kept=option == "gradient kept",
        )
        for data, points in DATA.items()
    }

    assert {data: lines[:2] for data, lines in broken.items() if lines} == {}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    ("search", "option"), [(None, "plain"), (None, "cosine"), ("strong_wolfe", "plain")]
)
def test_every_step_of_lbfgs_is_within_the_contract(
    search: str | None, option: str, dtype: str
) -> None:
    fields = {
        "optimizer": {"name": "LBFGS", "line_search_fn": search},
        "dtype": dtype,
        **OPTIONS[option],
    }
    broken = {
        data: compare("LBFGS", *both(data=points, **fields))
        for data, points in DATA.items()
        # Curvatures 2 and 2e12: its differences of gradients are rounding noise on the way.
        if data != "x and y large"
    }

    assert {data: lines[:2] for data, lines in broken.items() if lines} == {}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_rmsprop_rattles_as_much_as_the_plain_loop(dtype: str) -> None:
    task, plain, ours = both(data="noisy", optimizer="RMSprop", dtype=dtype, steps=2500)
    noise = first_noise(task, plain)
    assert plain.excess_loss is not None
    assert ours.excess_loss is not None
    one, other = (list(rows.excess_loss[noise:]) for rows in (plain, ours))  # type: ignore[index]  # asserted above

    assert 200 < noise < 1000
    assert max(one) / 10 < max(other) < 10 * max(one)
    assert statistics.median(one) / 10 < statistics.median(other) < 10 * statistics.median(one)


@pytest.mark.parametrize("batch_size", [None, 7])
@pytest.mark.parametrize("optimizer", ["Adam", "SparseAdam", "Muon"])
def test_what_a_run_says_of_itself_is_what_the_plain_loop_says(
    optimizer: str, batch_size: int | None
) -> None:
    spec = FitSpec.model_validate(
        {"data": "noisy", "optimizer": optimizer, "steps": 80, "batch_size": batch_size}
    )
    task = task_of(spec)
    (plain, said), (ours, says) = (play(kind, spec, task) for kind in (AutogradRun, MomentsRun))

    for one, other in ((said, says), (said.best, says.best)):
        assert one is not None
        assert other is not None
        for field, value in one:
            if isinstance(value, float) and field != "run_seconds":
                assert getattr(other, field) == pytest.approx(value, rel=1e-11), field
            elif field not in {"run_seconds", "best"}:
                assert getattr(other, field) == value, field
    assert list(ours.a) == pytest.approx(list(plain.a), rel=1e-12)
    if batch_size is None:
        assert ours.batch_loss is None
    else:
        assert ours.batch_loss is not None
        assert plain.batch_loss is not None
        assert list(ours.batch_loss)[1:] == pytest.approx(list(plain.batch_loss)[1:], rel=1e-11)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_divergence_comes_at_the_same_step(dtype: str) -> None:
    fields = {"data": "noisy", "optimizer": {"name": "SGD", "lr": 1.3}, "dtype": dtype}
    _, plain, ours = both(**fields, steps=2000)

    assert plain.loss[-1] == ours.loss[-1] == math.inf
    assert list(plain.step) == list(ours.step)


def test_gradient_rule_stops_it_too() -> None:
    fields = {"optimizer": {"name": "Adam", "lr": 0.1}, "steps": 300}
    spec = FitSpec.model_validate({**fields, "stop": {"gradient_below": 0.5, "loss_below": None}})
    (_, said), (_, says) = (play(kind, spec, task_of(spec)) for kind in (AutogradRun, MomentsRun))

    assert says.stop_reason is said.stop_reason is StopReason.GRADIENT_BELOW
    assert says.steps == said.steps
    assert says.gradient_norm == pytest.approx(said.gradient_norm)


@pytest.mark.parametrize("optimizer", ["Adam", "Adamax", "SGD"])
def test_a_rate_beyond_the_floats_is_a_divergence(optimizer: str) -> None:
    cyclic = {"name": "CyclicLR", "base_lr": 0.1, "max_lr": 1.0, "mode": "exp_range", "gamma": 1e30}
    _, plain, ours = both(data="classic", scheduler=cyclic, optimizer=optimizer, steps=100)

    assert not math.isfinite(plain.loss[-1])
    assert not math.isfinite(ours.loss[-1])
    # Where the plain Adam's powers raise, its fused form goes on with inf for some steps.
    assert optimizer == "Adam" or list(ours.step) == list(plain.step)


@pytest.mark.parametrize("loss", ["l1", "huber", "smooth_l1"])
def test_other_losses_are_refused(loss: str) -> None:
    spec = FitSpec.model_validate({"loss": loss})

    with pytest.raises(ValueError, match=f"no moments for the loss {loss}"):
        MomentsRun(spec, task=task_of(spec), index=0, label="run")


def test_points_are_not_looked_at() -> None:
    spec = FitSpec.model_validate({"data": "noisy", "steps": 20, "optimizer": "Adam"})
    task = task_of(spec)
    blind = Task(x=torch.full_like(task.x, math.nan), y=task.y, start=task.start, bowl=task.bowl)

    assert play(MomentsRun, spec, blind)[0] == play(MomentsRun, spec, task)[0]


@pytest.mark.parametrize("load", LOADS)
@pytest.mark.parametrize("optimizer", OPTIMIZER_CASES, ids=case_name)
def test_every_optimizer_resumes(optimizer: dict[str, Any], load: str) -> None:
    check({"optimizer": optimizer, **LOADS[load]}, kind=MomentsRun)


@pytest.mark.parametrize("load", ["full-float64", "batches-float32-kept-gradient"])
@pytest.mark.parametrize("optimizer", ["SGD", "Adam", "LBFGS", "SparseAdam"])
@pytest.mark.parametrize("scheduler", SCHEDULES)
def test_every_scheduler_resumes(scheduler: str, optimizer: str, load: str) -> None:
    schedule = {"name": scheduler, **SCHEDULES[scheduler]}
    check({"optimizer": optimizer, "scheduler": schedule, **LOADS[load]}, kind=MomentsRun)


def test_snapshot_of_a_run_leaves_it_as_it_was() -> None:
    fields = {"optimizer": "SparseAdam", "batch_size": 7, "zero_grad": False}
    run = prepare(fields, kind=MomentsRun)
    blocks = list[Rows]()
    for block in run.blocks():
        blocks.append(block.rows)
        if block.stop_reason is None:
            run.snapshot()

    played = (concatenate(blocks), run.result(StopReason.MAX_STEPS), 0)
    assert_same(cut.play(fields, iter(()), kind=MomentsRun), played)
