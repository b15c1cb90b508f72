"""The loop that everybody writes, written here once more: none of the service's code runs in it."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

Row = tuple[float, float, float]
"""Loss, a and b."""


class Line(nn.Module):
    """a x + b, in the layout that the optimizer takes."""

    def __init__(self, optimizer: str, a: float, b: float, dtype: torch.dtype) -> None:
        super().__init__()
        self.layout = optimizer
        one = torch.tensor([[a]], dtype=dtype)
        other = torch.tensor([[b]], dtype=dtype)
        if optimizer == "SparseAdam":  # Takes sparse gradients only, which an embedding gives.
            self.table = nn.Parameter(torch.cat([one, other]))
        elif optimizer == "Muon":  # Takes matrices only.
            self.slope, self.intercept = nn.Parameter(one), nn.Parameter(other)
        else:
            self.linear = nn.Linear(1, 1, dtype=dtype)
            with torch.no_grad():
                self.linear.weight.copy_(one)
                self.linear.bias.copy_(other[0])

    def forward(self, x: Tensor) -> Tensor:
        if self.layout == "SparseAdam":
            rows = functional.embedding(torch.tensor([0, 1]), self.table, sparse=True)
            return functional.linear(x, rows[:1], rows[1])
        if self.layout == "Muon":
            return functional.linear(x, self.slope, self.intercept[0])
        line: Tensor = self.linear(x)
        return line

    def read(self) -> tuple[float, float]:
        a, b = torch.cat([part.detach().flatten() for part in self.parameters()]).tolist()
        return a, b


def run_script(
    x: Tensor,
    y: Tensor,
    *,
    start: tuple[float, float],
    steps: int,
    optimizer: dict[str, Any],
    zero_grad: bool = True,
) -> list[Row]:
    """Fit, and return a row before every update and one after the last."""
    net = Line(optimizer["name"], *start, x.dtype)
    given = {name: value for name, value in optimizer.items() if name != "name"}
    stepper = getattr(torch.optim, optimizer["name"])(net.parameters(), **given)
    rows = list[Row]()

    def closure() -> Tensor:
        if zero_grad:
            stepper.zero_grad()
        loss = torch.mean((net(x) - y) ** 2)
        loss.backward()  # type: ignore[no-untyped-call]
        return loss.detach()

    for step in range(steps + 1):
        if zero_grad:
            stepper.zero_grad()
        loss = torch.mean((net(x) - y) ** 2)
        rows.append((loss.item(), *net.read()))
        if step == steps or not all(map(_is_finite, rows[-1])):
            break
        if optimizer["name"] == "LBFGS":
            stepper.step(closure)
        else:
            loss.backward()  # type: ignore[no-untyped-call]
            stepper.step()
    return rows


def _is_finite(value: float) -> bool:
    return abs(value) < float("inf")
