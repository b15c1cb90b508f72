"""The one sentence for people that says where a job stands; the job object's `message`."""

from typing import Final

from app.domain.findings import say_findings, say_progress
from app.domain.job import JobRecord, Progress, Status
from app.domain.kinds import FewRuns, ManyRuns
from app.domain.outcome import Outcome
from app.domain.result import RunResult, StopReason
from app.domain.spec import FitSpec, run_specs

_REASONS: Final = {
    StopReason.MAX_STEPS: "all its steps are made",
    StopReason.LOSS_BELOW: "the loss is below the limit",
    StopReason.GRADIENT_BELOW: "the gradient is below the limit",
    StopReason.PATIENCE: "the loss no longer falls",
    StopReason.DIVERGED: "the loss is no longer finite",
    StopReason.CANCELLED: "it was cancelled",
    StopReason.TIME_LIMIT: "its time was up",
    StopReason.FAILED: "it failed",
}


def message(record: JobRecord) -> str:
    """Return one sentence (two where a cancel or a reason needs its own) with the key numbers."""
    match record.status:
        case Status.QUEUED:
            return _of_queued(record)
        case Status.RUNNING:
            return _of_running(record)
        case Status.SUCCEEDED:
            return _of_succeeded(record)
        case Status.FAILED:
            return _of_failed(record)
        case Status.CANCELLED:
            return _of_cancelled(record)


def explain_stop(reason: StopReason) -> str:
    """Return why a run stopped, as a clause."""
    return _REASONS[reason]


def _of_queued(record: JobRecord) -> str:
    queue = record.device.queue
    if record.attempt:
        return f"Back in the {queue} queue after attempt {record.attempt} was interrupted."
    return f"Waiting for a {queue} worker."


def _of_running(record: JobRecord) -> str:
    verb = "Running" if record.cancel_requested_at_ms is None else "Cancelling"
    if record.progress is None:
        return f"{verb}: preparing the data."
    if isinstance(record.spec, ManyRuns):
        return f"{verb}: {say_progress(record)}."
    return f"{verb} {_name_of_run(record.spec, record.progress)}: {_where(record.progress)}."


def _name_of_run(spec: FewRuns, progress: Progress) -> str:
    runs = run_specs(spec)
    label = runs[progress.run][0] if progress.run < len(runs) else f"run {progress.run}"
    return label if len(runs) == 1 else f"{label} ({progress.run + 1} of {len(runs)})"


def _where(progress: Progress) -> str:
    where = f"step {progress.step} of {progress.steps}"
    return where if progress.loss is None else f"{where}, loss {progress.loss:.3g}"


def _of_succeeded(record: JobRecord) -> str:
    outcome = record.outcome
    if isinstance(record.spec, ManyRuns):
        return say_findings(record)
    if outcome is None or not outcome.runs:
        return "Done."
    if isinstance(record.spec, FitSpec):
        return _of_run(outcome.runs[0])
    return _of_ranking(outcome)


def _of_run(run: RunResult) -> str:
    line = f"{run.equation}, loss {_number(run.loss)}"
    if run.converged and run.stop_reason is StopReason.MAX_STEPS:
        return f"Converged within {run.steps} steps: {line}."
    if run.converged:
        return f"Converged at step {run.steps}: {line}."
    return f"Stopped at step {run.steps} before it converged ({_REASONS[run.stop_reason]}): {line}."


def _of_ranking(outcome: Outcome) -> str:
    if outcome.winner is None:
        return f"None of {len(outcome.runs)} optimizers ended on a finite line."
    return f"First of {len(outcome.runs)}: {outcome.winner.why}"


def _of_failed(record: JobRecord) -> str:
    if record.error is None:
        return "Failed."
    return f"Failed ({record.error.type}): {record.error.detail.rstrip('.')}."


def _of_cancelled(record: JobRecord) -> str:
    if record.progress is None or record.started_at_ms is None:
        return "Cancelled before the first step."
    if isinstance(record.spec, ManyRuns):
        return f"Cancelled when {say_progress(record)}; what they found is kept."
    where = _where(record.progress)
    return f"Cancelled at {where}; the history up to there is kept."


def _number(value: float | None) -> str:
    return "not finite" if value is None else f"{value:.3g}"
