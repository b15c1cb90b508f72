"""Our engine as the benchmarks call it; the one file that knows how it is asked."""

import importlib
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray

from app.domain.catalogue import OPTIMIZERS
from app.domain.spec import FitSpec
from benchmarks.bowl import Moments
from worker.contract import Run
from worker.engine.autograd import AutogradRun
from worker.engine.problem import Task, load

Column = NDArray[np.float64]

MISSING: Final = "the compiled rules are not built here"
START: Final = (0.3, -0.4)
RATE: Final = 1e-3
WITHOUT_RULE: Final = frozenset({"Adafactor", "LBFGS", "Muon", "SparseAdam"})
RULED: Final = tuple(name for name in OPTIMIZERS if name not in WITHOUT_RULE)
"""The classes of torch.optim that have an update rule."""


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
            "data": {"generate": {"n": points, "a": 2.0, "b": 1.0, "noise": 0.1}},
            "optimizer": {"name": optimizer, "lr": RATE},
            "steps": steps,
            "init": {"a": START[0], "b": START[1]},
            "stop": {"loss_below": None},
            "record_every": 1,
        }
    )
    task = load(spec, columns=None, device=torch.device("cpu"))
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


def find_kernel(optimizer: str) -> Any:  # noqa: ANN401 - the engine's own compiled object
    """Return the compiled rule of a class in float64, which may take seconds; None without it."""
    kernels = _load("kernels")
    return None if kernels is None else kernels.load(optimizer, "float64")


def can_interpret() -> bool:
    """Tell whether the rules can run without compilation."""
    return _load("run") is not None


def make_run(problem: Problem, *, kernel: Any) -> Run:  # noqa: ANN401 - the engine's own
    """Return a run by the rule: compiled with a kernel, interpreted with None."""
    run: Run = _load("run").RulesRun(
        problem.spec, task=problem.task, index=0, label="", kernel=kernel
    )
    return run


def make_plain_run(problem: Problem) -> Run:
    """Return a run by the service's own plain torch loop."""
    return AutogradRun(problem.spec, task=problem.task, index=0, label="")


def drain(run: Run) -> int:
    """Compute a run to its end, rows and all; return how many rows there were."""
    return sum(len(block.rows) for block in run.blocks())


def can_sweep() -> bool:
    """Tell whether many runs can be made at once."""
    return _load("lanes") is not None


def run_lanes(
    problem: Problem, *, a: Column, b: Column, lr: Column, losses: Column, threads: int = 1
) -> tuple[Any, Any]:
    """Make K runs of Adam, one learning rate each.

    Args:
        problem: Whose bowl.
        a: Slopes to start from, shape (K,).
        b: Intercepts to start from, shape (K,).
        lr: Learning rates, shape (K,).
        losses: Filled; shape (steps + 1, K).
        threads: How many share the lanes.
    """
    lanes: tuple[Any, Any] = _load("lanes").run_lanes(
        "Adam",
        bowl=problem.task.bowl,
        starts_a=a,
        starts_b=b,
        lrs=lr,
        steps=losses.shape[0] - 1,
        hyperparameters=problem.spec.optimizer.hyperparameters,
        dtype="float64",
        losses=losses,
        threads=threads,
    )
    return lanes


@cache
def _load(room: str) -> Any:  # noqa: ANN401 - a module that may not be there yet
    try:
        return importlib.import_module(f"worker.engine.rules.{room}")
    except ModuleNotFoundError:
        return None
