"""One run by an update rule: the executor makes the steps, this turns them into blocks."""

import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, replace
from typing import Any, Final

import numpy as np
import torch

from app.domain.curvature import resolve_lr
from app.domain.errors import CheckpointUnusable
from app.domain.history import Rows, stride_for
from app.domain.result import RunResult, StopReason
from app.domain.spec import FitSpec
from worker.contract import Block
from worker.engine import checkpoint
from worker.engine.batch_moments import BatchMoments
from worker.engine.fidelity import stillness_of
from worker.engine.noise import NoiseFloor
from worker.engine.problem import Task
from worker.engine.report import report
from worker.engine.rules import loop
from worker.engine.rules.executors import Course, Executor, Standing, Stretch
from worker.engine.rules.rates import Rates
from worker.engine.rules.rule import RULES
from worker.engine.watch import Row, Watch

BLOCK_SECONDS: Final = 0.05
"""How long a cancel may go unheard."""
FIRST_STEPS: Final = 4096
MOST_STEPS: Final = 65_536
"""Of a block: the first, before it is known how long a step takes, and the largest, for memory."""

_REASONS: Final = {
    0: None,
    1: StopReason.LOSS_BELOW,
    2: StopReason.GRADIENT_BELOW,
    3: StopReason.PATIENCE,
    4: StopReason.MAX_STEPS,
    5: StopReason.DIVERGED,
}
_CPU: Final = torch.device("cpu")


