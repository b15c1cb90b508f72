"""The plain torch loop, the reference for every other engine; it stores and sends nothing."""

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from typing import Any, Final

import torch
from torch import Tensor
from torch.nn import functional

from app.domain.errors import CheckpointUnusable
from app.domain.result import RunResult, StopReason, format_equation
from app.domain.spec import FitSpec, Loss
from worker.contract import Block
from worker.engine import checkpoint
from worker.engine.batches import Batches
from worker.engine.faults import translated
from worker.engine.optimizers import NEEDS_CLOSURE, make_optimizer, make_schedule, resolve_lr
from worker.engine.parameters import make_line, move_line, norm_of, read_row
from worker.engine.problem import DTYPES, Task
from worker.engine.watch import Record, Row, Watch, to_finite, to_point

BLOCK_SECONDS: Final = 0.05
"""How long a cancel may go unheard."""

LOSSES: Final[dict[Loss, Callable[[Tensor, Tensor], Tensor]]] = {
    # The answer's own expression, so that its bits are the answer's bits.
    "mse": lambda line, y: torch.mean((line - y) ** 2),
    "l1": functional.l1_loss,
    "huber": functional.huber_loss,
    "smooth_l1": functional.smooth_l1_loss,
}
_ARRIVED: Final = frozenset({StopReason.LOSS_BELOW, StopReason.GRADIENT_BELOW})


