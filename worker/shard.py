"""One attempt at a job of many runs: it splits the job, computes a shard of it, or assembles it."""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Final

from app.domain.batch import BatchSpec
from app.domain.history import make_empty
from app.domain.job import JobError, JobRecord, Progress, Status
from app.domain.kinds import ManyRuns
from app.domain.outcome import Outcome
from app.domain.result import StopReason
from app.domain.run_records import never_made
from app.domain.shards import Cut, cut_runs
from app.domain.summary import BatchSummary, SweepSummary
from app.log import fields
from app.store.claim import Description, Split
from app.store.records import Shelf
from app.store.runs import Made
from worker.attempt import Attempt, Drained, Ending
from worker.contract import Engine, PreparedMany, Tally
from worker.ending import judge_many, time_over

ADVANCE_SECONDS: Final = 0.25
"""A shard says at most so often how far it is."""

_LOG = logging.getLogger(__name__)


@dataclass(slots=True, kw_only=True)
class Bench:
    """What a worker has in hand from one shard of a job to the next.

    Attributes:
        record: Of which job; None when it has none.
        prepared: Its data.
    """

    record: JobRecord | None = None
    prepared: PreparedMany | None = None

    def put(self, record: JobRecord, prepared: PreparedMany) -> PreparedMany:
        """Keep what the next shard of a job needs again."""
        self.record, self.prepared = record, prepared
        return prepared

    def clear(self) -> None:
        """Let go of it: points may fill most of the memory."""
        self.record = self.prepared = None

    def find(self, record: JobRecord) -> PreparedMany | None:
        """Return what is there for a job; another job's is let go."""
        has = self.record
        if has is None or (has.id, has.created_at_ms) != (record.id, record.created_at_ms):
            self.clear()
        return self.prepared


