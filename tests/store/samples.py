"""Small objects that the store's tests put in."""

import itertools
from array import array
from typing import Any

from redis import Redis

from app.domain.history import Rows
from app.domain.job import JobError, JobErrorType, Progress
from app.domain.outcome import Outcome
from app.domain.result import (
    DeviceUsed,
    EngineUsed,
    Point,
    RunResult,
    StopReason,
    Verified,
)
from app.domain.spec import FitSpec
from app.store.checkpoint import Checkpoint
from app.store.claim import Claim
from app.store.keys import Keys
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
