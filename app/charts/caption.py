"""What stands above a picture: the answer as its title, what was asked as its subtitle.

Pure functions of a job record: knows no picture.
"""

from collections.abc import Sequence
from typing import Final

from app.charts.series import Curve
from app.domain.batch import BatchSpec
from app.domain.data import Columns, Data, Generated, JobData, Preset, StoredColumns
from app.domain.history import Rows
from app.domain.job import JobRecord, Status
from app.domain.kinds import AnySpec, ManyRuns
from app.domain.message import message
from app.domain.optimizers import make_label
from app.domain.result import Exact
from app.domain.series import GeneratedSeries, SeriesColumns, SeriesData, StoredSeries
from app.domain.spec import ComparisonSpec, FitSpec, run_specs
from app.domain.sweep import SweepSpec

_LONGEST_TITLE: Final = 84
"""Characters that fit above the plot at the title's size."""
_LONGEST_SUBTITLE: Final = 128


def curves_of(record: JobRecord, rows: Sequence[Rows]) -> tuple[Curve, ...]:
    """Return the curves of a job's runs that have begun, coloured by their place in the job.

    Args:
        record: The job.
        rows: One entry a run, in the order of running; may be fewer than the job has runs.
    """
    if isinstance(record.spec, ManyRuns):
        return ()
    labels = [label for label, _ in run_specs(record.spec)]
    return tuple(
        Curve(label=label, rows=run_rows, color_index=run)
        for run, (label, run_rows) in enumerate(zip(labels, rows, strict=False))
        if len(run_rows)
    )


def title_of(record: JobRecord) -> str:
    """Return the answer: the fitted line, or who came first; the message while there is none."""
    outcome = record.outcome
    if record.status is Status.SUCCEEDED and outcome is not None and outcome.runs:
        winner = outcome.winner
        if winner is not None:
            equation = outcome.runs[winner.run].equation
            return _cut(f"{winner.label} comes first of {len(outcome.runs)}: {equation}")
        if isinstance(record.spec, FitSpec) and outcome.runs[0].equation is not None:
            return outcome.runs[0].equation
    return _cut(message(record).rstrip("."))


def subtitle_of(record: JobRecord) -> str:
    """Return what was asked, on one line."""
    return _cut(asked(record.spec), longest=_LONGEST_SUBTITLE)


def _cut(text: str, *, longest: int = _LONGEST_TITLE) -> str:
    return text if len(text) <= longest else f"{text[: longest - 1].rstrip()}\u2026"


def asked(spec: AnySpec) -> str:
    """Return a spec as people would say it, e.g. "Adam lr 0.001 on classic, float64, ..."."""
    parts = [f"{_who(spec)} on {describe_data(spec.data)}"]
    if not spec.zero_grad:
        parts.append("gradient never zeroed")
    if spec.batch_size is not None:
        parts.append(f"batches of {spec.batch_size:,}")
    if spec.loss != "mse":
        parts.append(f"{spec.loss} loss")
    if spec.scheduler is not None:
        parts.append(spec.scheduler.name)
    parts += [spec.dtype, f"at most {spec.steps:,} steps"]
    if spec.stop.loss_below is not None:
        parts.append(f"until loss < {spec.stop.loss_below:g}")
    if spec.stop.gradient_below is not None:
        parts.append(f"until gradient < {spec.stop.gradient_below:g}")
    if spec.stop.patience is not None:
        parts.append(f"patience {spec.stop.patience:,}")
    return ", ".join(parts)


def _who(spec: AnySpec) -> str:
    match spec:
        case FitSpec() | BatchSpec():
            return make_label(spec.optimizer)
        case ComparisonSpec():
            preset = f"{spec.preset}: " if spec.preset else ""
            return f"{preset}{count(len(spec.optimizers), 'optimizer')}"
        case SweepSpec():
            starts = f" x {count(spec.seeds, 'start')}" if spec.seeds > 1 else ""
            return (
                f"{count(len(spec.optimizers), 'optimizer')} x "
                f"{count(spec.num_rates, 'learning rate')}{starts}"
            )


def describe_data(data: Data | SeriesData) -> str:
    """Return the points as people would say it, e.g. "classic, first point"."""
    match data:
        case Preset():
            return _describe_preset(data)
        case Columns() | StoredColumns():
            num_points = len(data.x) if isinstance(data, Columns) else data.num_points
            return count(num_points, "point")
        case Generated():
            made = data.generate
            return f"{count(made.n, 'point')} of {made.a:g}\u00b7x {made.b:+g} with noise {made.noise:g}"
        case JobData():
            return f"the points of {data.job}"
        case _:
            return _describe_series(data)


def _describe_preset(data: Preset) -> str:
    match data.points:
        case None:
            return data.preset
        case 1:
            return f"{data.preset}'s first point"
        case points:
            return f"{data.preset}'s first {points:,} points"


def _describe_series(data: SeriesColumns | StoredSeries | GeneratedSeries) -> str:
    match data:
        case SeriesColumns() | StoredSeries():
            num_series = len(data) if isinstance(data, SeriesColumns) else data.num_series
            return f"{num_series:,} series with {count(data.num_points, 'point')}"
        case GeneratedSeries():
            made = data.generate
            return (
                f"{made.series:,} series of {count(made.n, 'point')} of {made.a:g}\u00b7x "
                f"{made.b:+g} with noise {made.noise:g}"
            )


def count(number: int, noun: str) -> str:
    """Return "1 point", "2 points"."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def describe_exact(exact: Exact) -> str:
    """Return in a few words how well the exact answer is known."""
    if not exact.unique:
        return "not unique: all x are equal, this is the answer of least norm"
    if exact.standard_errors is None:
        return ""
    return f"\u00b1 {exact.standard_errors.a:.2g} in a, \u00b1 {exact.standard_errors.b:.2g} in b"
