"""A run that is cut and resumed, again and again, equals the run that was left alone, bit for bit."""

import itertools
import random
from collections.abc import Iterator
from typing import Any

import pytest
import torch

from app.domain.catalogue import OPTIMIZERS, SCHEDULERS
from app.domain.errors import CheckpointUnusable
from app.domain.history import Rows, concatenate
from app.domain.result import RunResult, StopReason
from app.domain.spec import FitSpec
from tests.numerics.fitted import same_bits
from worker.contract import Run
from worker.engine import checkpoint
from worker.engine.torch_engine import TorchEngine

STEPS = 36
CPU = torch.device("cpu")
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
# One that counts steps, one that counts cycles, one that looks at the loss.
SAMPLE = ("MultiStepLR", "CosineAnnealingWarmRestarts", "ReduceLROnPlateau")
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


def prepare(fields: dict[str, Any], *, steps_a_block: int = 1) -> Run:
    spec = FitSpec.model_validate({"data": {"preset": "noisy"}, "steps": STEPS, **fields})
    engine = TorchEngine(clock=Ticks(steps_a_block))
    return engine.prepare(spec, columns=None, device="cpu").runs[0]


def play(fields: dict[str, Any], cuts: Iterator[int], **given: int) -> tuple[Rows, RunResult, int]:
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


def check(fields: dict[str, Any]) -> None:
    fields = {"stop": {"loss_below": None, "gradient_below": 1e-300, "patience": 30}, **fields}
    cuts = random.Random(case_name(fields))  # noqa: S311  # where to cut is no secret
    whole = play(fields, iter(()))
    cut = play(fields, iter([cuts.randint(1, 9) for _ in range(4)]))

    assert_same(whole, cut)
    assert cut[2] == 4 or whole[1].steps < STEPS


def test_table_names_every_scheduler() -> None:
    assert sorted(SCHEDULES) == sorted(SCHEDULERS)


@pytest.mark.parametrize("load", LOADS)
@pytest.mark.parametrize("optimizer", OPTIMIZER_CASES, ids=case_name)
def test_every_optimizer_resumes(optimizer: dict[str, Any], load: str) -> None:
    check({"optimizer": optimizer, **LOADS[load]})


@pytest.mark.parametrize("load", ["full-float64", "batches-float32-kept-gradient"])
@pytest.mark.parametrize("optimizer", ["SGD", "Adam", "LBFGS", "SparseAdam"])
@pytest.mark.parametrize("scheduler", SCHEDULES)
def test_every_scheduler_resumes(scheduler: str, optimizer: str, load: str) -> None:
    schedule = {"name": scheduler, **SCHEDULES[scheduler]}
    check({"optimizer": optimizer, "scheduler": schedule, **LOADS[load]})


@pytest.mark.parametrize("zero_grad", [True, False], ids=["zeroed", "kept"])
@pytest.mark.parametrize("batch_size", [None, 7], ids=["full", "batches"])
@pytest.mark.parametrize("scheduler", SAMPLE)
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_every_combination_resumes(
    optimizer: str, scheduler: str, batch_size: int | None, *, zero_grad: bool
) -> None:
    schedule = {"name": scheduler, **SCHEDULES[scheduler]}
    mode = {"batch_size": batch_size, "zero_grad": zero_grad}
    check({"optimizer": optimizer, "scheduler": schedule, **mode})


@pytest.mark.parametrize("scheduler", ["CyclicLR", "OneCycleLR"])
@pytest.mark.parametrize("optimizer", [{"name": "Adam"}, {"name": "SGD", "momentum": 0.9}])
def test_schedulers_that_move_the_momentum_resume(
    scheduler: str, optimizer: dict[str, Any]
) -> None:
    schedule = {**SCHEDULES[scheduler], "name": scheduler, "cycle_momentum": True}
    check({"optimizer": optimizer, "scheduler": schedule})


@pytest.mark.parametrize("loss", ["l1", "huber", "smooth_l1"])
def test_every_loss_resumes(loss: str) -> None:
    check({"loss": loss, "batch_size": 3})


