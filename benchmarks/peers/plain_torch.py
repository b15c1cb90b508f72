"""The loop of the answer that this service grew from, as written: what everybody would run."""

import torch
from torch import Tensor, nn


def fit_adam(
    x: Tensor, y: Tensor, *, steps: int, lr: float, start: tuple[float, float]
) -> list[float]:
    """Return the loss before each step.

    Args:
        x: Abscissae, shape (n, 1, 1); its dtype is the loop's.
        y: Ordinates, likewise.
        steps: How many.
        lr: Learning rate.
        start: Slope and intercept.
    """
    net = nn.Linear(1, 1, dtype=x.dtype)
    with torch.no_grad():
        net.weight.fill_(start[0])
        net.bias.fill_(start[1])
    optimizer = _make_adam(net, lr=lr)
    losses = list[float]()
    for _ in range(steps):
        optimizer.zero_grad()
        loss = torch.mean((net(x) - y) ** 2)
        torch.autograd.backward(loss)
        optimizer.step()
        losses.append(float(loss.detach()))
    return losses


def _make_adam(net: nn.Module, *, lr: float) -> torch.optim.Optimizer:
    return torch.optim.Adam(params=net.parameters(), lr=lr)
