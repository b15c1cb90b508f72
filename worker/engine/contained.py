"""A run of a comparison whose failing leaves the other runs alone."""

import math
from collections.abc import Callable, Iterator

import torch

from app.domain.errors import EngineFault, JobErrorType
from app.domain.history import make_empty
from app.domain.result import EngineUsed, RunResult, StopReason
from app.domain.spec import FitSpec
from worker.contract import Block
from worker.engine.faults import translated
from worker.engine.tiers import TieredRun


class ContainedRun:
    """Satisfies worker.contract.Run; what torch refuses is how this one run ends.

    A lack of memory or a broken device is no run's own, and goes on to end the job.

    Args:
        fit: What to run.
        index: Position in the job, from 0.
        label: Name in rankings and legends.
        device: Where it computes.
        make: Makes the run.

    Raises:
        EngineFault: The fault is not the run's own.
    """

    def __init__(
        self,
        fit: FitSpec,
        *,
        index: int,
        label: str,
        device: torch.device,
        make: Callable[[], TieredRun],
    ) -> None:
        self.label = label
        self.steps = fit.steps
        self._fit = fit
        self._index = index
        self._step = 0
        self._fault: EngineFault | None = None
        self._run: TieredRun | None = None
        try:
            with translated(device):
                self._run = make()
        except EngineFault as fault:
            self._contain(fault)

    @property
    def used(self) -> EngineUsed:
        """Which engine computes, and why."""
        if self._run is not None:
            return self._run.used
        reason = f"it would not start: {self._fault}"
        return EngineUsed(name="torch", reason=reason, version=torch.__version__)

    def blocks(self, breathe: Callable[[], None] = lambda: None) -> Iterator[Block]:
        """Compute lazily; a failure is the last block.

        Args:
            breathe: Called within a step that may take long.
        """
        try:
            for block in self._run.blocks(breathe) if self._run is not None else ():
                self._step = block.step
                yield block
        except EngineFault as fault:
            self._contain(fault)
        if self._fault is not None:
            nan = math.nan
            rows = make_empty(
                with_excess=self._fit.loss == "mse", with_batch=self._fit.batch_size is not None
            )
            yield Block(
                rows=rows, step=self._step, loss=nan, a=nan, b=nan, stop_reason=StopReason.FAILED
            )

    def result(self, stop_reason: StopReason) -> RunResult:
        """Describe the run as it stands after the last block."""
        if self._fault is None and self._run is not None:
            return self._run.result(stop_reason)
        return RunResult(
            run=self._index,
            label=self.label,
            optimizer=self._fit.optimizer.name,
            lr=self._fit.optimizer.lr,
            a=None,
            b=None,
            equation=None,
            loss=None,
            excess_loss=None,
            r2=None,
            stop_reason=stop_reason,
            converged=False,
            steps=self._step,
            evaluations=self._step,
            steps_to_tolerance=None,
            best=None,
            gradient_norm=None,
            run_seconds=0.0,
            engine=self.used.name,
            error=str(self._fault),
        )

    def snapshot(self) -> bytes | None:
        """Return all that the next block depends on; None of a run that could not be made."""
        return None if self._run is None else self._run.snapshot()

    def resume(self, snapshot: bytes) -> None:
        """Stand where a run of the same spec and data stood.

        Raises:
            CheckpointUnusable: It was made in another version or place, or it is damaged.
        """
        if self._run is not None:
            self._run.resume(snapshot)

    def _contain(self, fault: EngineFault) -> None:
        if fault.error_type is not JobErrorType.INTERNAL:
            raise fault
        self._fault = fault
