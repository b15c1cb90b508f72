"""The plain torch loop, the reference for every other engine; it stores and sends nothing."""

import math
import time
from collections.abc import Callable, Iterator
from typing import Final

import torch
from torch import Tensor
from torch.nn import functional

from app.domain.result import StopReason
from app.domain.spec import FitSpec, Loss
from worker.engine.batches import Batches
from worker.engine.parameters import move_line, norm_of, read_row
from worker.engine.problem import Task
from worker.engine.torch_run import TorchRun
from worker.engine.watch import Row

LOSSES: Final[dict[Loss, Callable[[Tensor, Tensor], Tensor]]] = {
    # The answer's own expression, so that its bits are the answer's bits.
    "mse": lambda line, y: torch.mean((line - y) ** 2),
    "l1": functional.l1_loss,
    "huber": functional.huber_loss,
    "smooth_l1": functional.smooth_l1_loss,
}


class AutogradRun(TorchRun):
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
        self._loss = LOSSES[spec.loss]
        self._batches = (
            Batches(task.x, task.y, size=spec.batch_size, seed=spec.seed)
            if spec.batch_size is not None and spec.batch_size < len(task.x)
            else None
        )
        super().__init__(
            spec,
            task=task,
            index=index,
            label=label,
            clock=clock,
            engine="torch",
            device=task.x.device,
            dealer=self._batches,
        )

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
                reason = self._watch.judge(row, evaluations=self._evaluations)
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

    def _look_ahead(self) -> Row:
        return self._look(0, self._loss(self._net(self._task.x), self._task.y), math.nan)

    def _gradient_norm_here(self) -> float:
        return self._gradient_norm(self._loss(self._net(self._task.x), self._task.y))
