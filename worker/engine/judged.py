"""Lanes held against the plain torch loop: a few runs of an optimizer answer for all of them."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch

from app.domain.curvature import resolve_lr
from app.domain.engines import MIXED, choose_engine
from app.domain.result import EngineUsed, Verified
from app.domain.spec import FitSpec
from app.log import fields
from worker.engine.autograd import AutogradRun
from worker.engine.bowls import Bowls
from worker.engine.problem import Task
from worker.engine.rules.run import bowl_of
from worker.engine.rules.strips import Plan
from worker.engine.slices import Lot, begin
from worker.engine.tiers import compare, judged_steps, sample_of
from worker.engine.watch import Row

_LOG = logging.getLogger(__name__)

_IN_LANES: Final = "its rule, written out, makes many runs at a time"
_UNCOMPILED: Final = "its rule is not compiled here yet, so that each run is made by itself"
_BY_ITSELF: Final = "each run is made by itself"


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """How the runs of one optimizer are made.

    Attributes:
        plan: In lanes; None when each run is made by itself.
        used: The engine, and why.
    """

    plan: Plan | None
    used: EngineUsed

    @property
    def is_final(self) -> bool:
        """Tell whether this will not change: a rule that is not compiled yet may be soon."""
        return self.used.reason != _UNCOMPILED

    @property
    def is_refused(self) -> bool:
        """Tell whether lanes differed from the plain loop."""
        return self.plan is None and self.used.name == "torch"


def choose_way(
    fit: FitSpec,
    plan: Plan | None,
    *,
    queue: str,
    points: int,
    samples: Sequence[tuple[FitSpec, Task]],
) -> Way:
    """Decide how the runs of one optimizer are made, and try it on a few of them.

    Args:
        fit: Any of the runs.
        plan: How lanes would make them; None when that is not compiled.
        queue: "cpu" or "cuda".
        points: Most points of a run.
        samples: Runs that are tried.
    """
    name, reason = choose_engine(fit, queue=queue)
    used = EngineUsed(name=name, reason=f"{reason}; {_BY_ITSELF}", version=torch.__version__)
    if name != "rules" or (fit.batch_size is not None and fit.batch_size < points):
        return Way(plan=None, used=used)
    if plan is None:
        return Way(plan=None, used=used.model_copy(update={"reason": _UNCOMPILED}))
    worst: Verified | None = None
    for sample, task in samples:
        verified, fault = _judge(sample, sample_of(task), plan)
        if fault is not None:
            _LOG.warning(
                "engine.differs",
                extra=fields(engine="lanes", optimizer=fit.optimizer.name, detail=fault),
            )
            reason = f"lanes were tried first and differed: {fault}; {_BY_ITSELF}"
            return Way(plan=None, used=used.model_copy(update={"name": "torch", "reason": reason}))
        if worst is None or verified.max_relative_difference > worst.max_relative_difference:
            worst = verified
    return Way(plan=plan, used=used.model_copy(update={"reason": _IN_LANES, "verified": worst}))


def _judge(fit: FitSpec, task: Task, plan: Plan) -> tuple[Verified, str | None]:
    """Let the plain loop make the first steps of a run, and lanes the same."""
    steps = judged_steps(fit.optimizer.name)
    loop = AutogradRun(fit, task=task, index=0, label=fit.optimizer.name)
    found = compare(loop.first_rows(steps), first_rows(fit, task, plan, steps=steps), task=task)
    verified = Verified(
        against=f"torch.optim.{fit.optimizer.name} {torch.__version__}",
        steps=found.steps,
        points=found.points,
        max_relative_difference=found.difference,
    )
    return verified, found.fault


def first_rows(fit: FitSpec, task: Task, plan: Plan, *, steps: int) -> list[Row]:
    """Return the rows of a run's first steps, made in a lane.

    Args:
        fit: The run.
        task: Its points and start.
        plan: How lanes make it.
        steps: Most updates to make.
    """
    bowls = Bowls.of_one(bowl_of(task))
    lr = resolve_lr(fit.optimizer, task.bowl.problem)
    start_a, start_b = (np.array([part]) for part in (task.start.a, task.start.b))
    lot = Lot(starts_a=start_a, starts_b=start_b, rates=np.array([lr]), bowls=bowls)
    strips = begin(plan, lot, scheduler=fit.scheduler)
    rows = list[Row]()
    for step in range(steps + 1):
        if step and not strips.is_over:
            strips.advance(1)
        a, b = strips.here()
        excess = bowls.excess(a, b)
        loss = bowls.loss(excess, number=plan.number)
        if not strips.is_over or strips.ended[0] // 8 == step:
            rows.append(
                Row(
                    step=step,
                    loss=float(loss[0]),
                    excess_loss=float(excess[0]),
                    a=float(a[0]),
                    b=float(b[0]),
                )
            )
    return rows


def combine_ways(ways: Sequence[tuple[str, EngineUsed]]) -> EngineUsed:
    """Return what is said of a job's engine.

    Args:
        ways: A label and an engine for every optimizer.
    """
    used = [each for _, each in ways]
    names = dict.fromkeys(each.name for each in used)
    reasons = dict.fromkeys(each.reason for each in used)
    verified = [each.verified for each in used if each.verified is not None]
    told = (
        next(iter(reasons))
        if len(reasons) == 1
        else "; ".join(f"{label}: {each.reason}" for label, each in ways)
    )
    return EngineUsed(
        name=next(iter(names)) if len(names) == 1 else MIXED,
        reason=told,
        version=torch.__version__,
        verified=max(verified, key=lambda each: each.max_relative_difference, default=None),
    )
