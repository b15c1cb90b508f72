"""Mini-batches as moments: the order of Batches, and what plain sums over each batch say."""

from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import torch

from app.domain.spec import FitSpec
from worker.engine.batch_moments import BatchMoments
from worker.engine.batches import Batches
from worker.engine.problem import Task, load

SEED = 5


def task_of(**fields: Any) -> Task:
    spec = FitSpec.model_validate({"data": {"preset": "far", "points": 100}, **fields})
    return load(spec, columns=None, device=torch.device("cpu"))


def moments_of(task: Task, x: list[float], y: list[float]) -> list[Fraction]:
    """Return the five moments of a batch without any rounding."""
    bowl, n = task.bowl, len(x)
    a = Fraction(bowl.exact.a) + Fraction(bowl.remainder_a)
    b = Fraction(bowl.exact.b) + Fraction(bowl.remainder_b)
    xs = [Fraction(v) for v in x]
    rs = [a * v + b - Fraction(w) for v, w in zip(xs, y, strict=True)]
    mean_x, mean_r = Fraction(sum(xs), n), Fraction(sum(rs), n)
    dx, dr = [v - mean_x for v in xs], [v - mean_r for v in rs]
    return [
        mean_x,
        Fraction(sum(v * v for v in dx), n),
        mean_r,
        Fraction(sum(v * w for v, w in zip(dx, dr, strict=True)), n),
        Fraction(sum(w * w for w in dr), n),
    ]


@pytest.mark.parametrize("size", [1, 7, 25, 64, 99])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("preset", ["noisy", "far", "outliers"])
def test_moments_are_those_of_the_batches_that_batches_deals(
    preset: str, dtype: str, size: int
) -> None:
    task = task_of(data={"preset": preset, "points": 100}, dtype=dtype)
    batches = Batches(task.x, task.y, size=size, seed=SEED)
    count = 2 * -(-100 // size) + 1
    rows = BatchMoments(task, size=size, seed=SEED).take(count)
    # What rounding one residual may do, whose terms are as large as y.
    y_size = float(task.y.double().abs().max())
    noise_r = 4 * 2**-52 * y_size

    assert rows.shape == (count, 5)
    for row in rows:
        x, y = (part.flatten().double().tolist() for part in batches.deal())
        exact = [float(value) for value in moments_of(task, x, y)]
        spread_x, spread_r = exact[1] ** 0.5, exact[4] ** 0.5
        x_size = max(map(abs, x))
        noise_x = 2 * 2**-52 * x_size
        assert row[0] == pytest.approx(exact[0], rel=1e-15)
        assert abs(row[1] - exact[1]) <= 2e-15 * exact[1] + noise_x * spread_x + noise_x**2
        assert abs(row[2] - exact[2]) <= noise_r
        assert abs(row[3] - exact[3]) <= (
            2e-15 * spread_x * spread_r
            + noise_r * spread_x
            + noise_x * spread_r
            + noise_x * noise_r
        )
        assert abs(row[4] - exact[4]) <= 2e-15 * exact[4] + 2 * noise_r * spread_r + noise_r**2


def test_gradient_and_loss_of_a_batch_follow_from_its_moments() -> None:
    task = task_of(data="noisy")
    bowl = task.bowl
    row = BatchMoments(task, size=32, seed=SEED).take(1)[0]
    x, y = (part.flatten() for part in Batches(task.x, task.y, size=32, seed=SEED).deal())
    a, b = (torch.tensor(v, dtype=torch.float64, requires_grad=True) for v in (0.3, -2.0))
    loss = torch.mean((a * x + b - y) ** 2)
    torch.autograd.backward(loss)
    error_a, error_b = 0.3 - bowl.exact.a, -2.0 - bowl.exact.b
    mean_x, var_x, mean_r, cov_x_r, var_r = row
    d = error_a * mean_x + error_b + mean_r

    assert a.grad is not None
    assert b.grad is not None
    assert 2 * (var_x * error_a + cov_x_r + mean_x * d) == pytest.approx(a.grad.item(), rel=1e-14)
    assert 2 * d == pytest.approx(b.grad.item(), rel=1e-14)
    assert var_r + 2 * error_a * cov_x_r + error_a**2 * var_x + d * d == pytest.approx(
        loss.item(), rel=1e-14
    )


@pytest.mark.parametrize("size", [7, 25])
def test_any_number_may_be_taken_at_a_time(size: int) -> None:
    task = task_of()
    whole = BatchMoments(task, size=size, seed=SEED).take(60)
    dealer = BatchMoments(task, size=size, seed=SEED)
    parts = [dealer.take(count) for count in (0, 1, 2, 27, 30)]

    assert np.array_equal(np.concatenate(parts), whole)


@pytest.mark.parametrize("taken", [0, 1, 15, 31, 45])
def test_dealing_goes_on_from_a_state(taken: int) -> None:
    task = task_of()
    dealer = BatchMoments(task, size=7, seed=SEED)
    dealer.take(taken)
    other = BatchMoments(task, size=7, seed=SEED)
    other.take(3)
    other.restore(dealer.state())

    # A state before the first pass shuffles it again at once, from the same generator.
    assert np.array_equal(other.take(40), dealer.take(40))


def test_states_are_those_of_batches() -> None:
    task = task_of()
    batches = Batches(task.x, task.y, size=7, seed=SEED)
    dealer = BatchMoments(task, size=7, seed=SEED)
    for _ in range(17):
        batches.deal()
        dealer.take(1)
    one, other = batches.state(), dealer.state()

    assert one["dealt"] == other["dealt"] == 2
    assert isinstance(one["generator"], torch.Tensor)
    assert isinstance(other["generator"], torch.Tensor)
    assert torch.equal(one["generator"], other["generator"])