def test_thinned_history_resumes_on_its_stride() -> None:
    check({"record_every": 7})


def test_any_step_will_do() -> None:
    fields = {"optimizer": "Adam", "batch_size": 30, "steps": 14}
    whole = play(fields, iter(()))

    for cut in range(1, 14):
        assert_same(whole, play(fields, iter([cut])))
    assert_same(whole, play(fields, itertools.repeat(1)))


def test_size_of_the_blocks_does_not_matter() -> None:
    fields = {"optimizer": "RMSprop", "batch_size": 9, "stop": {"loss_below": None}}
    whole = play(fields, iter(()), steps_a_block=STEPS * 2)

    assert_same(whole, play(fields, iter([2, 1]), steps_a_block=5))


def test_run_before_its_first_step_resumes() -> None:
    fields = {"optimizer": "Adagrad", "batch_size": 9}
    fresh = prepare(fields)
    kept = prepare(fields).snapshot()
    assert kept is not None
    fresh.resume(kept)
    blocks = list(fresh.blocks())

    assert list(blocks[0].rows.step) == [0]
    assert_same(
        play(fields, iter(())),
        (concatenate(b.rows for b in blocks), fresh.result(StopReason.MAX_STEPS), 0),
    )


def test_run_that_diverges_resumes() -> None:
    fields = {"optimizer": {"name": "SGD", "lr": 1e30}, "stop": {}}
    whole = play(fields, iter(()))

    assert whole[1].stop_reason is StopReason.DIVERGED
    assert_same(whole, play(fields, itertools.repeat(1)))


def test_stop_rules_count_from_the_first_attempt() -> None:
    fields = {"optimizer": {"name": "SGD", "lr": 0.5}, "stop": {"patience": 20}, "steps": 500}
    whole = play(fields, iter(()))

    assert whole[1].stop_reason is StopReason.PATIENCE
    assert whole[1].steps_to_tolerance is not None
    assert_same(whole, play(fields, itertools.repeat(3)))


def test_seconds_of_all_attempts_count() -> None:
    fields: dict[str, Any] = {"optimizer": "Adam", "stop": {"loss_below": None}}
    whole = play(fields, iter(()), steps_a_block=4)
    cut = play(fields, itertools.repeat(2), steps_a_block=4)

    assert cut[1].run_seconds == pytest.approx(whole[1].run_seconds, rel=0.1)


def snapshot_of(fields: dict[str, Any]) -> bytes:
    run = prepare(fields)
    blocks = run.blocks()
    for _ in range(5):
        next(blocks)
    kept = run.snapshot()
    assert kept is not None
    return kept


def test_snapshot_is_small_whatever_the_points() -> None:
    data = {"generate": {"n": 100_000}}

    assert len(snapshot_of({"optimizer": "Adam"})) < 3_000
    assert len(snapshot_of({"data": data, "batch_size": 10_000})) < 10_000


def test_snapshot_leaves_the_run_as_it_was() -> None:
    fields = {"optimizer": "Adam", "batch_size": 7, "zero_grad": False}
    run = prepare(fields)
    blocks = list[Rows]()
    for block in run.blocks():
        blocks.append(block.rows)
        if block.stop_reason is None:
            run.snapshot()

    played = (concatenate(blocks), run.result(StopReason.MAX_STEPS), 0)
    assert_same(play(fields, iter(())), played)


def test_two_runs_of_one_snapshot_share_nothing() -> None:
    fields: dict[str, Any] = {"optimizer": "Adam", "zero_grad": False}
    kept = snapshot_of(fields)
    rows = list[Rows]()
    for _ in range(2):
        run = prepare(fields)
        run.resume(kept)
        rows.append(concatenate(block.rows for block in run.blocks()))

    assert rows[0] == rows[1]


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda kept: kept[:0], "another version"),
        (lambda kept: kept.replace(b"run 1", b"run 2", 1), "another version"),
        (lambda kept: kept[:-1], "damaged"),
        (lambda kept: kept[:-9] + b"7" + kept[-8:], "damaged"),
        (lambda kept: kept + b" " * checkpoint.MAX_BYTES, "damaged"),
    ],
    ids=["empty", "version", "cut", "changed", "large"],
)
def test_snapshot_that_cannot_be_trusted_is_refused(spoil: Any, reason: str) -> None:
    kept = snapshot_of({"optimizer": "Adam"})

    with pytest.raises(CheckpointUnusable, match=reason):
        prepare({"optimizer": "Adam"}).resume(spoil(kept))