@dataclass(slots=True, kw_only=True)
class Sharded:
    """A job of many runs, or a shard of one, under way.

    Attributes:
        attempt: Whose.
        engine: What computes.
        spec: What to run.
        bench: What was prepared for another shard of the same job.
        make_wake_up: Writes a message that wakes another worker of a queue.
        prepared: The job's data, once they are there.
        records: One a run, once they are there.
        tally: What they come to.
    """

    attempt: Attempt
    engine: Engine
    spec: ManyRuns
    bench: Bench
    make_wake_up: Callable[[str], bytes] | None = None
    prepared: PreparedMany | None = None
    records: bytes = b""
    tally: Tally | None = None

    def compute(self) -> Ending | None:
        """Compute what was claimed; None when the job was split, and goes on without this attempt."""
        prepared = self.prepared = self._prepare()
        split = self.attempt.claim.split
        if split is None:
            return self._begin(prepared)
        if split.shard is None:
            return self._assemble(prepared, split)
        reason = self._run(prepared, split.shelf.cut.runs_of(split.shard))
        return _end(reason, self.spec) or (Status.SUCCEEDED, None)

    def finish(self, status: Status, error: JobError | None) -> None:
        """Write the shard's records, or the end of the job."""
        attempt = self.attempt
        if attempt.claim.shard is None:
            attempt.outage.insist(partial(self._finish_job, status, error))
            return
        records = self.records if status is Status.SUCCEEDED else b""
        attempt.outage.insist(
            lambda: attempt.runs.shards.finish(
                attempt.claim, status=status, records=records, error=error
            )
        )

    def _prepare(self) -> PreparedMany:
        claim = self.attempt.claim
        prepared = self.bench.find(claim.record)
        if prepared is None:
            prepared = self.engine.prepare_many(
                self.spec, columns=claim.columns, device=self.attempt.device
            )
            self.bench.put(claim.record, prepared)
        if self.attempt.is_draining():
            raise Drained
        return prepared

    def _shelf(self, cut: Cut) -> Shelf:
        return Shelf(is_batch=isinstance(self.spec, BatchSpec), cut=cut)

    def _begin(self, prepared: PreparedMany) -> Ending | None:
        """Split a job; compute one that is not worth it."""
        attempt, spec = self.attempt, self.spec
        cut = cut_runs(spec.num_runs, steps=spec.steps, are_lanes=prepared.are_lanes)
        shelf = self._shelf(cut)
        record = attempt.claim.record
        used = {"used": prepared.device, "worker": attempt.claim.worker}
        device = record.device.model_copy(update=used)
        description = Description(device=device, engine=prepared.engine)
        if shelf.cut.num_shards > 1:
            attempt.outage.insist(
                lambda: attempt.runs.shards.split(
                    attempt.claim, shelf, description=description, make_wake_up=self.make_wake_up
                )
            )
            _LOG.info("job.split", extra=fields(shards=shelf.cut.num_shards))
            return None
        attempt.recorder.describe(description)
        reason = self._run(prepared, range(shelf.cut.num_runs))
        made = self.records or never_made(shelf.cut.num_runs, is_batch=shelf.is_batch)
        self.tally = self._sum_up(prepared, made)
        return _end(reason, self.spec) or judge_many(self.tally.summary)

    def _assemble(self, prepared: PreparedMany, split: Split) -> Ending:
        """Sum up what the shards have written."""
        self.tally = self._sum_up(prepared, self._gather())
        shelf = split.shelf
        made = sum(len(runs) for is_done, runs in shelf.stretches() if is_done)
        self.attempt.recorder.keep(make_empty(), progress=self._progress(made, share=made))
        if split.closed is not None:
            return split.closed, split.fault
        return judge_many(self.tally.summary)

    def _sum_up(self, prepared: PreparedMany, records: bytes) -> Tally:
        self.attempt.block_started = self.attempt.clock()
        return prepared.sum_up(records, self.attempt.breathe)

    def _gather(self) -> bytes:
        """Read the records of all runs; of those that were never made, that they were not."""
        attempt, parts = self.attempt, list[bytes]()

        def read(runs: range) -> None:
            parts.append(attempt.runs.shards.read(attempt.claim, runs))

        for piece in attempt.runs.shards.pieces(attempt.claim):
            if isinstance(piece, bytes):
                parts.append(piece)
            else:
                attempt.outage.insist(partial(read, piece))
        return b"".join(parts)

    def _run(self, prepared: PreparedMany, runs: range) -> StopReason | None:
        """Compute some of the runs; return why they were stopped, None when they were not."""
        attempt, work = self.attempt, prepared.slice(runs)
        told_at = attempt.block_started = attempt.clock()
        for share in work.blocks(attempt.breathe):
            attempt.pulse.beat()
            if attempt.claim.shard is None:
                self._add_progress(share * len(runs))
            elif attempt.clock() - told_at >= ADVANCE_SECONDS and not attempt.outage.is_on:
                told_at = attempt.clock()
                with attempt.outage.endured():
                    attempt.runs.shards.advance(attempt.claim, runs=share * len(runs))
            if share < 1:
                reason = attempt.interruption()
                if reason is not None:
                    return reason
            attempt.block_started = attempt.clock()
        self.records = work.records()
        return None

    def _add_progress(self, runs: float) -> None:
        """Tell how far a job is that one attempt computes; its end carries the last of it."""
        recorder, is_end = self.attempt.recorder, runs >= self.spec.num_runs
        progress = self._progress(self.spec.num_runs if is_end else 0, share=runs)
        (recorder.keep if is_end else recorder.add)(make_empty(), progress=progress)

    def _progress(self, made: int, *, share: float) -> Progress:
        fraction = min(1.0, share / self.spec.num_runs)
        return Progress(run=made, step=0, steps=self.spec.steps, fraction=fraction)

    def _finish_job(self, status: Status, error: JobError | None) -> None:
        last = self.attempt.recorder.take_last()
        is_whole = self.attempt.claim.split is None
        self.attempt.runs.finish(
            self.attempt.claim,
            status=status,
            outcome=self._outcome(),
            error=error,
            last=last.batch,
            description=last.description,
            made=Made(
                orders=self.tally.orders if self.tally else {},
                whole=self._shelf(Cut(self.spec.num_runs, 1)) if is_whole else None,
                records=self.records,
            ),
        )

    def _outcome(self) -> Outcome | None:
        if self.prepared is None:
            return None
        summary = self.tally.summary if self.tally else None
        return Outcome(
            exact=self.prepared.exact,
            problem=self.prepared.problem,
            runs=(),
            sweep=summary if isinstance(summary, SweepSummary) else None,
            batch=summary if isinstance(summary, BatchSummary) else None,
        )


def _end(reason: StopReason | None, spec: ManyRuns) -> Ending | None:
    """Return how runs end that were stopped; None when they were not."""
    if reason is None:
        return None
    if reason is StopReason.CANCELLED:
        return Status.CANCELLED, None
    return Status.FAILED, time_over(spec.num_runs, limit_seconds=spec.timeout_seconds)
