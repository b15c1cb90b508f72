"""What the engines that drive torch.optim share: blocks, result, snapshot; not how a step is made."""

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from typing import Any, Final, Protocol

import torch

from app.domain.curvature import resolve_lr
from app.domain.errors import CheckpointUnusable
from app.domain.result import RunResult, StopReason
from app.domain.spec import FitSpec
from worker.contract import Block
from worker.engine import checkpoint
from worker.engine.faults import translated
from worker.engine.noise import NoiseFloor
from worker.engine.optimizers import NEEDS_CLOSURE, make_optimizer, make_schedule
from worker.engine.parameters import make_line, move_line
from worker.engine.problem import DTYPES, Task
from worker.engine.report import report
from worker.engine.watch import Record, Row, Watch

BLOCK_SECONDS: Final = 0.05
"""How long a cancel may go unheard."""


class Dealer(Protocol):
    """Deals mini-batches; where it stands is part of a run's state."""

    def state(self) -> dict[str, object]:
        """Return where the dealing stands."""
        ...

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from a state."""
        ...


class TorchRun(ABC):
    """One optimizer on one data set, stepped by the object of torch.optim itself.

    A subclass makes the steps. It sets `_row` at every row, and counts `_evaluations`.

    Args:
        spec: What to run.
        task: Points, start and exact answer, shared with the job's other runs.
        index: Position in the job, from 0.
        label: Name in rankings and legends.
        clock: Seconds that only rise.
        engine: Name of the engine that the subclass is.
        device: Where the parameters live.
        with_fused: Whether the optimizer may take its fused form, which differs by roundings.
        dealer: Deals the mini-batches; None when every update sees all points.
    """

    def __init__(
        self,
        spec: FitSpec,
        *,
        task: Task,
        index: int,
        label: str,
        clock: Callable[[], float] = time.monotonic,
        engine: str,
        device: torch.device,
        with_fused: bool = False,
        dealer: Dealer | None,
    ) -> None:
        self.label = label
        self.steps = spec.steps
        self._spec = spec
        self._task = task
        self._index = index
        self._clock = clock
        self._engine = engine
        self._dealer = dealer
        self._lr = resolve_lr(spec.optimizer, task.bowl.problem)
        self._with_closure = spec.optimizer.name in NEEDS_CLOSURE
        self._net = make_line(
            spec.optimizer.name,
            start=task.start,
            dtype=DTYPES[spec.dtype],
            device=device,
        )
        self._optimizer = make_optimizer(
            spec.optimizer, self._net, lr=self._lr, with_fused=with_fused
        )
        self._schedule = make_schedule(spec.scheduler, self._optimizer, steps=spec.steps)
        self._watch = Watch(spec)
        self._record = Record(spec, with_batch=dealer is not None)
        self._noise = NoiseFloor(task)
        self._row: Row | None = None
        self._evaluations: int = 0
        self._seconds = 0.0
        self._breathe: Callable[[], None] = lambda: None

    @abstractmethod
    def _loop(self) -> Iterator[StopReason | None]:
        """Yield after every row that is looked at; a reason ends the run."""

    @abstractmethod
    def _look_ahead(self) -> Row:
        """Return row 0 before the loop has looked at it."""

    @abstractmethod
    def _gradient_norm_here(self) -> float:
        """Return the norm of the gradient on all points where the line stands."""

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
            rows = self._record.take()
            self._noise.see(rows)
            self._seconds += self._clock() - started
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
        rows = list[Row]()
        for _ in self._loop():
            rows.append(self._here())
            if len(rows) > steps:
                break
        return rows

    def _here(self) -> Row:
        """Return the last row, or row 0 before the first block."""
        return self._look_ahead() if self._row is None else self._row

    def result(self, stop_reason: StopReason) -> RunResult:
        """Describe the run as it stands after the last block.

        Args:
            stop_reason: The last block's, or why the caller asks for no further one.
        """
        with translated(self._task.x.device):
            row = self._here()
            move_line(self._net, a=row.a, b=row.b)
            norm = self._gradient_norm_here()
        told = report(
            self._spec,
            self._task,
            index=self._index,
            label=self.label,
            lr=self._lr,
            row=row,
            watch=self._watch,
            gradient_norm=norm,
            evaluations=self._evaluations,
            seconds=self._seconds,
            stop_reason=stop_reason,
        )
        return told.model_copy(update={"noise_floor_reached_at": self._noise.reached_at})

    def _place(self) -> str:
        return checkpoint.place_of(self._task.x.device, engine=self._engine)

    def snapshot(self) -> bytes | None:
        """Return all that the next block depends on; None when it would be too large.

        Raises:
            EngineFault: Torch failed.
        """
        with translated(self._task.x.device):
            state = {
                "row": None if self._row is None else asdict(self._row),
                "parameters": checkpoint.parameter_state(self._net.parameters()),
                "optimizer": checkpoint.optimizer_state(self._optimizer),
                "schedule": self._schedule.state() if self._schedule is not None else None,
                "batches": self._dealer.state() if self._dealer is not None else None,
                "watch": self._watch.state(),
                "noise": self._noise.reached_at,
                "evaluations": self._evaluations,
                "seconds": self._seconds,
            }
            return checkpoint.seal(state, place=self._place())

    def resume(self, snapshot: bytes) -> None:
        """Stand where a run of the same spec and data stood when it made this snapshot.

        Raises:
            CheckpointUnusable: It was made in another version or place, or it is damaged.
        """
        state = checkpoint.unseal(snapshot, place=self._place(), device=self._task.x.device)
        try:
            self._restore(state)
        except (LookupError, TypeError, ValueError, RuntimeError) as error:
            raise CheckpointUnusable("the checkpoint is of another spec") from error

    def _restore(self, state: Mapping[str, Any]) -> None:
        self._row = None if state["row"] is None else Row(**state["row"])
        checkpoint.restore_parameters(self._net.parameters(), state["parameters"])
        checkpoint.restore_optimizer(self._optimizer, state["optimizer"])
        if self._schedule is not None:
            self._schedule.restore(state["schedule"])
        if self._dealer is not None:
            self._dealer.restore(state["batches"])
        self._watch.restore(state["watch"])
        # Older ones do not say.
        self._noise.reached_at = state.get("noise")
        self._evaluations = state["evaluations"]
        self._seconds = state["seconds"]
