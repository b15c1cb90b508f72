"""Random problems of every condition, and SGD of torch.optim on them step by step."""

import math
from dataclasses import dataclass
from typing import Final

import torch
from hypothesis import strategies as st

from app.domain.data import Columns
from app.domain.diagnosis.bowl import Bowl, Vector
from app.domain.diagnosis.quadratic import Settings
from app.domain.forecast.least_squares import solve

LARGEST_CONDITION: Final = 1e8


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawn:
    """Points, their bowl, and a start.

    Attributes:
        columns: The points.
        bowl: Curvatures and minimum.
        start: (a, b) of step 0.
    """

    columns: Columns
    bowl: Bowl
    start: Vector

    @property
    def error(self) -> Vector:
        return self.bowl.error(self.start)


@st.composite
def problems(draw: st.DrawFn, *, largest: float = LARGEST_CONDITION) -> Drawn:
    """Draw three to eight points whose bowl has a condition number between 1 and `largest`.

    x far from zero and x spread wide are the two ways to a large one. The start lies 1 away along
    the steepest axis, so that a step which overshoots is seen, and up to 1 along the other.
    """
    condition = math.exp(draw(st.floats(0.0, math.log(largest))))
    shape = draw(st.lists(st.floats(-1.0, 1.0), min_size=3, max_size=8, unique=True))
    centre = sum(shape) / len(shape)
    spread = math.sqrt(sum((s - centre) ** 2 for s in shape) / len(shape))
    if spread < 1e-3:
        shape, centre, spread = [-1.0, 0.0, 1.0], 0.0, math.sqrt(2 / 3)
    unit = [(s - centre) / spread for s in shape]
    if draw(st.booleans()):
        # H = 2 diag(condition, 1)
        x = [math.sqrt(condition) * u for u in unit]
    else:
        # Variance 1 around m: (m^2 + 2 + m sqrt(m^2 + 4)) / 2 is the root of the condition number.
        root = math.sqrt(condition)
        x = [(root - 1) / math.sqrt(root) + u for u in unit]
    noise = draw(st.lists(st.floats(-0.5, 0.5), min_size=len(x), max_size=len(x)))
    y = [2 * value + 1 + wild for value, wild in zip(x, noise, strict=True)]
    columns = Columns.model_validate({"x": x, "y": y})
    solved = solve(columns.x, columns.y)
    assert solved is not None
    bowl = Bowl.of(solved[1], solved[0])
    along = bowl.from_axes((1.0, draw(st.floats(-1.0, 1.0))))
    return Drawn(
        columns=columns,
        bowl=bowl,
        start=(bowl.minimum[0] + along[0], bowl.minimum[1] + along[1]),
    )


def settings(*, lr: float = 1.0) -> st.SearchStrategy[Settings]:
    """Draw what torch.optim.SGD accepts beside a learning rate, without weight decay."""
    momentum = st.sampled_from([0.0, 0.3, 0.5, 0.9])
    plain = st.builds(
        Settings, lr=st.just(lr), momentum=momentum, dampening=st.sampled_from([0.0, 0.0, 0.3])
    )
    ahead = st.sampled_from([Settings(lr=lr, momentum=mu, nesterov=True) for mu in (0.3, 0.9)])
    return st.one_of(plain, ahead)


def torch_sgd(drawn: Drawn, settings: Settings, *, steps: int) -> list[Vector]:
    """Return (a, b) after each step of torch.optim.SGD with gradients by autograd; row 0 is the start."""
    x = torch.tensor(list(drawn.columns.x), dtype=torch.float64)
    y = torch.tensor(list(drawn.columns.y), dtype=torch.float64)
    rows = torch.stack((x, torch.ones_like(x)), dim=1)
    line = torch.tensor(drawn.start, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.SGD(
        [line],
        lr=settings.lr,
        momentum=settings.momentum,
        dampening=settings.dampening,
        weight_decay=settings.weight_decay,
        nesterov=settings.nesterov,
        foreach=False,
    )
    path = [drawn.start]
    for _ in range(steps):
        optimizer.zero_grad()
        torch.autograd.backward(torch.mean((rows @ line - y) ** 2))
        optimizer.step()
        a, b = line.tolist()
        path.append((a, b))
    return path
