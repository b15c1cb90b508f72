"""The points that everybody fits, and our own plain loop on them."""

from dataclasses import dataclass
from functools import cache
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray

from app.domain.spec import FitSpec, Start
from benchmarks.bowl import Moments
from worker.contract import Run
from worker.engine.autograd import AutogradRun
from worker.engine.exact import solve
from worker.engine.problem import Task

Column = NDArray[np.float64]

START: Final = (0.3, -0.4)
RATE: Final = 1e-3


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """The same points for everybody.

    Attributes:
        spec: The fit as a client asks for it, float64, every step recorded, no early stop.
        task: Points and bowl as our engine has them.
        x: Abscissae, shape (n,), float64.
        y: Ordinates, likewise.
        moments: The bowl as the peers have it.
    """

    spec: FitSpec
    task: Task
    x: Column
    y: Column
    moments: Moments


@cache
def make_problem(*, points: int, steps: int, optimizer: str = "Adam") -> Problem:
    """Draw y = 2 x + 1 with noise, so that the minimum is not zero and nothing becomes denormal.

    Args:
        points: How many, n.
        steps: Steps of the fit.
        optimizer: A class of torch.optim, with its default settings but for Adam's own rate.
    """
    spec = FitSpec.model_validate(
        {
            "optimizer": {"name": optimizer, "lr": RATE},
            "steps": steps,
            "init": {"a": START[0], "b": START[1]},
            "stop": {"loss_below": None},
            "record_every": 1,
        }
    )
    # Drawn here and not by the spec, whose generator ends at a million points.
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(points, 1, 1, dtype=torch.float64, generator=generator)
    noise = torch.randn(points, 1, 1, dtype=torch.float64, generator=generator)
    y = 2.0 * x + 1.0 + 0.1 * noise
    task = Task(x=x, y=y, start=Start(a=START[0], b=START[1]), bowl=solve(x, y))
    exact, problem = task.bowl.exact, task.bowl.problem
    return Problem(
        spec=spec,
        task=task,
        x=task.x.flatten().numpy(),
        y=task.y.flatten().numpy(),
        moments=Moments(
            mean_x=problem.mean_x,
            variance_x=problem.variance_x,
            a=exact.a,
            b=exact.b,
            loss=exact.loss,
        ),
    )


def make_plain_run(problem: Problem) -> Run:
    """Return a run by the service's own plain torch loop."""
    return AutogradRun(problem.spec, task=problem.task, index=0, label="")


def drain(run: Run) -> int:
    """Compute a run to its end, rows and all; return how many rows there were."""
    return sum(len(block.rows) for block in run.blocks())
