"""A worker moved by hand, and the results that it hands in."""

from array import array
from typing import Any

from app.domain.history import Rows
from app.domain.job import JobError, Progress, Status, WorkerInfo
from app.domain.outcome import Outcome
from app.domain.result import (
    DeviceUsed,
    EngineUsed,
    Exact,
    Point,
    Problem,
    RunResult,
    StandardErrors,
    StopReason,
    Verified,
    Winner,
)
from app.store.claim import Claim, Description
from app.store.runs import RunStore

VERIFIED = Verified(
    against="torch.optim.Adam 2.13.0", steps=4, points=1000, max_relative_difference=2e-16
)
ENGINE = EngineUsed(name="rules", reason="asked for", version="2.13.0", verified=VERIFIED)
EXACT = Exact(
    a=1.0,
    b=0.0,
    loss=0.0,
    r2=1.0,
    unique=True,
    standard_errors=StandardErrors(a=0.1, b=0.2),
    method="QR, float64",
)
PROBLEM = Problem(
    points=1000,
    mean_x=0.0,
    mean_y=0.0,
    variance_x=1.0,
    hessian_eigenvalues=(2.0, 2.0),
    condition_number=1.0,
    largest_stable_sgd_lr=1.0,
    best_sgd_lr=0.5,
)


def make_rows(count: int, *, first: int = 0, batches: bool = False) -> Rows:
    """Return rows whose loss is 1 / (1 + step)."""
    step = array("q", range(first, first + count))
    loss = array("d", [1.0 / (1 + k) for k in step])
    batch = array("d", [float("nan") if k == 0 else 0.5 for k in step]) if batches else None
    return Rows(step=step, loss=loss, a=loss, b=loss, excess_loss=loss, batch_loss=batch)


def make_result(run: int = 0, label: str = "Adam", **changes: Any) -> RunResult:
    given: dict[str, Any] = {
        "run": run,
        "label": label,
        "optimizer": "Adam",
        "lr": 0.001,
        "a": 1.0,
        "b": 0.0,
        "equation": "y = 1.0000\u00b7x + 0.0000",
        "loss": 1e-9,
        "excess_loss": 1e-9,
        "r2": 1.0,
        "stop_reason": StopReason.LOSS_BELOW,
        "converged": True,
        "steps": 100,
        "evaluations": 100,
        "steps_to_tolerance": 90,
        "best": Point(step=9, loss=0.1, excess_loss=0.1, a=0.1, b=0.1),
        "gradient_norm": 1e-5,
        "run_seconds": 0.02,
        "engine": "rules",
    }
    return RunResult(**{**given, **changes})


def make_outcome(*results: RunResult, ranking: tuple[int, ...] | None = None) -> Outcome:
    runs = results or (make_result(),)
    winner = None
    if ranking:
        first = runs[ranking[0]]
        winner = Winner(run=ranking[0], label=first.label, why=f"{first.label} came first.")
    return Outcome(exact=EXACT, problem=PROBLEM, runs=runs, ranking=ranking, winner=winner)


class Hand:
    """Moves jobs through their states, one write at a time."""

    def __init__(self, runs: RunStore) -> None:
        self.runs = runs

    def claim(self) -> Claim:
        """Take the next job, which must be there."""
        claim = self.runs.claim("cpu", worker="w1", device="cpu")
        assert claim is not None
        used = DeviceUsed(requested="auto", queue="cpu", used="cpu", worker="w1", reason="few")
        self.runs.describe(claim, Description(device=used, engine=ENGINE))
        return claim

    def record(self, claim: Claim, rows: Rows, *, run: int = 0, with_event: bool = False) -> None:
        """Write rows and the progress that they make."""
        step = rows.step[-1]
        progress = Progress(
            run=run, step=step, steps=10_000, fraction=step / 10_000, loss=0.1, a=1.0, b=0.0
        )
        self.runs.record(claim, run=run, rows=[rows], progress=progress, with_event=with_event)

    def finish(
        self,
        claim: Claim,
        outcome: Outcome | None = None,
        *,
        status: Status = Status.SUCCEEDED,
        error: JobError | None = None,
    ) -> None:
        """End the job."""
        self.runs.finish(claim, status=status, outcome=outcome, error=error)

    def run_next(self, rows: int = 10) -> None:
        """Take the next job, record some rows of a fit and let it succeed."""
        claim = self.claim()
        self.record(claim, make_rows(rows))
        self.finish(claim, make_outcome())

    def announce(self, name: str = "w1", *, job: str | None = None) -> None:
        """Say that a cpu worker lives."""
        info = WorkerInfo(
            name=name, queue="cpu", devices=("cpu",), torch="2.13.0", started_at_ms=1, job=job
        )
        self.runs.announce(info, ttl_seconds=30)
