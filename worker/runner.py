"""One attempt at a job: claim, drive the engine block by block, record, obey, finish.

It knows the store and the engine's contract, and reaches neither torch nor Celery.
"""

import logging
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Final

from app.domain.errors import (
    CheckpointUnusable,
    EngineFault,
    JobErrorType,
    LeaseLost,
    StoreUnavailable,
)
from app.domain.job import JobError, Progress, Status
from app.domain.outcome import Outcome
from app.domain.ranking import crown, rank
from app.domain.result import RunResult, StopReason
from app.domain.spec import ComparisonSpec
from app.log import bound, fields
from app.settings import Settings
from app.store.checkpoint import Checkpoint
from app.store.claim import Claim, Description
from app.store.runs import RunStore
from worker.contract import Block, Engine, Prepared, Run
from worker.ending import judge, time_limit_exceeded
from worker.lease import Lease, end_process
from worker.outage import Outage
from worker.pulse import Pulse
from worker.recorder import Recorder, Snapshot

LONG_BLOCK_SECONDS: Final = 0.5
"""A block that takes longer is given up half way when the worker is asked to stop."""

_LOG = logging.getLogger(__name__)


class _Drained(Exception):
    """The worker stops; the job goes back to the queue."""


@dataclass(slots=True)
class _Attempt:
    """What one attempt knows while it runs."""

    claim: Claim
    lease: Lease
    recorder: Recorder
    outage: Outage
    started: float  # by the clock, had nothing interrupted the job
    block_started: float = math.inf  # by the clock
    prepared: Prepared | None = None
    results: list[RunResult] = field(default_factory=list[RunResult])