class RulesRun:
    """One optimizer on one data set, by the rule that says what its class of torch.optim does.

    Args:
        spec: What to run; app.domain.engines says which specs a rule serves.
        task: Points, start and exact answer, shared with the job's other runs.
        index: Position in the job, from 0.
        label: Name in rankings and legends.
        executor: Runs the rule's text.
        clock: Seconds that only rise.
    """

    def __init__(
        self,
        spec: FitSpec,
        *,
        task: Task,
        index: int,
        label: str,
        executor: Executor,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.label = label
        self.steps = spec.steps
        self._spec = spec
        self._task = task
        self._index = index
        self._executor = executor
        self._clock = clock
        self._lr = resolve_lr(spec.optimizer, task.bowl.problem)
        self._rates = Rates(spec.scheduler, lr=self._lr, steps=spec.steps)
        size = spec.batch_size
        self._batches = (
            BatchMoments(task, size=size, seed=spec.seed)
            if size is not None and size < len(task.x)
            else None
        )
        rule = RULES[spec.optimizer.name]
        given = spec.optimizer.hyperparameters
        self._course = Course(
            stops=stops_of(spec),
            bowl=bowl_of(task),
            settings=rule.settings(given),
            keeps=not spec.zero_grad,
        )
        scalar = np.dtype(spec.dtype).type
        line = (float(scalar(task.start.a)), float(scalar(task.start.b)))
        remembered = [float(scalar(value)) for value in rule.start(given, self._lr)]
        self._standing = Standing(
            has_begun=False,
            step=0,
            due=0,
            line=line,
            kept=(0.0, 0.0),
            memory=tuple(value for value in remembered for _ in range(2)),
            noted=(math.inf, 0.0, math.nan, math.nan, math.nan, -1.0, -1.0, math.nan),
        )
        self._noise = NoiseFloor(task)
        self._seconds = 0.0

    def blocks(self, breathe: Callable[[], None] = lambda: None) -> Iterator[Block]:
        """Compute lazily, about BLOCK_SECONDS of steps at a time.

        Args:
            breathe: Not called: no step takes long.
        """
        del breathe
        count, reason = FIRST_STEPS, None
        while reason is None:
            started = self._clock()
            before = self._standing.step
            stretch = self._advance(count)
            reason = _REASONS[stretch.reason]
            rows = self._rows_of(stretch)
            self._noise.see(rows)
            taken = self._clock() - started
            self._seconds += taken
            made = max(1, self._standing.step - before)
            count = max(1, min(MOST_STEPS, int(BLOCK_SECONDS / max(taken / made, 1e-9))))
            row = self._here()
            yield Block(
                rows=rows,
                step=row.step,
                loss=row.loss,
                a=row.a,
                b=row.b,
                stop_reason=reason,
            )

    def first_rows(self, steps: int) -> list[Row]:
        """Return the rows of the first steps; afterwards this run may not be used any more.

        Args:
            steps: Most updates to make.
        """
        last, _, *rest = self._course.stops
        self._course = replace(self._course, stops=(last, 1.0, *rest))
        stretch = self._advance(steps + 1)
        return [
            self._row(step, loss=loss, a=a, b=b, batch_loss=batch_loss)
            for step, a, b, loss, _, batch_loss in zip(stretch.steps, *stretch.columns, strict=True)
        ]

    def _advance(self, count: int) -> Stretch:
        """Make up to `count` looks, and deal no more rates and batches than updates are made."""
        standing = self._standing
        updates = min(count, self.steps - standing.step) if standing.has_begun else count - 1
        updates = max(0, min(updates, self.steps - standing.step))
        before = (self._rates.state(), self._batches.state() if self._batches else None)
        stretch = self._executor.advance(
            updates if standing.has_begun else updates + 1,
            standing,
            self._course,
            **self._deal(updates),
        )
        made = stretch.standing.step - standing.step
        if made < updates:
            self._restore_dealers(*before)
            self._deal(made)
        self._standing = stretch.standing
        return stretch

    def _deal(self, count: int) -> dict[str, Any]:
        """Return rates and batches of the next updates, as the executor takes them."""
        bowl = self._task.bowl
        batches: Any = (bowl.problem.mean_x, bowl.deviation_x**2, 0.0, 0.0, 0.0)
        if self._batches is not None:
            batches = self._batches.take(count)
        return {
            "batches": batches,
            "batch_width": 0 if self._batches is None else 5,
            "rates": self._rates.take(count),
            "rate_width": 0 if self._rates.is_constant else 1,
        }

    def _restore_dealers(self, rates: Any, batches: Any) -> None:  # noqa: ANN401  # their own states
        self._rates.restore(rates)
        if self._batches is not None:
            self._batches.restore(batches)

    def _rows_of(self, stretch: Stretch) -> Rows:
        a, b, loss, excess, batch = stretch.columns
        return Rows(
            step=stretch.steps,
            loss=loss,
            a=a,
            b=b,
            excess_loss=excess,
            batch_loss=None if self._batches is None else batch,
        )

    def _row(self, step: float, *, loss: float, a: float, b: float, batch_loss: float) -> Row:
        excess = self._task.bowl.excess(a, b)
        return Row(step=int(step), loss=loss, excess_loss=excess, a=a, b=b, batch_loss=batch_loss)

    def _here(self) -> Row:
        """Return the row where the line stands."""
        a, b = self._standing.line
        return self._row(
            self._standing.step,
            loss=loss_of(self._course.bowl, a, b, dtype=self._task.x.dtype),
            a=a,
            b=b,
            batch_loss=self._standing.noted[7],
        )

    def _gradient_norm(self, row: Row) -> float:
        """Return the norm of the gradient on all points; as hypot, which squares of 1e-300 need."""
        bowl = self._course.bowl
        is_still = row.excess_loss < bowl[8]
        by_a, by_b = loop.pull(*loop.errors(row.a, row.b, bowl), is_still, bowl[5], bowl[4] ** 2)
        return math.hypot(by_a, by_b)

    def _watch(self) -> Watch:
        """Return what the loop has noted, in the words of the other engines."""
        loss, step, a, b, batch_loss, reached, goal, _ = self._standing.noted
        best = (
            asdict(self._row(step, loss=loss, a=a, b=b, batch_loss=batch_loss))
            if math.isfinite(loss)
            else None
        )
        watch = Watch(self._spec)
        watch.restore(
            {
                "best": best,
                "steps_to_tolerance": int(reached) if reached >= 0 else None,
                "goal": goal if goal >= 0 else None,
            }
        )
        return watch

    def result(self, stop_reason: StopReason) -> RunResult:
        """Describe the run as it stands after the last block.

        Args:
            stop_reason: The last block's, or why the caller asks for no further one.
        """
        row = self._here()
        told = report(
            self._spec,
            self._task,
            index=self._index,
            label=self.label,
            lr=self._lr,
            row=row,
            watch=self._watch(),
            gradient_norm=self._gradient_norm(row),
            evaluations=row.step,
            seconds=self._seconds,
            stop_reason=stop_reason,
        )
        return told.model_copy(update={"noise_floor_reached_at": self._noise.reached_at})

    def snapshot(self) -> bytes | None:
        """Return all that the next block depends on."""
        state = {
            "standing": asdict(self._standing),
            "rates": self._rates.state(),
            "batches": None if self._batches is None else self._batches.state(),
            "noise": self._noise.reached_at,
            "seconds": self._seconds,
        }
        return checkpoint.seal(state, place=self._place())

    def resume(self, snapshot: bytes) -> None:
        """Stand where a run of the same spec and data stood when it made this snapshot.

        Raises:
            CheckpointUnusable: It was made in another version or place, or it is damaged.
        """
        state: Mapping[str, Any] = checkpoint.unseal(snapshot, place=self._place(), device=_CPU)
        try:
            self._standing = _on_stride(Standing(**state["standing"]), self._course)
            self._restore_dealers(state["rates"], state["batches"])
            # Older ones do not say.
            self._noise.reached_at = state.get("noise")
            self._seconds = state["seconds"]
        except (LookupError, TypeError, ValueError, RuntimeError) as error:
            raise CheckpointUnusable("the checkpoint is of another spec") from error

    def _place(self) -> str:
        return checkpoint.place_of(_CPU, engine="rules")


def _on_stride(standing: Standing, course: Course) -> Standing:
    """Return a standing that records as this course does: one with more steps may do it less often."""
    stride = int(course.stops[1])
    due = (standing.step // stride + 1) * stride if standing.has_begun else 0
    return replace(standing, due=due)


def stops_of(spec: FitSpec) -> tuple[float, ...]:
    """Return the stop rules in loop.advance's order; one that is not asked for cannot hold."""
    stop = spec.stop
    return (
        float(spec.steps),
        float(stride_for(spec.record_every, steps=spec.steps)),
        math.inf if stop.patience is None else float(stop.patience),
        -math.inf if stop.loss_below is None else stop.loss_below,
        0.0 if stop.gradient_below is None else stop.gradient_below,
        spec.tolerance,
    )


def bowl_of(task: Task) -> tuple[float, ...]:
    """Return the exact answer and its surroundings in loop.py's order."""
    bowl = task.bowl
    return (
        bowl.exact.a,
        bowl.exact.b,
        bowl.remainder_a,
        bowl.remainder_b,
        bowl.deviation_x,
        bowl.problem.mean_x,
        bowl.exact.loss,
        torch.finfo(task.x.dtype).max / bowl.problem.points,
        stillness_of(task),
    )


def loss_of(bowl: tuple[float, ...], a: float, b: float, *, dtype: torch.dtype) -> float:
    """Return the loss of a line as the loop does: in the run's type, inf where squares overflow."""
    wide, _ = loop.losses(*loop.errors(a, b, bowl), bowl)
    loss = torch.tensor(wide, dtype=dtype).item()
    return math.inf if loss > bowl[7] else loss
