"""How a and b are laid out: most optimizers take any layout, Muon and SparseAdam do not.

Every layout holds a before b in its parameters, and computes a x + b by the same torch call.
"""

import math
from collections.abc import Iterable
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from app.domain.spec import Start


class MatrixLine(nn.Module):
    """a and b as two (1, 1) matrices: Muon takes nothing else."""

    def __init__(self, *, dtype: torch.dtype, device: torch.device) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(1, 1, dtype=dtype, device=device))
        self.bias = nn.Parameter(torch.empty(1, 1, dtype=dtype, device=device))

    def forward(self, x: Tensor) -> Tensor:
        """Return a x + b."""
        return functional.linear(x, self.weight, self.bias[0])


class SparseLine(nn.Module):
    """a and b as the rows of an embedding: only that gives SparseAdam the gradients it takes."""

    def __init__(self, *, dtype: torch.dtype, device: torch.device) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(2, 1, dtype=dtype, device=device))
        self.index = torch.arange(2, device=device)

    def forward(self, x: Tensor) -> Tensor:
        """Return a x + b."""
        rows = functional.embedding(self.index, self.weight, sparse=True)
        return functional.linear(x, rows[:1], rows[1])


def make_line(
    optimizer: str, *, start: Start, dtype: torch.dtype, device: torch.device
) -> nn.Module:
    """Return a line in the layout that an optimizer takes, at its start.

    Args:
        optimizer: Class of torch.optim.
        start: First a and b.
        dtype: Of the parameters.
        device: Where they live.
    """
    net: nn.Module
    match optimizer:
        case "Muon":
            net = MatrixLine(dtype=dtype, device=device)
        case "SparseAdam":
            net = SparseLine(dtype=dtype, device=device)
        case _:
            # By way of "meta", where nn.Linear draws nothing from torch's global generator.
            net = nn.Linear(1, 1, dtype=dtype, device="meta").to_empty(device=device)
    move_line(net, a=start.a, b=start.b)
    return net


def move_line(net: nn.Module, *, a: float, b: float) -> None:
    """Set a and b."""
    values = [a, b]
    with torch.no_grad():
        for part in net.parameters():
            count = part.numel()
            part.copy_(torch.tensor(values[:count], dtype=part.dtype).reshape(part.shape))
            del values[:count]


def gradient_parts(net: nn.Module) -> list[Tensor]:
    """Return the tensors that hold a net's gradient, for a before b; zeros where there was none.

    What is written into them is the gradient: for an embedding they are the values of its rows.
    """
    parts: list[Tensor] = []
    for parameter in net.parameters():
        if parameter.grad is None:
            parameter.grad = _zeros_for(net, parameter)
        gradient = parameter.grad
        parts.append(gradient.values() if gradient.is_sparse else gradient)
    return parts


def _zeros_for(net: nn.Module, parameter: Tensor) -> Tensor:
    zeros = torch.zeros_like(parameter)
    if not isinstance(net, SparseLine):
        return zeros
    make = cast("Any", torch).sparse_coo_tensor  # its own types are partly unknown
    rows: Tensor = make(
        net.index[None], zeros, zeros.shape, is_coalesced=True, check_invariants=True
    )
    return rows


def read_row(loss: Tensor, net: nn.Module) -> tuple[float, float, float]:
    """Return loss, a and b with one look at the device."""
    parts = [loss.reshape(1), *(part.flatten() for part in net.parameters())]
    value, a, b = torch.cat([part.detach() for part in parts]).cpu().unbind()
    return value.item(), a.item(), b.item()


def norm_of(gradient: Iterable[Tensor]) -> float:
    """Return the Euclidean norm of a gradient that comes in parts, dense or sparse."""
    parts = [part.to_dense() if part.is_sparse else part for part in gradient]
    of_a, of_b = torch.cat([part.flatten() for part in parts]).cpu().unbind()
    return math.hypot(of_a.item(), of_b.item())
