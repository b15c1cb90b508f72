"""The loop's promises: rows, stop rules, blocks, batches, and what a run says of itself."""

import math
from collections.abc import Iterator
from itertools import count
from typing import Any

import pytest
import torch

from app.domain.result import StopReason
from app.domain.spec import FitSpec
from tests.numerics.fitted import fit, same_bits
from worker.contract import Block
from worker.engine.torch_engine import TorchEngine, warm
from worker.engine.torch_run import BLOCK_SECONDS, TorchRun

FAST = {"name": "Adam", "lr": 0.1}


def start_run(**fields: Any) -> Any:
    spec = FitSpec.model_validate(fields)
    return TorchEngine().prepare(spec, columns=None, device="cpu").runs[0]


def test_row_zero_is_the_start_and_row_k_follows_k_updates() -> None:
    fitted = fit(
        init={"a": 0.0, "b": 0.0},
        data=[[0, 1], [1, 3]],
        optimizer={"name": "SGD", "lr": 0.1},
        steps=1,
    )

    assert list(fitted.rows.step) == [0, 1]
    assert list(fitted.rows.loss) == pytest.approx([5.0, 2.825])
    # The gradient at (0, 0) is (-3, -4).
    assert (fitted.rows.a[1], fitted.rows.b[1]) == (pytest.approx(0.3), pytest.approx(0.4))
    assert fitted.rows.batch_loss is None
    assert fitted.result.evaluations == 1
    assert fitted.result.stop_reason == "max_steps"


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_excess_loss_falls_to_the_floor_of_the_number_type(dtype: str) -> None:
    fitted = fit(
        optimizer={"name": "SGD", "lr": "auto"},
        data={"preset": "noisy"},
        dtype=dtype,
        steps=100,
        stop={"loss_below": None},
    )
    floor = (4 * torch.finfo(getattr(torch, dtype)).eps) ** 2

    assert fitted.exact.loss > 1e-3
    assert fitted.result.excess_loss is not None
    assert 0 <= fitted.result.excess_loss < floor
    assert fitted.result.converged
    assert fitted.result.r2 == pytest.approx(fitted.exact.r2)


def test_excess_loss_is_told_for_mse_only() -> None:
    fitted = fit(loss="l1", steps=20)

    assert fitted.rows.excess_loss is None
    assert fitted.result.excess_loss is None
    assert fitted.result.best is not None
    assert fitted.result.best.excess_loss is None
    assert fitted.result.steps_to_tolerance is None
    assert not fitted.result.converged


@pytest.mark.parametrize(
    ("loss", "expected"),
    [("mse", 5.0), ("l1", 2.0), ("huber", (0.5 + 2.5) / 2), ("smooth_l1", (0.5 + 2.5) / 2)],
)
def test_losses_are_means_over_the_points(loss: str, expected: float) -> None:
    fitted = fit(loss=loss, init={"a": 0.0, "b": 0.0}, data=[[0, 1], [1, 3]], steps=1)

    assert fitted.rows.loss[0] == pytest.approx(expected)


def test_stop_at_the_first_row_below_the_loss() -> None:
    whole = fit(optimizer=FAST, steps=200, stop={"loss_below": None})
    stopped = fit(optimizer=FAST, steps=200, stop={"loss_below": 1e-3})
    first = next(i for i, loss in enumerate(whole.rows.loss) if loss < 1e-3)

    assert stopped.result.steps == first
    assert stopped.result.stop_reason == "loss_below"
    assert stopped.result.converged
    assert same_bits(list(stopped.rows.loss), list(whole.rows.loss)[: first + 1])


@pytest.mark.parametrize("optimizer", ["Adam", "SparseAdam", "Muon"])
def test_stop_at_the_first_row_below_the_gradient(optimizer: str) -> None:
    fields: dict[str, Any] = {"init": {"a": 0.0, "b": 0.0}}
    fields["optimizer"] = {"name": optimizer, "lr": 0.1}
    stopped = fit(**fields, steps=300, stop={"loss_below": None, "gradient_below": 0.5})

    assert stopped.result.stop_reason == "gradient_below"
    assert stopped.result.converged
    assert stopped.result.gradient_norm is not None
    assert stopped.result.gradient_norm < 0.5
    before = fit(**fields, steps=stopped.result.steps - 1, stop={"loss_below": None})
    assert before.result.gradient_norm is not None
    assert before.result.gradient_norm >= 0.5
    assert same_bits(list(before.rows.a), list(stopped.rows.a)[:-1])


