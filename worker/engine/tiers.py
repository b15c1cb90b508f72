"""One run by the fastest engine that proves itself: the plain loop judges every run's first steps.

A run that goes on from a snapshot was judged when it began, and the snapshot says how that ended.

A fast engine takes over only after it has made the same steps as the plain torch loop within the
contract of fidelity.py; one that differs is not used, and the answer says so.
"""

import logging
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import zip_longest
from typing import Any, Final, Protocol

import torch

from app.domain.engines import choose_engine
from app.domain.errors import CheckpointUnusable
from app.domain.result import EngineUsed, RunResult, StopReason, Verified
from app.domain.spec import FitSpec
from app.log import fields
from worker.contract import Block, Run
from worker.engine.autograd import AutogradRun
from worker.engine.exact import solve
from worker.engine.faults import translated
from worker.engine.fidelity import FACTOR, allowed_difference, spread_of
from worker.engine.moments import MomentsRun
from worker.engine.problem import Task
from worker.engine.rules.executors import Compiled, Executor, Interpreted
from worker.engine.rules.kernels import Kernels
from worker.engine.rules.rule import RULES
from worker.engine.rules.run import RulesRun
from worker.engine.watch import Row

JUDGED_STEPS: Final = 4
"""More would tell little more: a rule that is wrong is wrong at once, or when its clock moves."""
_JUDGED_LONGER: Final = {"RAdam": 8}
"""Its rectification begins with the sixth step."""
JUDGED_POINTS: Final = 65_536
"""The plain loop looks at every point in every step; so many are enough to judge a rule by."""

_LOG = logging.getLogger(__name__)


