"""One attempt at a fit or a comparison: run after run, with their histories and checkpoints."""

import logging
import math
from dataclasses import dataclass, field
from functools import partial

from app.domain.errors import CheckpointUnusable, EngineFault, JobErrorType
from app.domain.job import JobError, Progress, Status
from app.domain.kinds import FewRuns
from app.domain.outcome import Outcome
from app.domain.ranking import crown, rank
from app.domain.result import RunResult, StopReason
from app.domain.series import SeriesColumns
from app.domain.spec import ComparisonSpec
from app.log import fields
from app.store.checkpoint import Checkpoint
from app.store.claim import Description
from worker.attempt import Attempt, Drained, Ending
from worker.contract import Block, Engine, Prepared, Run
from worker.ending import judge, time_limit_exceeded

_LOG = logging.getLogger(__name__)


@dataclass(slots=True, kw_only=True)
class Fit:
    """A fit or a comparison under way.

    Attributes:
        attempt: Whose.
        engine: What computes.
        spec: What to run.
        prepared: Data and runs, once they are there.
        results: Runs that have ended.
    """

    attempt: Attempt
    engine: Engine
    spec: FewRuns
    prepared: Prepared | None = None
    results: list[RunResult] = field(default_factory=list[RunResult])

    def compute(self) -> Ending:
        """Run every run of the job until all have ended or one is stopped."""
        prepared = self.prepared = self._prepare()
        for index in range(len(self.results), len(prepared.runs)):
            run = prepared.runs[index]
            reason = self._drive(index, run)
            self.results.append(run.result(reason))
            if reason is StopReason.CANCELLED:
                return Status.CANCELLED, None
            if reason is StopReason.TIME_LIMIT:
                limit = self.spec.timeout_seconds
                return Status.FAILED, time_limit_exceeded(self.results[-1], run, limit)
            self._flush(before=index + 1)
        return judge(self.results)

    def finish(self, status: Status, error: JobError | None) -> None:
        """Write everything that is known, and with the last of it the terminal status."""
        outcome = self._outcome()
        checkpoint = self._last_checkpoint()

        def write() -> None:
            last = self.attempt.recorder.take_last()
            self.attempt.runs.finish(
                self.attempt.claim,
                status=status,
                outcome=outcome,
                error=error,
                checkpoint=checkpoint,
                last=last.batch,
                description=last.description,
            )

        self.attempt.outage.insist(write)

    def _prepare(self) -> Prepared:
        """Load the data, and stand where an older attempt stood if that is possible.

        Raises:
            Drained: This process was asked to stop meanwhile.
        """
        attempt = self.attempt
        claim = attempt.claim
        prepared = self._load()
        try:
            self._resume(prepared)
            engine = prepared.engine
        except CheckpointUnusable as unusable:
            _LOG.warning("job.starts_over", extra=fields(detail=unusable.detail))
            attempt.outage.insist(lambda: attempt.runs.start_over(claim))
            # The first one may have been moved half way.
            prepared = self._load()
            engine = prepared.engine
            reason = f"{engine.reason}; started over, because {unusable.detail}"
            engine = engine.model_copy(update={"reason": reason})
        used = {"used": prepared.device, "worker": claim.worker}
        attempt.recorder.describe(
            Description(device=claim.record.device.model_copy(update=used), engine=engine)
        )
        if attempt.is_draining():
            raise Drained
        return prepared

    def _load(self) -> Prepared:
        columns = self.attempt.claim.columns
        if isinstance(columns, SeriesColumns):
            raise EngineFault("A fit has one series", error_type=JobErrorType.INTERNAL)
        return self.engine.prepare(self.spec, columns=columns, device=self.attempt.device)

    def _resume(self, prepared: Prepared) -> None:
        """Go on where the checkpoint says, with the time that it says was used.

        Raises:
            CheckpointUnusable: The attempt has to start over.
        """
        kept = self.attempt.claim.checkpoint
        if kept is None:
            return
        if not len(kept.results) == kept.run < len(prepared.runs):
            raise CheckpointUnusable("the checkpoint is of another job")
        prepared.runs[kept.run].resume(kept.state)
        self.results.extend(kept.results)
        self.attempt.started -= kept.seconds
        _LOG.info("job.resumed", extra=fields(run=kept.run, step=kept.step))

    def _snapshot(self, index: int, run: Run, *, step: int) -> Checkpoint | None:
        """Return where the job stands between two blocks, or before a run's first."""
        state = run.snapshot()
        if state is None:
            _LOG.warning("job.checkpoint_too_large", extra=fields(run=index))
            return None
        return Checkpoint(
            run=index,
            step=step,
            state=state,
            results=tuple(self.results[:index]),
            seconds=self.attempt.computed_seconds,
        )

    def _last_checkpoint(self) -> Checkpoint | None:
        """Return what a fit can be extended from, None where there is no line to go on from."""
        if isinstance(self.spec, ComparisonSpec) or not self.results:
            return None
        end = self.results[0]
        if self.prepared is None or end.a is None:
            return None
        try:
            return self._snapshot(0, self.prepared.runs[0], step=end.steps)
        except EngineFault as fault:
            # The answer is there; a fit that cannot be extended is begun again instead.
            _LOG.warning("job.no_last_checkpoint", extra=fields(detail=fault.detail))
            return None

    def _flush(self, *, before: int) -> None:
        """Write all of a run that has ended, and that the next one has not begun."""
        runs = self.prepared.runs if self.prepared else ()
        if before >= len(runs):
            # The last one's rows go with the end of the job.
            return
        snapshot = partial(self._snapshot, before, runs[before], step=-1)
        attempt = self.attempt
        attempt.outage.insist(partial(attempt.recorder.flush, snapshot=snapshot))

    def _drive(self, index: int, run: Run) -> StopReason:
        """Compute one run until it stops by itself or is stopped."""
        attempt = self.attempt
        num_runs = len(self.prepared.runs) if self.prepared else 1
        attempt.block_started = attempt.clock()
        for block in run.blocks(attempt.breathe):
            attempt.pulse.beat()
            progress = _progress(block, index, run, num_runs=num_runs)
            if block.stop_reason is not None:
                is_end = index + 1 == num_runs
                take = attempt.recorder.keep if is_end else attempt.recorder.add
                take(block.rows, progress=progress)
                return block.stop_reason
            snapshot = partial(self._snapshot, index, run, step=block.step)
            attempt.recorder.add(block.rows, progress=progress, snapshot=snapshot)
            reason = attempt.interruption(partial(attempt.recorder.flush, snapshot=snapshot))
            if reason is not None:
                return reason
            attempt.block_started = attempt.clock()
        raise EngineFault("The engine ended without a reason", error_type=JobErrorType.INTERNAL)

    def _outcome(self) -> Outcome | None:
        if self.prepared is None:
            return None
        found = Outcome(
            exact=self.prepared.exact,
            problem=self.prepared.problem,
            start=self.prepared.start,
            runs=tuple(self.results),
        )
        if not isinstance(self.spec, ComparisonSpec) or not self.results:
            return found
        by, tolerance = self.spec.rank_by, self.spec.tolerance
        winner = crown(self.results, tolerance=tolerance, by=by)
        return found.model_copy(update={"ranking": rank(self.results, by=by), "winner": winner})


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
