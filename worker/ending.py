"""How a job ended whose runs were computed, in the words of the contract; pure functions."""

from collections.abc import Sequence

from app.domain.errors import JobErrorType
from app.domain.job import JobError, Status
from app.domain.result import RunResult
from app.domain.summary import BatchSummary, SweepSummary
from worker.contract import Run


def judge(results: Sequence[RunResult]) -> tuple[Status, JobError | None]:
    """Return how a job ended whose runs all stopped by themselves: one finite line is success."""
    if any(result.a is not None for result in results):
        return Status.SUCCEEDED, None
    first = results[0]
    if first.error is not None:
        detail = f"{first.label} failed: {first.error}"
        return Status.FAILED, JobError(type=JobErrorType.INTERNAL, detail=detail, retryable=False)
    tried = f" at lr {first.lr:g}" if first.lr is not None else ""
    return Status.FAILED, JobError(
        type=JobErrorType.DIVERGED,
        detail=f"{first.label}{tried} diverged: the loss was no longer a finite number at step "
        f"{first.steps}",
        retryable=False,
        step=first.steps,
    )


def time_limit_exceeded(result: RunResult, run: Run, limit_seconds: float) -> JobError:
    """Return the error of a job whose time was over.

    Args:
        result: What the run in hand had reached.
        run: The run in hand.
        limit_seconds: timeout_seconds of the spec.
    """
    return JobError(
        type=JobErrorType.TIME_LIMIT_EXCEEDED,
        detail=f"{run.label} had made {result.steps} of {run.steps} steps when timeout_seconds "
        f"({limit_seconds:g}) were over",
        retryable=True,
        step=result.steps,
        suggestion="Raise timeout_seconds, or ask for fewer steps",
    )


def judge_many(summary: SweepSummary | BatchSummary) -> tuple[Status, JobError | None]:
    """Return how a job ended whose many runs were all made: one finite line is success."""
    if isinstance(summary, SweepSummary):
        has_line, number = summary.best is not None, summary.runs
    else:
        has_line, number = summary.a is not None, summary.series
    if has_line:
        return Status.SUCCEEDED, None
    detail = f"None of the {number} runs ended with a finite line"
    return Status.FAILED, JobError(type=JobErrorType.DIVERGED, detail=detail, retryable=False)


def time_over(num_runs: int, *, limit_seconds: float) -> JobError:
    """Return the error of runs that are computed together, and whose time was over.

    Args:
        num_runs: How many the job has.
        limit_seconds: timeout_seconds of the spec.
    """
    return JobError(
        type=JobErrorType.TIME_LIMIT_EXCEEDED,
        detail=f"Not all of the {num_runs} runs were made when timeout_seconds "
        f"({limit_seconds:g}) were over",
        retryable=True,
        suggestion="Raise timeout_seconds, or ask for fewer runs or steps",
    )
