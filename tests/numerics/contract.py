"""Judges an engine's history beside the plain loop's: the contract of fidelity, step by step.

The contract counts roundings: at every step 32 of them. What one rounding is worth depends on the
run: a fit that runs away or hunts round its minimum makes every rounding larger from step to step.
So where the contract does not hold as it stands, the loop is asked what one rounding does to itself:
it runs again with its gradients one rounding larger, with roundings of random sign, and with its
points in another order. 32 of those it is. From the step at which the loop breaks the contract
with itself, nobody can say which of the two is right, and only windows are compared.
"""

import math
import random
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch

from app.domain.history import Rows
from app.domain.spec import FitSpec
from tests.numerics.fitted import drain
from worker.engine.autograd import AutogradRun
from worker.engine.fidelity import FACTOR, allowed_difference, spread_of
from worker.engine.problem import Task

NEARBY = 16
"""Steps before and after, within which the worth of a rounding is taken: losses cross zero."""
WINDOW = 50
VOLATILE = frozenset({"RMSprop", "Adadelta", "Rprop"})
"""Once their gradient is rounding noise they turn it into full steps: the contract ends there. The
first two divide it by its own size, and of the third only its sign counts."""

Turn = Callable[[torch.Tensor], torch.Tensor]


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What came of a comparison.

    Attributes:
        faults: Where the contract does not hold, in words.
        judged: How many steps were compared one by one.
        is_plain: Whether the contract held as it stands, at every step.
    """

    faults: list[str]
    judged: int
    is_plain: bool


def play_loop(spec: FitSpec, task: Task, turn: Turn | None = None) -> Rows:
    """Run the plain loop, its gradients as autograd gives them or turned into others."""
    run = AutogradRun(spec, task=task, index=0, label="run")
    for parameter in run._net.parameters() if turn is not None else ():
        parameter.register_hook(turn)  # type: ignore[no-untyped-call]
    return drain(run)[0]


def roundings(task: Task, loop: Rows, other: Rows) -> list[float]:
    """Return how far apart two histories are, in units of the contract, 32 of which are allowed.

    In the unit of the points, to the next power of two: squares of 1e-150 times eps underflow.
    """
    spread, dtype = spread_of(task), task.x.dtype
    found = list[float]()
    for loss, a, b, told in zip(loop.loss, loop.a, loop.b, other.loss, strict=False):
        if loss == told or not (math.isfinite(loss) or math.isfinite(told)):
            found.append(0.0)
            continue
        if not (math.isfinite(loss) and math.isfinite(told)):
            found.append(math.inf)
            continue
        exponent = math.frexp(math.sqrt(spread(a, b)))[1]
        unit_spread = math.ldexp(spread(a, b), -2 * exponent)
        one, two = math.ldexp(loss, -2 * exponent), math.ldexp(told, -2 * exponent)
        allowed = allowed_difference(one, unit_spread, dtype)
        found.append(FACTOR * abs(one - two) / allowed)
    return found


def judge(spec: FitSpec, task: Task, loop: Rows, ours: Rows) -> Verdict:
    """Compare an engine's rows with the plain loop's."""
    units = roundings(task, loop, ours)
    same_end = len(loop) == len(ours)
    if same_end and all(unit <= FACTOR for unit in units):
        return Verdict(faults=[], judged=len(units), is_plain=True)
    own = _own_roundings(spec, task, loop)
    until = next((step for step, unit in enumerate(own) if unit > FACTOR), len(own))
    is_volatile = spec.optimizer.name in VOLATILE
    until = min(until, _noise_floor(task, loop)) if is_volatile else until
    faults = [
        f"step {step}: {ours.loss[step]!r}, the loop's {loop.loss[step]!r}: {unit:.3g} roundings"
        for step, unit in enumerate(units[:until])
        if not unit <= FACTOR * max(1.0, *own[max(0, step - NEARBY) : step + NEARBY + 1])
    ]
    if not same_end and min(len(loop), len(ours)) <= until:
        faults.append(f"ends at step {ours.step[-1]}, the loop at {loop.step[-1]}")
    if not is_volatile:
        faults += _compare_windows(loop.loss[until:], ours.loss[until:])
    return Verdict(faults=faults, judged=min(until, len(units)), is_plain=False)


def _own_roundings(spec: FitSpec, task: Task, loop: Rows) -> list[float]:
    """Return at every step how far the loop lies from itself with roundings of another kind."""
    eps = torch.finfo(task.x.dtype).eps
    chance = random.Random(0)  # noqa: S311  # roundings are no secret
    others = [
        play_loop(spec, task, lambda gradient: gradient * (1.0 + eps)),
        play_loop(spec, task, lambda gradient: gradient * (1.0 + chance.choice((-eps, eps)))),
    ]
    if spec.batch_size is None:
        order = torch.randperm(len(task.x), generator=torch.Generator().manual_seed(0))
        others.append(play_loop(spec, replace(task, x=task.x[order], y=task.y[order])))
    columns = [roundings(task, loop, other) for other in others]
    # Where another one ends earlier, the loop has nothing to be compared with any more.
    ended = math.inf
    return [
        max(column[step] if step < len(column) else ended for column in columns)
        for step in range(len(loop))
    ]


def _noise_floor(task: Task, loop: Rows) -> int:
    """Return the first step whose excess loss is no more than the contract leaves to rounding."""
    spread = spread_of(task)
    assert loop.excess_loss is not None
    columns = zip(loop.loss, loop.excess_loss, loop.a, loop.b, strict=True)
    return next(
        (
            step
            for step, (loss, excess, a, b) in enumerate(columns)
            if excess < allowed_difference(loss, spread(a, b), task.x.dtype)
        ),
        len(loop),
    )


def _compare_windows(loop: Sequence[float], ours: Sequence[float]) -> list[str]:
    """Compare medians where steps cannot be compared."""
    faults = list[str]()
    for start in range(0, min(len(loop), len(ours)) - WINDOW, WINDOW):
        theirs, own = (statistics.median(part[start : start + WINDOW]) for part in (loop, ours))
        if not theirs / 10.0 <= own <= theirs * 10.0:
            faults.append(f"median of a window: {own!r}, the loop's {theirs!r}")
    return faults
