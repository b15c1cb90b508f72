"""Judges an engine's history beside the plain loop's: the contract of fidelity, step by step.

The contract counts roundings: at every step 32 of them. What one rounding is worth depends on the
run: a fit that runs away or hunts round its minimum makes every rounding larger from step to step.
So where the contract does not hold as it stands, the loop is asked what one rounding does to itself:
it runs again with every gradient, and with every residual, one rounding off to a random side, and
with its points in another order. 32 of those it is. From the step at which the loop breaks the
contract with itself, nobody can say which of the two is right, and only windows are compared.
"""

import math
import random
import statistics
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

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
Turn = Callable[[torch.Tensor], torch.Tensor]
"""Of one gradient into another."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What came of a comparison.

    Attributes:
        faults: Where the contract does not hold, in words.
        judged: How many steps were compared one by one.
        is_plain: Whether the contract held as it stands, at every step.
        loop_itself: How far the loop lies from itself, in units of which 32 are the contract's; not
            asked where the contract holds.
    """

    faults: list[str]
    judged: int
    is_plain: bool
    loop_itself: float = math.nan


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


def judge(task: Task, loop: Rows, ours: Rows, own: "Itself") -> Verdict:
    """Compare an engine's rows with the plain loop's, which `own` is about."""
    units = roundings(task, loop, ours)
    same_end = len(loop) == len(ours)
    if same_end and all(unit <= FACTOR for unit in units):
        return Verdict(faults=[], judged=len(units), is_plain=True)
    worth = own.roundings
    until = next((step for step, unit in enumerate(worth) if unit > FACTOR), len(worth))
    faults = [
        f"step {step}: {ours.loss[step]!r}, the loop's {loop.loss[step]!r}: {unit:.3g} roundings"
        for step, unit in enumerate(units[:until])
        if not unit <= FACTOR * max(1.0, *worth[max(0, step - NEARBY) : step + NEARBY + 1])
    ]
    if not same_end and min(len(loop), len(ours)) <= until:
        faults.append(f"ends at step {ours.step[-1]}, the loop at {loop.step[-1]}")
    known = [rows.loss[until:] for rows in (loop, *own.others)]
    faults += _compare_windows(known, ours.loss[until:])
    judged = min(until, len(units))
    return Verdict(faults=faults, judged=judged, is_plain=False, loop_itself=max(worth))


class Itself:
    """How far the loop lies from itself when its roundings fall to other sides.

    Args:
        spec: What is run.
        task: Its points.
        loop: The rows of the loop as it is.
    """

    def __init__(self, spec: FitSpec, task: Task, loop: Rows) -> None:
        self._spec = spec
        self._task = task
        self._loop = loop

    @cached_property
    def roundings(self) -> list[float]:
        """At every step, in units of which the contract allows 32; the largest of all ways."""
        columns = [roundings(self._task, self._loop, other) for other in self.others]
        # Where another one ends earlier, the loop has nothing to be compared with any more.
        ended = math.inf
        return [
            max(column[step] if step < len(column) else ended for column in columns)
            for step in range(len(self._loop))
        ]

    @cached_property
    def others(self) -> list[Rows]:
        """The loop's rows with other roundings."""
        return list(self._played())

    def _played(self) -> Iterator[Rows]:
        spec, task = self._spec, self._task
        eps = torch.finfo(task.x.dtype).eps
        chance = random.Random(0)  # noqa: S311  # roundings are no secret
        yield play_loop(spec, task, lambda gradient: gradient * (1.0 + chance.choice((-eps, eps))))
        yield self._with_rounded_residuals()
        if spec.batch_size is None and len(task.x) > 1:
            order = torch.randperm(len(task.x), generator=torch.Generator().manual_seed(0))
            yield play_loop(spec, replace(task, x=task.x[order], y=task.y[order]))

    def _with_rounded_residuals(self) -> Rows:
        run = AutogradRun(self._spec, task=self._task, index=0, label="run")
        generator = torch.Generator().manual_seed(0)
        eps = torch.finfo(self._task.x.dtype).eps

        def loss(line: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
            side = torch.randint(0, 2, y.shape, generator=generator, dtype=y.dtype) * 2.0 - 1.0
            rounding = eps * side * (line.detach().abs() + y.abs())
            return torch.mean((line - y + rounding) ** 2)

        run._loss = loss
        return drain(run)[0]


def _compare_windows(known: Sequence[Sequence[float]], ours: Sequence[float]) -> list[str]:
    """Compare medians where steps cannot be compared: ours with those of the loop in all ways."""
    faults = list[str]()
    for start in range(0, min(map(len, (*known, ours))) - WINDOW, WINDOW):
        theirs = [statistics.median(part[start : start + WINDOW]) for part in known]
        own = statistics.median(ours[start : start + WINDOW])
        if not min(theirs) / 10.0 <= own <= max(theirs) * 10.0:
            faults.append(f"median of a window: {own!r}, the loop's {theirs!r}")
    return faults
