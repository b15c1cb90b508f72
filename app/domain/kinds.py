"""Every kind of job: the specs that there are, and the plain fit behind each of their runs."""

from typing import Annotated

from pydantic import Field

from app.domain.batch import BatchSpec, fit_of_series
from app.domain.data import Columns
from app.domain.series import SeriesColumns
from app.domain.spec import ComparisonSpec, FitSpec, run_specs
from app.domain.sweep import SweepSpec, fit_of, place_of

FewRuns = FitSpec | ComparisonSpec
"""Kinds whose runs are results of their own, with histories."""
ManyRuns = SweepSpec | BatchSpec
"""Kinds whose runs are records of the store."""
AnySpec = FewRuns | ManyRuns
"""Everything that a job can run."""

Spec = Annotated[AnySpec, Field(discriminator="kind")]
"""The same, as JSON tells it."""


def contenders_of(spec: AnySpec) -> tuple[tuple[str, FitSpec], ...]:
    """Return a label and a fit for every optimizer: all runs of one have the same engine."""
    match spec:
        case SweepSpec():
            each = spec.num_rates * spec.seeds
            return tuple(
                (contender.label, fit_of(spec, place * each))
                for place, contender in enumerate(spec.optimizers)
            )
        case BatchSpec():
            return ((spec.optimizer.name, fit_of_series(spec, 0, None)),)
        case FitSpec() | ComparisonSpec():
            return run_specs(spec)


def label_of_run(spec: AnySpec, run: int) -> str:
    """Return what people call one run, by the spec alone; `run` counts from 0."""
    match spec:
        case SweepSpec():
            place = place_of(spec, run)
            start = f" seed {spec.seed + place.seed}" if spec.seeds > 1 else ""
            return f"{spec.optimizers[place.optimizer].label} lr {spec.rates[place.rate]:g}{start}"
        case BatchSpec():
            names = spec.data.names if isinstance(spec.data, SeriesColumns) else None
            return names[run] if names else f"series {run}"
        case FitSpec() | ComparisonSpec():
            return run_specs(spec)[run][0]


def fit_of_run(spec: AnySpec, run: int, columns: Columns | None = None) -> FitSpec:
    """Return the fit that makes the numbers of one run by itself.

    Args:
        spec: The job's.
        run: Number of the run, from 0.
        columns: The points of a batch's series that the spec does not say.
    """
    match spec:
        case SweepSpec():
            return fit_of(spec, run)
        case BatchSpec():
            return fit_of_series(spec, run, columns)
        case FitSpec() | ComparisonSpec():
            return run_specs(spec)[run][1]