class FastRun(Run, Protocol):
    """A run that can show its first steps."""

    def first_rows(self, steps: int) -> list[Row]:
        """Return the rows of the first steps; afterwards this run may not be used any more."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """How far a fast engine lay from the plain loop.

    Attributes:
        steps: That both made.
        points: That both looked at.
        difference: The largest of their losses' differences, relative to L + sqrt(L S) + eps S.
        fault: Where it was more than rounding allows, None when it never was.
    """

    steps: int
    points: int
    difference: float
    fault: str | None


class TieredRun:
    """Satisfies worker.contract.Run by one of the engines.

    Args:
        fit: What to run.
        task: Points, start and exact answer, shared with the job's other runs.
        index: Position in the job, from 0.
        label: Name in rankings and legends.
        queue: "cpu" or "cuda".
        kernels: Compiled rules; None when there are none.
        clock: Seconds that only rise.
    """

    def __init__(
        self,
        fit: FitSpec,
        *,
        task: Task,
        index: int,
        label: str,
        queue: str,
        kernels: Kernels | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.label = label
        self.steps = fit.steps
        self._fit = fit
        self._task = task
        self._index = index
        self._kernels = kernels
        self._clock = clock
        name, reason = choose_engine(fit, queue=queue)
        self._used = EngineUsed(name=name, reason=reason, version=torch.__version__)
        self._made: Run | None = None

    @property
    def used(self) -> EngineUsed:
        """Which engine computes, and why; asks the judge if nobody has begun or resumed the run."""
        _ = self._run
        return self._used

    @property
    def _run(self) -> Run:
        if self._made is None:
            with translated(self._task.x.device):
                if self._used.name != "torch":
                    self._judge()
                self._made = self._make(self._used.name, self._task)
        return self._made

    def blocks(self, breathe: Callable[[], None] = lambda: None) -> Iterator[Block]:
        """Compute lazily, about 50 ms of steps at a time.

        Args:
            breathe: Called within a step that may take long.
        """
        return self._run.blocks(breathe)

    def result(self, stop_reason: StopReason) -> RunResult:
        """Describe the run as it stands after the last block."""
        return self._run.result(stop_reason).model_copy(update={"engine": self._used.name})

    def snapshot(self) -> bytes | None:
        """Return all that the next block depends on, behind a line about the engine it is for."""
        kept = self._run.snapshot()
        return None if kept is None else self._used.model_dump_json().encode() + b"\n" + kept

    def resume(self, snapshot: bytes) -> None:
        """Stand where a run of the same spec and data stood, on the engine that it ran on.

        Raises:
            CheckpointUnusable: It was made in another version or place, or it is damaged.
        """
        head, _, kept = snapshot.partition(b"\n")
        try:
            used = EngineUsed.model_validate_json(head)
        except ValueError as error:
            raise CheckpointUnusable("the checkpoint does not say which engine made it") from error
        if self._fit.engine in {"auto", used.name}:
            # Engines agree to rounding, not to bits.
            with translated(self._task.x.device):
                self._used, self._made = used, self._make(used.name, self._task)
        self._run.resume(kept)

    def _make(self, engine: str, task: Task) -> FastRun:
        how: dict[str, Any] = {"task": task, "index": self._index, "label": self.label}
        match engine:
            case "rules":
                executor = self._executor()
                return RulesRun(self._fit, executor=executor, clock=self._clock, **how)
            case "moments":
                return MomentsRun(self._fit, clock=self._clock, **how)
            case _:
                return AutogradRun(self._fit, clock=self._clock, **how)

    def _executor(self) -> Executor:
        rule = RULES[self._fit.optimizer.name]
        kernel = self._kernels.load(rule, self._fit.dtype) if self._kernels else None
        return (
            Interpreted(rule, self._fit.dtype)
            if kernel is None
            else Compiled(rule, kernel, self._fit.dtype)
        )

    def _judge(self) -> None:
        """Let the plain loop judge the chosen engine; keep the loop when it differs."""
        task = sample_of(self._task)
        name, optimizer = self._used.name, self._fit.optimizer.name
        steps = judged_steps(optimizer)
        found = compare(
            self._make("torch", task).first_rows(steps),
            self._make(name, task).first_rows(steps),
            task=task,
        )
        if found.fault is not None:
            _LOG.warning(
                "engine.differs",
                extra=fields(engine=name, optimizer=optimizer, detail=found.fault),
            )
            reason = f"the {name} engine was tried first and differed: {found.fault}"
            self._used = self._used.model_copy(update={"name": "torch", "reason": reason})
            return
        verified = Verified(
            against=f"torch.optim.{optimizer} {torch.__version__}",
            steps=found.steps,
            points=found.points,
            max_relative_difference=found.difference,
        )
        self._used = self._used.model_copy(update={"verified": verified})


def judged_steps(optimizer: str) -> int:
    """Return how many steps of an optimizer are held against the plain loop's."""
    return _JUDGED_LONGER.get(optimizer, JUDGED_STEPS)


def sample_of(task: Task) -> Task:
    """Return a task of so few points that the plain loop can try it at once."""
    if len(task.x) <= JUDGED_POINTS:
        return task
    x, y = task.x[:JUDGED_POINTS], task.y[:JUDGED_POINTS]
    return replace(task, x=x, y=y, bowl=solve(x.double(), y.double()))


def compare(expected: list[Row], found: list[Row], *, task: Task) -> Verdict:
    """Set an engine's first rows beside the plain loop's.

    Args:
        expected: Rows of the plain loop, from the start.
        found: Rows of the engine.
        task: What both ran on.
    """
    spread = spread_of(task)
    worst, fault = 0.0, None
    for step, (ours, theirs) in enumerate(zip_longest(found, expected)):
        if ours is None or theirs is None or ours.is_finite != theirs.is_finite:
            fault = f"only one of them went past step {step}"
            break
        if not theirs.is_finite:
            break
        difference = abs(ours.loss - theirs.loss)
        allowed = allowed_difference(theirs.loss, spread(theirs.a, theirs.b), task.x.dtype)
        if not difference <= allowed:
            fault = f"at step {step} the loss was {ours.loss:.17g}, the loop's {theirs.loss:.17g}"
            break
        if difference > 0:
            worst = max(worst, difference / allowed)
    unit = FACTOR * torch.finfo(task.x.dtype).eps
    return Verdict(
        steps=len(expected) - 1, points=len(task.x), difference=worst * unit, fault=fault
    )
