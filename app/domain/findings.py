"""What a sweep or a batch does and has found, in sentences for the job object's `message`."""

from app.domain.job import JobRecord
from app.domain.summary import BatchSummary, RunPoint, SweepSummary


def runs_done(record: JobRecord) -> int:
    """Return how many runs of the job have been made."""
    found = record.outcome
    if found is not None and found.sweep is not None:
        return found.sweep.done
    if found is not None and found.batch is not None:
        return found.batch.done
    if record.progress is None:
        return 0
    return round(record.progress.fraction * record.spec.num_runs)


def say_progress(record: JobRecord) -> str:
    """Return e.g. "1,024 of 40,000 runs are done"."""
    noun = "series" if record.spec.kind == "batch" else "runs"
    return f"{runs_done(record):,} of {record.spec.num_runs:,} {noun} are done"


def say_findings(record: JobRecord) -> str:
    """Return what a job that has succeeded found, as a sentence or two."""
    found = record.outcome
    if found is not None and found.sweep is not None:
        return _of_sweep(found.sweep)
    if found is not None and found.batch is not None:
        return _of_batch(found.batch)
    return "Done."


def _of_sweep(found: SweepSummary) -> str:
    counts = f"{found.converged:,} converged, {found.diverged:,} diverged."
    if found.best is None:
        return f"None of {found.done:,} runs ended on a finite line."
    edges = [
        f"{optimizer.label} is best at the {optimizer.edge} learning rate"
        for optimizer in found.optimizers
        if optimizer.edge is not None and optimizer.label == found.best.label
    ]
    edge = f" {edges[0]}: a better one may lie outside." if edges else ""
    return f"Best of {found.done:,} runs: {describe_point(found.best)}; {counts}{edge}"


def describe_point(point: RunPoint) -> str:
    """Return one run of a sweep in a few words."""
    height = point.excess_loss if point.excess_loss is not None else point.loss
    name = "loss" if point.excess_loss is None else "excess loss"
    ended = "" if height is None else f", {name} {height:.3g}"
    if point.steps_to_tolerance is not None:
        return (
            f"{point.label} at lr {point.lr:.4g}, within tolerance after "
            f"{point.steps_to_tolerance:,} steps{ended}"
        )
    return f"{point.label} at lr {point.lr:.4g}{ended} after {point.steps:,} steps"


def _of_batch(found: BatchSummary) -> str:
    parts = [f"{found.converged:,} converged", f"{found.diverged:,} diverged"]
    if found.not_unique:
        parts.append(f"{found.not_unique:,} have no single exact line")
    spread = found.excess_loss or found.loss
    name = "excess loss" if found.excess_loss is not None else "loss"
    end = f"; {name} {spread.median:.3g} in the middle, {spread.max:.3g} at most" if spread else ""
    return f"Fitted {found.done:,} series with {found.points:,} points: {', '.join(parts)}{end}."
