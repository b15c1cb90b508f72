"""A batch: one optimizer on many series of points, every series a run."""

from typing import Any, Literal, Self

from pydantic import model_validator

from app.domain.catalogue import refuse
from app.domain.data import Columns, JobData
from app.domain.optimizers import DEFAULT_OPTIMIZER, OptimizerSpec, check_pair
from app.domain.series import (
    LARGEST_SEED,
    GeneratedSeries,
    SeriesColumns,
    SeriesData,
    SeriesGenerator,
    StoredSeries,
)
from app.domain.spec import FitSpec, SpecBase, shared_fields


class BatchSpec(SpecBase[Literal["batch"], SeriesData]):
    """One optimizer on many series, each of any length, all from the same start.

    Attributes:
        kind: "batch".
        data: The series: a list of {x, y, name} or of lists of pairs, three columns {series, x, y},
            or {"generate": {..., "series": n}}.
        optimizer: A class of torch.optim, a name or an object with its own hyperparameters.
    """

    kind: Literal["batch"] = "batch"
    data: SeriesData = GeneratedSeries(generate=SeriesGenerator())
    optimizer: OptimizerSpec = OptimizerSpec.model_validate(DEFAULT_OPTIMIZER)

    @property
    def num_runs(self) -> int:
        """How many series there are; 1 while they belong to another job."""
        match self.data:
            case SeriesColumns():
                return len(self.data)
            case GeneratedSeries():
                return self.data.generate.series
            case StoredSeries():
                return self.data.num_series
            case JobData():
                return 1

    @property
    def num_histories(self) -> int:
        """None of its runs' rows are kept; one run's are made when they are asked for."""
        return 1

    @model_validator(mode="after")
    def _check_seeds(self) -> Self:
        is_drawn = isinstance(self.data, GeneratedSeries) and self.data.generate.seed is None
        if is_drawn and self.seed + self.num_runs > LARGEST_SEED:
            detail = "seed + series must be at most 2^63: every series has a seed of its own"
            raise refuse("Spec", "seed", "out-of-range", detail, self.seed)
        return self

    @model_validator(mode="after")
    def _check_pairs(self) -> Self:
        check_pair(self.optimizer, self.scheduler, steps=self.steps)
        return self


def fit_of_series(spec: BatchSpec, run: int, columns: Columns | None) -> FitSpec:
    """Return the fit that repeats one run of a batch exactly.

    Args:
        spec: The batch.
        run: Number of the series, from 0.
        columns: Its points where the spec does not say them: those of StoredSeries.
    """
    match spec.data:
        case SeriesColumns():
            data: object = spec.data.one(run)
        case GeneratedSeries():
            data = spec.data.one(run, seed=spec.seed)
        case StoredSeries() | JobData():
            data = columns
    shared: dict[str, Any] = {**shared_fields(spec), "data": data}
    return FitSpec.model_construct(**shared, optimizer=spec.optimizer)
