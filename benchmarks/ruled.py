"""The rules as the benchmarks call them; the one file that knows how they are asked."""

import importlib
import os
import sys
from functools import cache
from pathlib import Path
from typing import Any, Final

from benchmarks.ours import Column, Problem
from worker.contract import Run
from worker.engine.rules.executors import Compiled, Executor, Interpreted
from worker.engine.rules.kernels import Kernels
from worker.engine.rules.rule import RULES
from worker.engine.rules.run import RulesRun

KERNEL_DIR: Final = Path(os.environ.get("FITJOBS_KERNEL_DIR", "~/.cache/fitjobs/kernels"))
MISSING: Final = "the engine makes no sweeps yet"


@cache
def build_kernels() -> Kernels:
    """Return the compiled rules from where a worker keeps them; compiles what is missing."""
    kernels = Kernels(KERNEL_DIR.expanduser())
    if kernels.missing:
        sys.stdout.write(f"compiling {len(kernels.missing)} kernels, two seconds each\n")
        sys.stdout.flush()
        kernels.build()
    return kernels


def make_compiled(optimizer: str) -> Executor:
    """Return what runs a class's rule as machine code.

    Raises:
        LookupError: It could not be compiled.
    """
    kernel = build_kernels().load(RULES[optimizer], "float64")
    if kernel is None:
        raise LookupError(f"no kernel of {optimizer}")
    return Compiled(kernel, "float64")


def make_interpreted(optimizer: str) -> Executor:
    """Return what runs a class's rule as plain Python."""
    return Interpreted(RULES[optimizer], "float64")


def make_run(problem: Problem, executor: Executor) -> Run:
    """Return a run by the rule."""
    return RulesRun(problem.spec, task=problem.task, index=0, label="", executor=executor)


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
