"""torch.optim driven by the closed-form gradient: a step costs the same for any number of points.

For the mean squared error the points enter a step only through the exact line and the bowl around
it (worker.engine.exact), a mini-batch only through its five moments. This file looks at no point.
"""

import math
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Final, cast

import torch
from torch import Tensor

from app.domain.result import StopReason
from app.domain.spec import FitSpec
from worker.engine.batch_moments import BatchMoments
from worker.engine.exact import Bowl
from worker.engine.fidelity import stillness_of
from worker.engine.parameters import gradient_parts, move_line
from worker.engine.problem import DTYPES, Task
from worker.engine.torch_run import TorchRun
from worker.engine.watch import Row

_CPU: Final = torch.device("cpu")

Evaluation = tuple[float, float, float]
"""Loss, and its derivatives by a and b."""


class MomentsRun(TorchRun):
    """One optimizer on one data set, by its own torch.optim object and the bowl's gradient.

    Parameters live on the CPU, whatever the device of the points: there are two of them.

    Args:
        spec: What to run; its loss must be "mse".
        task: Points, start and exact answer, shared with the job's other runs.
        index: Position in the job, from 0.
        label: Name in rankings and legends.
        clock: Seconds that only rise.

    Raises:
        ValueError: The loss is another one.
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
        if spec.loss != "mse":
            raise ValueError(f"there are no moments for the loss {spec.loss}")
        count = len(task.x)
        size = spec.batch_size
        self._batches = (
            BatchMoments(task, size=size, seed=spec.seed)
            if size is not None and size < count
            else None
        )
        super().__init__(
            spec,
            task=task,
            index=index,
            label=label,
            clock=clock,
            engine="moments",
            device=_CPU,
            with_fused=True,
            dealer=self._batches,
        )
        largest = torch.finfo(DTYPES[spec.dtype]).max
        # The plain loop adds up its squares before it divides: the sum becomes inf first.
        self._largest_loss = largest / count
        self._largest_batch_loss = largest / (count if size is None else size)
        self._still = stillness_of(task)
        self._rounded = _Pair([torch.zeros(2, dtype=DTYPES[spec.dtype])])
        self._line = _Pair(self._net.parameters())

    def _loop(self) -> Iterator[StopReason | None]:
        """Fit: the plain loop's order of rows and updates."""
        batch_loss = math.nan
        # Where a resumed run stands: this row has been looked at.
        row = self._row
        gradient = _Pair(gradient_parts(self._net))
        for step in range(0 if row is None else row.step, self.steps + 1):
            if row is None or row.step < step:
                row = self._row = self._look(step, batch_loss)
                reason = self._watch.judge(row, evaluations=self._evaluations)
                self._record.add(row, is_last=reason is not None)
                yield reason
                if reason is not None:
                    return
            try:
                batch_loss = self._update(gradient)
                if self._schedule is not None:
                    self._schedule.advance(row.loss)
            except OverflowError:
                # Rates and counters are Python floats, which raise where a tensor becomes inf.
                move_line(self._net, a=math.inf, b=math.inf)

    def _update(self, gradient: "_Pair") -> float:
        """Make one optimizer step and return the loss of the batch that it saw."""
        evaluate = self._on_all_points if self._batches is None else self._on_next_of(self._batches)
        if self._with_closure:
            return self._update_by_closure(gradient, evaluate)
        loss = self._descend(gradient, evaluate)
        self._optimizer.step()
        self._evaluations += 1
        return loss if self._batches is not None else math.nan

    def _update_by_closure(
        self, gradient: "_Pair", evaluate: Callable[[float, float], Evaluation]
    ) -> float:
        """Make one step of an optimizer that evaluates loss and gradient as often as it likes."""
        losses: list[float] = []

        def closure() -> float:
            self._breathe()
            losses.append(self._descend(gradient, evaluate))
            return losses[-1]

        self._optimizer.step(closure)
        self._evaluations += len(losses)
        return losses[0]

    def _descend(self, gradient: "_Pair", evaluate: Callable[[float, float], Evaluation]) -> float:
        """Write the gradient, or add it to the one that is there; return the loss."""
        loss, by_a, by_b = evaluate(*self._line.get())
        if not self._spec.zero_grad:
            # Rounded before it is added, as backward() does.
            by_a, by_b = self._round(by_a, by_b)
            before_a, before_b = gradient.get()
            by_a, by_b = before_a + by_a, before_b + by_b
        gradient.set(by_a, by_b)
        return loss

    def _on_all_points(self, a: float, b: float) -> Evaluation:
        bowl = self._task.bowl
        excess = bowl.excess(a, b)
        if excess < self._still:
            return 0.0, 0.0, 0.0
        by_a, by_b = _slope_of_bowl(bowl, a, b)
        loss = bowl.exact.loss + excess
        return self._round_loss(loss, self._largest_loss), by_a, by_b

    def _on_next_of(self, batches: BatchMoments) -> Callable[[float, float], Evaluation]:
        """Return the loss and the gradient on the next batch as a function of a and b."""
        bowl = self._task.bowl
        mean_x, var_x, mean_r, cov_x_r, var_r = batches.take(1)[0].tolist()

        def evaluate(a: float, b: float) -> Evaluation:
            error_a, error_b = _errors(bowl, a, b)
            at_mean = error_a * mean_x + error_b + mean_r
            spread = var_r + 2.0 * error_a * cov_x_r + error_a * error_a * var_x
            # A sum of squares in other words, which rounding may carry below zero.
            loss = max(spread, 0.0) + at_mean * at_mean
            by_a = 2.0 * (var_x * error_a + cov_x_r + mean_x * at_mean)
            return self._round_loss(loss, self._largest_batch_loss), by_a, 2.0 * at_mean

        return evaluate

    def _look(self, step: int, batch_loss: float) -> Row:
        """Read the numbers of a row."""
        a, b = self._line.get()
        bowl = self._task.bowl
        excess = bowl.excess(a, b)
        return Row(
            step=step,
            loss=0.0
            if excess < self._still
            else self._round_loss(bowl.exact.loss + excess, self._largest_loss),
            excess_loss=excess,
            a=a,
            b=b,
            batch_loss=batch_loss,
            gradient_norm=self._gradient_norm_here() if self._spec.stop.gradient_below else None,
        )

    def _look_ahead(self) -> Row:
        return self._look(0, math.nan)

    def _gradient_norm_here(self) -> float:
        _, by_a, by_b = self._on_all_points(*self._line.get())
        return math.hypot(*self._round(by_a, by_b))

    def _round_loss(self, loss: float, largest: float) -> float:
        return self._round(loss, 0.0)[0] if loss <= largest else loss + math.inf

    def _round(self, one: float, other: float) -> tuple[float, float]:
        """Return two numbers as the run's dtype holds them; inf beyond its range."""
        self._rounded.set(one, other)
        return self._rounded.get()


