"""A run that is cut and resumed, again and again, equals the run that was left alone, bit for bit."""

import itertools
from typing import Any

import pytest
import torch

from app.domain.catalogue import OPTIMIZERS, SCHEDULERS
from app.domain.errors import CheckpointUnusable
from app.domain.history import Rows, concatenate
from app.domain.result import StopReason
from tests.numerics.cut import (
    LOADS,
    OPTIMIZER_CASES,
    SCHEDULES,
    STEPS,
    assert_same,
    case_name,
    check,
    play,
    prepare,
)
from worker.engine import checkpoint

CPU = torch.device("cpu")
# One that counts steps, one that counts cycles, one that looks at the loss.
SAMPLE = ("MultiStepLR", "CosineAnnealingWarmRestarts", "ReduceLROnPlateau")


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


def test_place_names_engine_torch_and_processor() -> None:
    assert checkpoint.place_of(CPU).startswith(
        f"the torch loop of torch {torch.__version__} on cpu "
    )
    assert checkpoint.place_of(CPU, engine="moments").startswith("the moments engine of torch ")


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
