"""The engine against the seed's own texts, run literally: question and answer, bit for bit."""

from collections.abc import Callable

import pytest
import torch
from torch import nn

from app.domain.presets import COMPARISON_PRESETS
from tests.numerics.fitted import compare, fit, same_bits

OptimizerMaker = Callable[[nn.Module], torch.optim.Optimizer]


class SimpleNet(nn.Module):
    """The question's class."""

    def __init__(self) -> None:
        super().__init__()
        self.f1 = nn.Linear(1, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.f1(x)


QUESTION: dict[str, OptimizerMaker] = {
    "Adam": lambda net: torch.optim.Adam(params=net.parameters()),
    "SGD": lambda net: torch.optim.SGD(params=net.parameters(), lr=0.0001),
    "Adagrad": lambda net: torch.optim.Adagrad(params=net.parameters()),
    "ASGD": lambda net: torch.optim.ASGD(params=net.parameters()),
}


def ask(make: OptimizerMaker, *, seed: int, steps: int) -> list[float]:
    """Run the question's loop: one sample, the gradient never zeroed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        X = torch.randn(1000, 1, 1)  # noqa: N806  # the question's name
        net = SimpleNet()
    optimizer = make(net)
    losses = []
    optimizer.zero_grad()
    for _ in range(steps):
        for b in range(1):
            loss = torch.mean((net.forward(X[b, :, :]) - X[b, :, :]) ** 2)
            loss.backward()
            optimizer.step()
            losses.append(float(loss.detach()))
    return losses


def answer(make: OptimizerMaker, *, seed: int, steps: int) -> tuple[list[float], int | None]:
    """Run the answer's loop; return its losses and the step at which it broke off."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        X = torch.randn(1000, 1, 1)  # noqa: N806  # the question's name
        net = SimpleNet()
    optimizer = make(net)
    losses = []
    for step in range(steps):
        optimizer.zero_grad()
        loss = torch.mean((net.forward(X) - X) ** 2)
        losses.append(float(loss.detach()))
        if loss < 1e-8:
            return losses, step
        loss.backward()
        optimizer.step()
    return losses, None


@pytest.mark.parametrize(
    ("preset", "seed"),
    [("weak-optimizers", 0), ("weak-optimizers", 1), ("weak-optimizers-20000", 0)],
)
@pytest.mark.timeout(300)  # 160,000 plain steps, half of them the literal script's
def test_question_is_answered_bit_for_bit(preset: str, seed: int) -> None:
    fields = dict(COMPARISON_PRESETS[preset][1])
    runs = compare(**fields, seed=seed)

    for (rows, _), make in zip(runs, QUESTION.values(), strict=True):
        asked = ask(make, seed=seed, steps=fields["steps"])
        assert same_bits(list(rows.loss)[:-1], asked)


@pytest.mark.parametrize("name", QUESTION)
def test_answer_is_reproduced_bit_for_bit(name: str) -> None:
    optimizer = {"name": name, "lr": 0.0001} if name == "SGD" else {"name": name}
    fitted = fit(optimizer=optimizer, dtype="float32", steps=500)
    losses, stopped_at = answer(QUESTION[name], seed=0, steps=500)

    assert same_bits(list(fitted.rows.loss)[: len(losses)], losses)
    if stopped_at is not None:
        assert fitted.result.steps == stopped_at
        assert fitted.result.stop_reason == "loss_below"


@pytest.mark.parametrize(("seed", "steps"), [(0, 402), (1, 2773), (2, 5220)])
def test_adam_needs_the_published_number_of_steps(seed: int, steps: int) -> None:
    fitted = fit(dtype="float32", seed=seed)

    assert fitted.result.steps == steps
    assert fitted.result.stop_reason == "loss_below"
    assert len(fitted.rows) == steps + 1


def test_engine_leaves_the_global_generator_alone() -> None:
    before = torch.random.get_rng_state()

    for optimizer in ("Adam", "Muon", "SparseAdam"):
        fit(optimizer=optimizer, steps=2, batch_size=10)

    assert torch.equal(torch.random.get_rng_state(), before)