def test_gradient_rule_looks_at_the_gradient_not_at_its_sum() -> None:
    fields: dict[str, Any] = {"zero_grad": False, "steps": 60, "optimizer": FAST}
    plain = fit(**fields, stop={"loss_below": None})
    ruled = fit(**fields, stop={"loss_below": None, "gradient_below": 1e-12})

    assert same_bits(list(plain.rows.a), list(ruled.rows.a))


def test_patience_counts_from_the_best_step() -> None:
    fitted = fit(optimizer={"name": "SGD", "lr": 1.2}, steps=50, stop={"patience": 5})

    assert fitted.result.stop_reason == "patience"
    assert fitted.result.best is not None
    assert fitted.result.best.step == 0
    assert fitted.result.steps == 5
    assert not fitted.result.converged


def test_divergence_ends_a_run_and_keeps_its_best_row() -> None:
    fitted = fit(optimizer={"name": "SGD", "lr": 1e3}, dtype="float32")

    assert fitted.result.stop_reason == "diverged"
    assert (fitted.result.a, fitted.result.b, fitted.result.equation) == (None, None, None)
    assert fitted.result.loss is None
    assert fitted.result.best is not None
    assert fitted.result.best.step == 0
    assert not math.isfinite(fitted.rows.loss[-1])
    assert fitted.rows.step[-1] == fitted.result.steps


def test_a_rate_beyond_the_floats_is_a_divergence() -> None:
    cyclic = {"name": "CyclicLR", "base_lr": 0.1, "max_lr": 1.0, "mode": "exp_range", "gamma": 1e30}
    fitted = fit(scheduler=cyclic, steps=100)

    assert fitted.result.stop_reason == "diverged"
    assert fitted.rows.a[-1] == math.inf


def test_thinning_keeps_first_and_last_and_forgets_no_best_step() -> None:
    fields: dict[str, Any] = {
        "optimizer": {"name": "Adam", "lr": 0.3},
        "stop": {"loss_below": None},
    }
    whole = fit(steps=100, **fields)
    thinned = fit(steps=100, record_every=40, **fields)
    lowest = min(range(101), key=lambda i: whole.rows.loss[i])

    assert list(thinned.rows.step) == [0, 40, 80, 100]
    assert thinned.result.best is not None
    assert thinned.result.best.step == lowest
    assert thinned.result.best == whole.result.best
    assert thinned.result.steps_to_tolerance == whole.result.steps_to_tolerance


def test_steps_to_tolerance_is_the_first_step_within_it() -> None:
    fitted = fit(optimizer=FAST, steps=200, tolerance=1e-3, stop={"loss_below": None})
    excess = fitted.rows.excess_loss
    assert excess is not None

    first = next(i for i, value in enumerate(excess) if value <= 1e-3 * excess[0])
    assert fitted.result.steps_to_tolerance == first


def test_a_start_at_the_answer_is_within_tolerance() -> None:
    fitted = fit(init={"a": 1.0, "b": 0.0}, steps=5, stop={"loss_below": None})

    assert fitted.result.steps_to_tolerance == 0
    assert fitted.result.loss == 0.0
    assert fitted.result.converged


def test_blocks_are_cut_by_time() -> None:
    # Every look at the clock is a third of a block later than the one before.
    ticks = count()
    fitted = fit(optimizer=FAST, steps=30, clock=lambda: next(ticks) * BLOCK_SECONDS / 3)

    assert 5 <= fitted.num_blocks <= 16
    assert list(fitted.rows.step) == list(range(31))
    assert fitted.result.run_seconds > 0


def test_a_run_can_be_described_before_its_first_block() -> None:
    run = start_run(data={"preset": "noisy"})
    result = run.result(StopReason.CANCELLED)

    assert result.steps == 0
    assert result.stop_reason == "cancelled"
    assert result.loss is not None
    assert result.gradient_norm is not None
    assert result.best is None
    assert not result.converged


