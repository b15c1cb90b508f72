"""The rules as the benchmarks call them; the one file that knows how they are asked."""

import sys
from functools import cache
from typing import Any

from app.settings import Settings
from benchmarks.ours import Column, Problem
from worker.contract import Run
from worker.engine.rules.executors import Compiled, Executor, Interpreted
from worker.engine.rules.kernels import Kernel, Kernels
from worker.engine.rules.lanes import run_lanes
from worker.engine.rules.rule import RULES
from worker.engine.rules.run import RulesRun, bowl_of


@cache
def build_kernels() -> Kernels:
    """Return the compiled rules from where a worker keeps them; compiles what is missing."""
    kernels = Kernels(Settings().kernel_dir.expanduser())
    if kernels.missing:
        sys.stdout.write(f"compiling {len(kernels.missing)} kernels, two seconds each\n")
        sys.stdout.flush()
        kernels.build()
    # Not only what is asked for: the passes over the points are put in their place here.
    kernels.load_all()
    return kernels


@cache
def load_kernel(optimizer: str) -> Kernel:
    """Return the compiled loops around a class's rule in float64.

    Raises:
        LookupError: They could not be compiled.
    """
    kernel = build_kernels().load(RULES[optimizer], "float64")
    if kernel is None:
        raise LookupError(f"no kernel of {optimizer}")
    return kernel


def make_compiled(optimizer: str) -> Executor:
    """Return what runs a class's rule as machine code."""
    return Compiled(RULES[optimizer], load_kernel(optimizer), "float64")


def make_interpreted(optimizer: str) -> Executor:
    """Return what runs a class's rule as plain Python."""
    return Interpreted(RULES[optimizer], "float64")


def make_run(problem: Problem, executor: Executor) -> Run:
    """Return a run by the rule."""
    return RulesRun(problem.spec, task=problem.task, index=0, label="", executor=executor)


def sweep(
    problem: Problem, *, a: Column, b: Column, lr: Column, losses: Column, threads: int = 1
) -> tuple[Any, Any]:
    """Make K runs of Adam, one learning rate each.

    Args:
        problem: Whose bowl.
        a: Slopes to start from, shape (K,).
        b: Intercepts to start from, shape (K,).
        lr: Learning rates, shape (K,).
        losses: Filled but for the first row, the start; shape (steps + 1, K).
        threads: How many share the lanes.
    """
    rule = RULES["Adam"]
    return run_lanes(
        rule,
        load_kernel("Adam"),
        number="float64",
        bowl=bowl_of(problem.task),
        hyperparameters=problem.spec.optimizer.hyperparameters,
        starts_a=a,
        starts_b=b,
        rates=lr,
        steps=losses.shape[0] - 1,
        losses=losses[1:],
        threads=threads,
    )