def test_snapshot_of_another_torch_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    kept = snapshot_of({"optimizer": "Adam"})
    monkeypatch.setattr(torch, "__version__", "9.9.9")

    with pytest.raises(CheckpointUnusable, match=r"torch 2\..*, and this is .* torch 9\.9\.9"):
        prepare({"optimizer": "Adam"}).resume(kept)


def test_snapshot_names_its_place() -> None:
    kept = snapshot_of({"optimizer": "Adam"})

    assert checkpoint.place_in(kept) == checkpoint.place_of(CPU)
    assert checkpoint.place_of(CPU).startswith(
        f"the torch loop of torch {torch.__version__} on cpu "
    )
    assert checkpoint.place_of(CPU, engine="moments").startswith("the moments engine of torch ")
    with pytest.raises(CheckpointUnusable, match="damaged"):
        checkpoint.place_in(kept[:-1])


def test_snapshot_of_another_engine_is_refused() -> None:
    sealed = checkpoint.seal({}, place=checkpoint.place_of(CPU, engine="moments"))
    assert sealed is not None

    with pytest.raises(CheckpointUnusable, match="made by the moments engine of torch"):
        prepare({"optimizer": "Adam"}).resume(sealed)


@pytest.mark.parametrize("other", ["SparseAdam", "LBFGS"])
def test_snapshot_of_another_spec_is_refused(other: str) -> None:
    with pytest.raises(CheckpointUnusable, match="another spec"):
        prepare({"optimizer": {"name": other}, "batch_size": 3}).resume(
            snapshot_of({"optimizer": "Adam"})
        )


def test_state_that_is_too_large_is_not_sealed() -> None:
    assert checkpoint.seal({"text": "x" * checkpoint.MAX_BYTES}, place="here") is None


def test_state_is_plain_data() -> None:
    with pytest.raises(TypeError, match="cannot hold function"):
        checkpoint.seal({"code": snapshot_of}, place="here")


@pytest.mark.parametrize(
    "tensor",
    [
        torch.tensor(0.1),
        torch.empty(0, 3),
        torch.tensor([[True, False]]),
        torch.tensor([2**62, -1]),
        torch.tensor([float("nan"), float("inf"), -0.0], dtype=torch.float64),
        torch.arange(6.0).reshape(2, 3).T,
    ],
    ids=["scalar", "empty", "bool", "int64", "odd", "transposed"],
)
def test_tensors_come_back_bit_for_bit(tensor: torch.Tensor) -> None:
    sealed = checkpoint.seal({"tensor": tensor, "rest": (1, [None, {3: -0.0}])}, place="here")
    assert sealed is not None
    state = checkpoint.unseal(sealed, place="here", device=CPU)

    assert (state["tensor"].dtype, state["tensor"].shape) == (tensor.dtype, tensor.shape)
    assert repr(state["tensor"].tolist()) == repr(tensor.tolist())
    assert repr(state["rest"]) == "(1, [None, {3: -0.0}])"


def test_sparse_tensors_keep_the_order_of_their_parts() -> None:
    parts = torch.sparse_coo_tensor([[1, 0, 1]], [0.1, 0.2, 0.3], (2,), check_invariants=True)
    sealed = checkpoint.seal({"tensor": parts}, place="here")
    assert sealed is not None
    back = checkpoint.unseal(sealed, place="here", device=CPU)["tensor"]

    assert not back.is_coalesced()
    assert back._values().tolist() == parts._values().tolist()
    assert back._indices().tolist() == [[1, 0, 1]]