def test_a_run_can_be_described_between_blocks() -> None:
    ticks = count()
    spec = FitSpec.model_validate({"optimizer": FAST, "steps": 500})
    engine = TorchEngine(clock=lambda: next(ticks) * 2 * BLOCK_SECONDS)
    run = engine.prepare(spec, columns=None, device="cpu").runs[0]
    blocks: Iterator[Block] = run.blocks()
    block = [next(blocks) for _ in range(4)][-1]
    result = run.result(StopReason.TIME_LIMIT)

    assert block.stop_reason is None
    assert result.steps == block.step
    assert (result.a, result.b, result.loss) == (block.a, block.b, block.loss)
    # Asking changes nothing.
    assert next(blocks).step == block.step + 1


def test_batches_are_dealt_without_repetition() -> None:
    spec = {"data": {"generate": {"n": 10}}, "optimizer": {"name": "SGD", "lr": 0.0}, "steps": 6}
    fitted = fit(batch_size=4, **spec)
    batch_loss = fitted.rows.batch_loss
    assert batch_loss is not None

    # With lr 0 nothing moves: passes of 4 + 4 + 2 points average to the loss on all points.
    assert math.isnan(batch_loss[0])
    for first in (1, 4):
        four, other_four, two = batch_loss[first : first + 3]
        assert (4 * four + 4 * other_four + 2 * two) / 10 == pytest.approx(fitted.rows.loss[0])
    assert batch_loss[1] != batch_loss[4]


def test_batch_order_depends_on_the_seed_alone() -> None:
    spec: dict[str, Any] = {"data": {"generate": {"seed": 4}}, "batch_size": 9, "steps": 20}
    spec["optimizer"] = {"name": "SGD", "lr": 0.0}
    one = fit(init={"a": 0.0, "b": 0.0}, **spec).rows.batch_loss
    again = fit(init={"a": 0.0, "b": 0.0}, **spec).rows.batch_loss
    other = fit(init={"a": 0.0, "b": 0.0}, seed=1, **spec).rows.batch_loss

    assert one is not None
    assert again is not None
    assert other is not None
    assert same_bits(list(one), list(again))
    assert not same_bits(list(one), list(other))


def test_line_search_counts_every_evaluation() -> None:
    plain = fit(optimizer={"name": "LBFGS", "max_iter": 3}, steps=2, data={"preset": "outliers"})
    batched = fit(optimizer={"name": "LBFGS", "max_iter": 1}, steps=4, batch_size=500)

    assert plain.result.evaluations > plain.result.steps
    assert batched.rows.batch_loss is not None
    assert batched.rows.batch_loss[1] > batched.rows.batch_loss[3]


def test_plateau_scheduler_sees_the_loss_before_the_update() -> None:
    plateau = {"name": "ReduceLROnPlateau", "patience": 0, "factor": 0.0}
    fitted = fit(optimizer={"name": "SGD", "lr": 1.1}, scheduler=plateau, steps=10)

    # lr 1.1 overshoots: row 1 is worse than row 0, so after update 2 the rate is 0.
    assert len(set(fitted.rows.a[2:])) == 1
    assert fitted.rows.a[1] != fitted.rows.a[2]


@pytest.mark.parametrize(("momentum", "share"), [(0.0, 2.0), (0.9, 3.8)])
def test_automatic_rate_comes_from_the_curvatures(momentum: float, share: float) -> None:
    optimizer = {"name": "SGD", "lr": "auto", "momentum": momentum}
    fitted = fit(optimizer=optimizer, steps=300, data={"preset": "noisy"})
    single = fit(optimizer=optimizer, steps=300, data=[[2.0, 5.0]])

    assert fitted.result.lr == pytest.approx(share / sum(fitted.problem.hessian_eigenvalues))
    assert fitted.result.converged
    assert single.result.lr == pytest.approx(share / 2 / 10)
    assert single.result.converged


def test_warming_up_takes_seconds_at_most() -> None:
    assert 0 < warm() < 30


def test_warming_up_before_a_fork_makes_no_step(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(TorchRun, "blocks")
    monkeypatch.delattr(TorchRun, "result")

    assert 0 < warm(with_steps=False) < 30