class _Pair:
    """Two numbers in tensors on the CPU, for a and for b, read and written in their own memory.

    A call of torch would cost a microsecond for each of them.
    """

    def __init__(self, parts: Iterable[Tensor]) -> None:
        cells = [
            (cast("memoryview[float]", part.detach().numpy().reshape(-1).data), index)
            for part in parts
            for index in range(part.numel())
        ]
        (self._of_a, self._at_a), (self._of_b, self._at_b) = cells

    def get(self) -> tuple[float, float]:
        return self._of_a[self._at_a], self._of_b[self._at_b]

    def set(self, a: float, b: float) -> None:
        """Round to the tensors' dtype, beyond its range to inf."""
        self._of_a[self._at_a] = a
        self._of_b[self._at_b] = b


def _errors(bowl: Bowl, a: float, b: float) -> tuple[float, float]:
    """Return how far a line lies from the exact one."""
    return (a - bowl.exact.a) - bowl.remainder_a, (b - bowl.exact.b) - bowl.remainder_b


def _slope_of_bowl(bowl: Bowl, a: float, b: float) -> tuple[float, float]:
    """Return the gradient of Bowl.excess, which is that of the loss."""
    error_a, error_b = _errors(bowl, a, b)
    mean_x = bowl.problem.mean_x
    shift = error_a * mean_x + error_b
    tilt = bowl.deviation_x * error_a
    return 2.0 * (bowl.deviation_x * tilt + mean_x * shift), 2.0 * shift
