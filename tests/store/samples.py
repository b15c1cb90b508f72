"""Small objects that the store's tests put in."""

import itertools
from array import array
from collections.abc import Iterable
from typing import Any

from redis import Redis

from app.domain.history import Rows
from app.domain.job import JobError, JobErrorType, Progress, Status
from app.domain.outcome import Outcome
from app.domain.result import (
    DeviceUsed,
    EngineUsed,
    Point,
    RunResult,
    StopReason,
    Verified,
)
from app.domain.run_records import RunRecord, pack_record
from app.domain.shards import Cut, cut_runs
from app.domain.spec import FitSpec
from app.domain.sweep import SweepSpec
from app.store.checkpoint import Checkpoint
from app.store.claim import Claim, Description
from app.store.keys import Keys
from app.store.records import Shelf
from app.store.runs import RunStore
from app.store.submission import NewJob

_NUMBERS = itertools.count(1)

KEYS = Keys("fit")
CPU = DeviceUsed(requested="auto", queue="cpu", reason="few points")
VERIFIED = Verified(
    against="torch.optim.Adam 2.13.0", steps=4, points=1000, max_relative_difference=2e-16
)
ENGINE = EngineUsed(name="rules", reason="asked for", version="2.13.0", verified=VERIFIED)
FAILURE = JobError(type=JobErrorType.DIVERGED, detail="loss is inf", retryable=False)


def make_job(job_id: str | None = None, **changes: Any) -> NewJob:
    given: dict[str, Any] = {
        "id": job_id or f"job_{next(_NUMBERS)}",
        "spec": FitSpec(),
        "fingerprint": "one",
        "device": CPU,
    }
    return NewJob(**{**given, **changes})


def make_rows(first: int, stop: int, *, distance: int = 1) -> Rows:
    step = array("q", range(first, stop, distance))
    column = array("d", [1.0 / (1 + k) for k in step])
    return Rows(step=step, loss=column, a=column, b=column, excess_loss=column)


def make_progress(step: int, *, run: int = 0) -> Progress:
    return Progress(run=run, step=step, steps=100, fraction=0.5, loss=0.1, a=1.0, b=0.0)


def make_outcome(best: Point | None = None) -> Outcome:
    result = RunResult(
        label="Adam",
        optimizer="Adam",
        lr=0.1,
        a=1.0,
        b=0.0,
        equation="y = x",
        loss=0.1,
        excess_loss=0.1,
        r2=1.0,
        stop_reason=StopReason.MAX_STEPS,
        converged=True,
        steps=100,
        evaluations=100,
        steps_to_tolerance=None,
        best=best,
        gradient_norm=0.0,
        run_seconds=0.1,
    )
    return Outcome(exact=None, problem=None, runs=(result,))


def make_sweep(num_runs: int = 1_000, **changes: Any) -> SweepSpec:
    """A sweep that is cut into shards of 64 runs, give or take one."""
    given: dict[str, Any] = {"optimizers": ["sgd"], "lr": [0.1], "seeds": num_runs}
    return SweepSpec.model_validate({**given, "steps": 1_000_000, "record_every": 100, **changes})


def record_of(run: int) -> bytes:
    """The record of one run of a sweep, which no other run has."""
    return pack_record(
        RunRecord(
            steps=run,
            steps_to_tolerance=-1,
            reason=1,
            a=float(run),
            b=-float(run),
            loss=0.5,
            excess_loss=0.25,
            best_loss=0.5,
        ),
        is_batch=False,
    )


def records_of(runs: Iterable[int]) -> bytes:
    """The records of some runs."""
    return b"".join(map(record_of, runs))


def shelf_of(spec: SweepSpec) -> Shelf:
    """How a sweep is cut."""
    return Shelf(is_batch=False, cut=cut_runs(spec.num_runs, steps=spec.steps))


def split(runs: RunStore, claim: Claim, *, num_shards: int | None = None) -> Shelf:
    """Split a sweep as its first attempt does, or into so many shards."""
    assert isinstance(claim.record.spec, SweepSpec)
    shelf = shelf_of(claim.record.spec)
    if num_shards is not None:
        shelf = Shelf(is_batch=False, cut=Cut(shelf.cut.num_runs, num_shards))
    runs.shards.split(claim, shelf, description=Description(device=CPU, engine=ENGINE))
    return shelf


def deliver(runs: RunStore, claim: Claim) -> None:
    """End a shard as a worker does that has computed it."""
    assert claim.split is not None
    assert claim.split.shard is not None
    records = records_of(claim.split.shelf.cut.runs_of(claim.split.shard))
    runs.shards.finish(claim, status=Status.SUCCEEDED, records=records)


def gather(runs: RunStore, claim: Claim) -> bytes:
    """Read all records as the assembly does."""
    return b"".join(
        piece if isinstance(piece, bytes) else runs.shards.read(claim, piece)
        for piece in runs.shards.pieces(claim)
    )


def write(
    runs: RunStore,
    claim: Claim,
    rows: Rows,
    *,
    run: int = 0,
    checkpoint: Checkpoint | None = None,
) -> None:
    """Record rows without an event."""
    progress = make_progress(rows.step[-1], run=run)
    runs.record(
        claim, run=run, rows=[rows], progress=progress, with_event=False, checkpoint=checkpoint
    )


def claim_from(runs: RunStore, *, worker: str = "w1") -> Claim:
    """Claim the next job of the cpu queue, which must be there."""
    claim = runs.claim("cpu", worker=worker, device="cpu")
    assert claim is not None
    return claim


def lapse(redis: Redis, job_id: str) -> None:
    """Let the job's lease end now."""
    assert redis.zadd(f"{KEYS.prefix}leases", {job_id: 1}, xx=True, ch=True) == 1


def leased(redis: Redis) -> set[str]:
    """Return the ids that have a lease."""
    return {raw.decode() for raw in redis.zrange(f"{KEYS.prefix}leases", 0, -1)}