class AutogradRun:
    """One optimizer on one data set, by the loop that everybody writes.

    Args:
        spec: What to run.
        task: Points, start and exact answer, shared with the job's other runs.
        index: Position in the job, from 0.
        label: Name in rankings and legends.
        clock: Seconds that only rise.
    """

    def __init__(
        self,
        spec: FitSpec,
        *,
        task: Task,
        index: int,
        label: str,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.label = label
        self.steps = spec.steps
        self._spec = spec
        self._task = task
        self._index = index
        self._clock = clock
        self._lr = resolve_lr(spec.optimizer, task.bowl.problem)
        self._loss = LOSSES[spec.loss]
        self._with_closure = spec.optimizer.name in NEEDS_CLOSURE
        self._net = make_line(
            spec.optimizer.name,
            start=task.start,
            dtype=DTYPES[spec.dtype],
            device=task.x.device,
        )
        self._optimizer = make_optimizer(spec.optimizer, self._net, lr=self._lr)
        self._schedule = make_schedule(spec.scheduler, self._optimizer, steps=spec.steps)
        self._batches = (
            Batches(task.x, task.y, size=spec.batch_size, seed=spec.seed)
            if spec.batch_size is not None and spec.batch_size < len(task.x)
            else None
        )
        self._watch = Watch(spec)
        self._record = Record(spec, with_batch=self._batches is not None)
        self._row: Row | None = None
        self._evaluations = 0
        self._seconds = 0.0
        self._breathe: Callable[[], None] = lambda: None

    def _loop(self) -> Iterator[StopReason | None]:
        """Fit: the answer's loop. Row `step` is looked at before the update that leads on."""
        batch_loss = math.nan
        # Where a resumed run stands: this row has been looked at.
        row = self._row
        for step in range(0 if row is None else row.step, self.steps + 1):
            if self._spec.zero_grad:
                self._optimizer.zero_grad()
            loss = self._loss(self._net(self._task.x), self._task.y)
            if row is None or row.step < step:
                row = self._row = self._look(step, loss, batch_loss)
                reason = self._watch.judge(row)
                self._record.add(row, is_last=reason is not None)
                yield reason
                if reason is not None:
                    return
            try:
                batch_loss = self._update(loss)
                if self._schedule is not None:
                    self._schedule.advance(row.loss)
            except OverflowError:
                # Rates and counters are Python floats, which raise where a tensor becomes inf.
                move_line(self._net, a=math.inf, b=math.inf)

    def _update(self, loss: Tensor) -> float:
        """Make one optimizer step and return the loss of the batch that it saw."""
        if self._with_closure:
            return self._update_by_closure()
        if self._batches is not None:
            x, y = self._batches.deal()
            loss = self._loss(self._net(x), y)
        torch.autograd.backward(loss)
        self._optimizer.step()
        self._evaluations += 1
        return loss.item() if self._batches is not None else math.nan

    def _update_by_closure(self) -> float:
        """Make one step of an optimizer that evaluates loss and gradient as often as it likes."""
        x, y = self._batches.deal() if self._batches is not None else (self._task.x, self._task.y)
        losses: list[Tensor] = []

        def closure() -> Tensor:
            # A step may evaluate a thousand times, which takes a minute with a million points.
            self._breathe()
            if self._spec.zero_grad:
                self._optimizer.zero_grad()
            loss = self._loss(self._net(x), y)
            torch.autograd.backward(loss)
            losses.append(loss.detach())
            return losses[-1]

        self._optimizer.step(closure)  # type: ignore[arg-type]  # torch says float and takes a tensor
        self._evaluations += len(losses)
        return losses[0].item()

    def _look(self, step: int, loss: Tensor, batch_loss: float) -> Row:
        """Read the numbers of a row; the one place where the loop waits for the device."""
        value, a, b = read_row(loss, self._net)
        return Row(
            step=step,
            loss=value,
            excess_loss=self._task.bowl.excess(a, b),
            a=a,
            b=b,
            batch_loss=batch_loss,
            gradient_norm=self._gradient_norm(loss) if self._spec.stop.gradient_below else None,
        )

    def _gradient_norm(self, loss: Tensor) -> float:
        """Return the norm of the gradient on all points; leaves .grad as it is."""
        parts = torch.autograd.grad(loss, list(self._net.parameters()), retain_graph=True)
        return norm_of(parts)

    def blocks(self, breathe: Callable[[], None] = lambda: None) -> Iterator[Block]:
        """Compute lazily, about BLOCK_SECONDS of steps at a time.

        Args:
            breathe: Called before every evaluation that an optimizer asks for by itself.

        Raises:
            EngineFault: Torch failed.
        """
        self._breathe = breathe
        reasons = self._loop()
        reason = None
        while reason is None:
            started = self._clock()
            with translated(self._task.x.device):
                for reason in reasons:
                    if reason is not None or self._clock() - started >= BLOCK_SECONDS:
                        break
            row = self._here()
            self._seconds += self._clock() - started
            yield Block(
                rows=self._record.take(),
                step=row.step,
                loss=row.loss,
                a=row.a,
                b=row.b,
                stop_reason=reason,
            )

    def _here(self) -> Row:
        """Return the last row, or row 0 before the first block."""
        if self._row is None:
            return self._look(0, self._loss(self._net(self._task.x), self._task.y), math.nan)
        return self._row

    def result(self, stop_reason: StopReason) -> RunResult:
        """Describe the run as it stands after the last block.

        Args:
            stop_reason: The last block's, or why the caller asks for no further one.
        """
        with translated(self._task.x.device):
            row = self._here()
            move_line(self._net, a=row.a, b=row.b)
            norm = self._gradient_norm(self._loss(self._net(self._task.x), self._task.y))
        is_line = row.is_finite and stop_reason is not StopReason.DIVERGED
        with_excess = self._spec.loss == "mse"
        return RunResult(
            run=self._index,
            label=self.label,
            optimizer=self._spec.optimizer.name,
            lr=self._lr,
            a=row.a if is_line else None,
            b=row.b if is_line else None,
            equation=format_equation(row.a, row.b) if is_line else None,
            loss=to_finite(row.loss),
            excess_loss=to_finite(row.excess_loss) if with_excess else None,
            r2=self._task.bowl.r2(row.a, row.b) if is_line else None,
            stop_reason=stop_reason,
            converged=is_line and (stop_reason in _ARRIVED or self._watch.is_within_tolerance(row)),
            steps=row.step,
            evaluations=self._evaluations,
            steps_to_tolerance=self._watch.steps_to_tolerance,
            best=to_point(self._watch.best, with_excess=with_excess),
            gradient_norm=to_finite(norm),
            run_seconds=self._seconds,
        )

    def snapshot(self) -> bytes | None:
        """Return all that the next block depends on; None when it would be too large.

        Raises:
            EngineFault: Torch failed.
        """
        device = self._task.x.device
        with translated(device):
            state = {
                "row": None if self._row is None else asdict(self._row),
                "parameters": checkpoint.parameter_state(self._net.parameters()),
                "optimizer": checkpoint.optimizer_state(self._optimizer),
                "schedule": self._schedule.state() if self._schedule is not None else None,
                "batches": self._batches.state() if self._batches is not None else None,
                "watch": self._watch.state(),
                "evaluations": self._evaluations,
                "seconds": self._seconds,
            }
            return checkpoint.seal(state, device=device)

    def resume(self, snapshot: bytes) -> None:
        """Stand where a run of the same spec and data stood when it made this snapshot.

        Raises:
            CheckpointUnusable: It was made in another version or place, or it is damaged.
        """
        state = checkpoint.unseal(snapshot, device=self._task.x.device)
        try:
            self._restore(state)
        except (LookupError, TypeError, ValueError, RuntimeError) as error:
            raise CheckpointUnusable("the checkpoint is of another spec") from error

    def _restore(self, state: dict[str, Any]) -> None:
        self._row = None if state["row"] is None else Row(**state["row"])
        checkpoint.restore_parameters(self._net.parameters(), state["parameters"])
        checkpoint.restore_optimizer(self._optimizer, state["optimizer"])
        if self._schedule is not None:
            self._schedule.restore(state["schedule"])
        if self._batches is not None:
            self._batches.restore(state["batches"])
        self._watch.restore(state["watch"])
        self._evaluations = state["evaluations"]
        self._seconds = state["seconds"]