@dataclass(frozen=True, slots=True, kw_only=True)
class Runner:
    """Runs jobs one at a time.

    Attributes:
        runs: The store as a worker sees it.
        engine: What computes.
        settings: Heartbeat and lease.
        is_draining: Whether this process was asked to stop.
        tell: Hears the id of the job in hand, and None when it is done.
        pulse: Beats whenever the job gets on, or waits for Redis and for nothing else.
        give_up: Ends this process when a job has stopped getting on.
        clock: Seconds that only rise.
    """

    runs: RunStore
    engine: Engine
    settings: Settings
    is_draining: Callable[[], bool] = lambda: False
    tell: Callable[[str | None], None] = lambda _: None
    pulse: Pulse = field(default_factory=Pulse)
    give_up: Callable[[], None] = end_process
    clock: Callable[[], float] = time.monotonic

    def work(self, queue: str, *, worker: str) -> str | None:
        """Claim the next ready job and bring it to an end.

        Args:
            queue: "cpu" or "cuda".
            worker: Name of this process, told in the job.

        Returns:
            The job's id, None when nothing was ready.

        Raises:
            StoreUnavailable: Redis is away and nothing was claimed.
        """
        claim = self.runs.claim(queue, worker=worker, device=queue)
        if claim is None:
            return None
        with bound(job_id=claim.record.id, attempt=claim.attempt):
            _LOG.info("job.started", extra=fields(worker=worker, kind=claim.record.spec.kind))
            self.tell(claim.record.id)
            try:
                self._attempt(claim)
            finally:
                self.tell(None)
        return claim.record.id

    def _attempt(self, claim: Claim) -> None:
        lease = Lease(
            self.runs,
            claim,
            heartbeat_seconds=self.settings.heartbeat_seconds,
            is_draining=self.is_draining,
            pulse=self.pulse,
            stall_seconds=self.settings.stall_seconds,
            give_up=self.give_up,
        )
        with lease:
            outage = Outage(is_draining=self.is_draining, pulse=self.pulse, clock=self.clock)
            recorder = Recorder(self.runs, claim, outage=outage, clock=self.clock)
            attempt = _Attempt(claim, lease, recorder, outage, self.clock())
            try:
                self._conclude(attempt)
            except LeaseLost:
                _LOG.warning("job.lease_lost")
            except StoreUnavailable:
                # Recovery runs it again once the lease is over and Redis is back.
                _LOG.warning("job.left_behind")

    def _conclude(self, attempt: _Attempt) -> None:
        """Run the job to its end, or hand it back when the worker is asked to stop."""
        try:
            status, error = self._run_all(attempt)
        except _Drained:
            attempt.outage.insist(lambda: self.runs.release(attempt.claim))
            _LOG.info("job.released")
        else:
            self._finish(attempt, status, error)

    def _run_all(self, attempt: _Attempt) -> tuple[Status, JobError | None]:
        """Run every run of the job; turn whatever stops it into a status and an error."""
        try:
            prepared = attempt.prepared = self._prepare(attempt)
            for index in range(len(attempt.results), len(prepared.runs)):
                run = prepared.runs[index]
                reason = self._drive(attempt, index, run)
                attempt.results.append(run.result(reason))
                if reason is StopReason.CANCELLED:
                    return Status.CANCELLED, None
                if reason is StopReason.TIME_LIMIT:
                    limit = attempt.claim.record.spec.timeout_seconds
                    return Status.FAILED, time_limit_exceeded(attempt.results[-1], run, limit)
                self._flush(attempt, before=index + 1)
        except (LeaseLost, StoreUnavailable, _Drained):
            raise
        except EngineFault as fault:
            return Status.FAILED, JobError(
                type=fault.error_type, detail=fault.detail, retryable=False
            )
        except MemoryError:
            detail = "The worker has not enough memory for this job: send fewer points"
            return Status.FAILED, JobError(
                type=JobErrorType.OUT_OF_MEMORY, detail=detail, retryable=True
            )
        except (Exception, SystemExit, KeyboardInterrupt):  # noqa: BLE001  # the top of the attempt
            # A fault of ours must end the job, and be told to us. No signal raises here, so whatever
            # wants to end the process is the job's own, and would with every attempt.
            _LOG.exception("job.crashed")
            detail = "The worker failed in a way that it does not know; its log has the cause"
            return Status.FAILED, JobError(
                type=JobErrorType.INTERNAL, detail=detail, retryable=True
            )
        return judge(attempt.results)

    def _prepare(self, attempt: _Attempt) -> Prepared:
        """Load the data, and stand where an older attempt stood if that is possible.

        Raises:
            _Drained: This process was asked to stop meanwhile.
        """
        claim = attempt.claim
        record = claim.record
        # A job routed to a cpu worker runs on cpu, whatever the spec would have liked.
        on_cpu = record.device.queue == "cpu"
        requested = record.spec.device
        device = "cpu" if on_cpu else requested if requested.startswith("cuda") else "cuda"
        prepared = self.engine.prepare(record.spec, columns=claim.columns, device=device)
        try:
            self._resume(attempt, prepared)
            engine = prepared.engine
        except CheckpointUnusable as unusable:
            _LOG.warning("job.starts_over", extra=fields(detail=unusable.detail))
            attempt.outage.insist(lambda: self.runs.start_over(claim))
            # The first one may have been moved half way.
            prepared = self.engine.prepare(record.spec, columns=claim.columns, device=device)
            engine = prepared.engine
            reason = f"{engine.reason}; started over, because {unusable.detail}"
            engine = engine.model_copy(update={"reason": reason})
        used = {"used": prepared.device, "worker": claim.worker}
        attempt.recorder.describe(
            Description(device=record.device.model_copy(update=used), engine=engine)
        )
        if self.is_draining():
            raise _Drained
        return prepared

    def _resume(self, attempt: _Attempt, prepared: Prepared) -> None:
        """Go on where the checkpoint says, with the time that it says was used.

        Raises:
            CheckpointUnusable: The attempt has to start over.
        """
        kept = attempt.claim.checkpoint
        if kept is None:
            return
        if not len(kept.results) == kept.run < len(prepared.runs):
            raise CheckpointUnusable("the checkpoint is of another job")
        prepared.runs[kept.run].resume(kept.state)
        attempt.results.extend(kept.results)
        attempt.started -= kept.seconds
        _LOG.info("job.resumed", extra=fields(run=kept.run, step=kept.step))

    def _computed_seconds(self, attempt: _Attempt) -> float:
        """Return what counts against timeout_seconds: not the waiting for a Redis that is away."""
        return self.clock() - attempt.started - attempt.outage.waited_seconds

    def _snapshot(self, attempt: _Attempt, index: int, run: Run, *, step: int) -> Checkpoint | None:
        """Return where the job stands between two blocks, or before a run's first."""
        state = run.snapshot()
        if state is None:
            _LOG.warning("job.checkpoint_too_large", extra=fields(run=index))
            return None
        return Checkpoint(
            run=index,
            step=step,
            state=state,
            results=tuple(attempt.results[:index]),
            seconds=self._computed_seconds(attempt),
        )

    def _last_checkpoint(self, attempt: _Attempt) -> Checkpoint | None:
        """Return what a fit can be extended from, None where there is no line to go on from."""
        if isinstance(attempt.claim.record.spec, ComparisonSpec) or not attempt.results:
            return None
        end = attempt.results[0]
        if attempt.prepared is None or end.a is None:
            return None
        try:
            return self._snapshot(attempt, 0, attempt.prepared.runs[0], step=end.steps)
        except EngineFault as fault:
            # The answer is there; a fit that cannot be extended is begun again instead.
            _LOG.warning("job.no_last_checkpoint", extra=fields(detail=fault.detail))
            return None

    def _flush(self, attempt: _Attempt, *, before: int) -> None:
        """Write all of a run that has ended, and that the next one has not begun."""
        runs = attempt.prepared.runs if attempt.prepared else ()
        if before >= len(runs):
            # The last one's rows go with the end of the job.
            return
        snapshot = partial(self._snapshot, attempt, before, runs[before], step=-1)
        attempt.outage.insist(partial(attempt.recorder.flush, snapshot=snapshot))

    def _drive(self, attempt: _Attempt, index: int, run: Run) -> StopReason:
        """Compute one run until it stops by itself or is stopped."""
        num_runs = len(attempt.prepared.runs) if attempt.prepared else 1
        attempt.block_started = self.clock()
        for block in run.blocks(partial(self._breathe, attempt)):
            self.pulse.beat()
            progress = _progress(block, index, run, num_runs=num_runs)
            if block.stop_reason is not None:
                is_end = index + 1 == num_runs
                take = attempt.recorder.keep if is_end else attempt.recorder.add
                take(block.rows, progress=progress)
                return block.stop_reason
            snapshot = partial(self._snapshot, attempt, index, run, step=block.step)
            attempt.recorder.add(block.rows, progress=progress, snapshot=snapshot)
            reason = self._interruption(attempt, snapshot)
            if reason is not None:
                return reason
            attempt.block_started = self.clock()
        raise EngineFault("The engine ended without a reason", error_type=JobErrorType.INTERNAL)

    def _breathe(self, attempt: _Attempt) -> None:
        """Tell, within a block, that it gets on; give it up when it is long and in vain.

        Raises:
            LeaseLost: Another attempt has taken the job.
            _Drained: This process was asked to stop; the last checkpoint stands.
        """
        self.pulse.beat()
        if self.clock() - attempt.block_started < LONG_BLOCK_SECONDS:
            return
        if attempt.lease.is_lost:
            raise LeaseLost("The lease was lost in the middle of a block")
        if self.is_draining():
            raise _Drained

    def _interruption(self, attempt: _Attempt, snapshot: Snapshot) -> StopReason | None:
        """Look up, between two blocks, whether somebody wants this to end.

        Raises:
            LeaseLost: Another attempt has taken the job.
            _Drained: This process was asked to stop.
        """
        if attempt.lease.is_lost:
            raise LeaseLost("The lease was lost while a block was computed")
        if self.is_draining():
            attempt.outage.insist(partial(attempt.recorder.flush, snapshot=snapshot))
            raise _Drained
        if not attempt.outage.is_on:
            # Nobody can ask for anything while Redis is away.
            with attempt.outage.endured():
                if self.runs.is_cancel_requested(attempt.claim):
                    return StopReason.CANCELLED
        if self._computed_seconds(attempt) > attempt.claim.record.spec.timeout_seconds:
            return StopReason.TIME_LIMIT
        return None

    def _finish(self, attempt: _Attempt, status: Status, error: JobError | None) -> None:
        """Write everything that is known, and with the last of it the terminal status."""
        outcome = _make_outcome(attempt)
        checkpoint = self._last_checkpoint(attempt)

        def write() -> None:
            last = attempt.recorder.take_last()
            self.runs.finish(
                attempt.claim,
                status=status,
                outcome=outcome,
                error=error,
                checkpoint=checkpoint,
                last=last.batch,
                description=last.description,
            )

        attempt.outage.insist(write)
        seconds = round(self._computed_seconds(attempt), 4)
        _LOG.info("job.finished", extra=fields(status=str(status), run_seconds=seconds))


def _progress(block: Block, index: int, run: Run, *, num_runs: int) -> Progress:
    """Return where the job stands after a block of its run number `index`."""
    # A run that stopped early is as done as one that used all its steps.
    done = 1.0 if block.stop_reason else min(1.0, block.step / run.steps)
    return Progress(
        run=index,
        step=block.step,
        steps=run.steps,
        fraction=min(1.0, (index + done) / num_runs),
        loss=_finite(block.loss),
        a=_finite(block.a),
        b=_finite(block.b),
    )


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _make_outcome(attempt: _Attempt) -> Outcome | None:
    if attempt.prepared is None:
        return None
    spec = attempt.claim.record.spec
    is_comparison = isinstance(spec, ComparisonSpec) and len(attempt.results) > 0
    return Outcome(
        exact=attempt.prepared.exact,
        problem=attempt.prepared.problem,
        start=attempt.prepared.start,
        runs=tuple(attempt.results),
        ranking=rank(attempt.results) if is_comparison else None,
        winner=crown(attempt.results, tolerance=spec.tolerance) if is_comparison else None,
    )
