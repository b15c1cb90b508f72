"""A sweep: optimizers x learning rates x starts on the same points, every run a column's number."""

import math
from collections.abc import Mapping
from functools import lru_cache
from typing import Annotated, Any, Final, Literal, NamedTuple, Self

from pydantic import BeforeValidator, Discriminator, Field, Tag, model_validator

from app.domain.catalogue import refuse
from app.domain.data import Data, Generated, Preset
from app.domain.frozen import Frozen
from app.domain.optimizers import OptimizerSpec, SweptContender, check_labels, check_pair
from app.domain.series import LARGEST_SEED
from app.domain.spec import MAX_CONTENDERS, FitSpec, SpecBase, shared_fields

MAX_RUNS: Final = 1_000_000
MAX_LISTED_RATES: Final = 1_000
LARGEST_RATE: Final = 1e30

Rate = Annotated[float, Field(gt=0, le=LARGEST_RATE)]


class Grid(Frozen):
    """Learning rates at equal distances, both ends included.

    Attributes:
        min: The smallest.
        max: The largest.
        num: How many.
        scale: "log" spaces their logarithms equally, "linear" the rates.
    """

    min: Rate = 1e-4
    max: Rate = 10.0
    num: int = Field(default=16, ge=1, le=MAX_RUNS)
    scale: Literal["log", "linear"] = "log"

    @model_validator(mode="after")
    def _check_order(self) -> Self:
        if self.max < self.min:
            raise refuse("Grid", "max", "out-of-range", "max must not be below min", self.max)
        return self

    @lru_cache(maxsize=8)  # noqa: B019  # a few grids, each up to a million rates, asked for each run
    def values(self) -> tuple[float, ...]:
        """Return the rates, smallest first; the ends are exact."""
        if self.num == 1:
            return (self.min,)
        inner = range(1, self.num - 1)
        if self.scale == "linear":
            width = (self.max - self.min) / (self.num - 1)
            return (self.min, *(self.min + k * width for k in inner), self.max)
        # Each by itself: their quotient may leave the floats.
        low, high = math.log10(self.min), math.log10(self.max)
        width = (high - low) / (self.num - 1)
        return (self.min, *(10.0 ** (low + k * width) for k in inner), self.max)


def _form_of(given: object) -> str | None:
    """Name the form of `lr`."""
    if isinstance(given, Grid | Mapping):
        return "<grid>"
    return "<list>" if isinstance(given, list | tuple) else None


def _shortest_form(given: object) -> object:
    """Turn one learning rate into a list of it."""
    return [given] if type(given) in {int, float} else given


Rates = Annotated[
    Annotated[Grid, Tag("<grid>")]
    | Annotated[
        tuple[Rate, ...],
        Field(strict=False, min_length=1, max_length=MAX_LISTED_RATES),
        Tag("<list>"),
    ],
    Discriminator(
        _form_of,
        custom_error_type="wrong-type",
        custom_error_message='Give a list of learning rates, or {"min": 1e-4, "max": 10, "num": 16}',
    ),
    BeforeValidator(_shortest_form),
]


class Place(NamedTuple):
    """Where a run lies in a sweep: positions of its optimizer, learning rate and start."""

    optimizer: int
    rate: int
    seed: int


class SweepSpec(SpecBase[Literal["sweep"], Data]):
    """Optimizers x learning rates x starts on the same points.

    Runs are numbered with the starts running fastest and the optimizers slowest.

    Attributes:
        kind: "sweep".
        optimizers: 1 to 64 optimizers; the grid takes the place of their own learning rates.
        lr: A grid of learning rates, or a list of them.
        seeds: How many starts: the draws of nn.Linear(1, 1) under seed, seed + 1, ... The points
            stay those of the first.
    """

    kind: Literal["sweep"] = "sweep"
    data: Data = Preset(preset="classic")
    optimizers: Annotated[tuple[SweptContender, ...], Field(strict=False)] = Field(
        default=tuple(
            SweptContender.model_validate(name) for name in ("SGD", "Adam", "Adagrad", "RMSprop")
        ),
        min_length=1,
        max_length=MAX_CONTENDERS,
    )
    lr: Rates = Grid()
    seeds: int = Field(default=1, ge=1, le=MAX_RUNS)

    @property
    def rates(self) -> tuple[float, ...]:
        """The learning rates, in the order of the runs."""
        return self.lr.values() if isinstance(self.lr, Grid) else self.lr

    @property
    def num_rates(self) -> int:
        """How many learning rates there are."""
        return self.lr.num if isinstance(self.lr, Grid) else len(self.lr)

    @property
    def num_runs(self) -> int:
        """How many runs the job has."""
        return len(self.optimizers) * self.num_rates * self.seeds

    @property
    def num_histories(self) -> int:
        """None of its runs' rows are kept; one run's are made when they are asked for."""
        return 1

    @model_validator(mode="after")
    def _check_pairs(self) -> Self:
        for contender in self.optimizers:
            check_pair(contender.optimizer, self.scheduler, steps=self.steps)
        return self

    @model_validator(mode="after")
    def _check_labels(self) -> Self:
        check_labels(self.optimizers)
        return self

    @model_validator(mode="after")
    def _check_seeds(self) -> Self:
        if self.seed + self.seeds > LARGEST_SEED:
            detail = "seed + seeds must be at most 2^63: every start has a seed of its own"
            raise refuse("Spec", "seeds", "out-of-range", detail, self.seeds)
        return self

    @model_validator(mode="after")
    def _check_runs(self) -> Self:
        if self.num_runs > MAX_RUNS:
            detail = (
                f"This would be {self.num_runs:,} runs, at most 1,000,000 are served: "
                "lower lr.num or seeds, or leave out optimizers"
            )
            raise refuse("Spec", "lr", "too-many-runs", detail, None)
        return self


def place_of(spec: SweepSpec, run: int) -> Place:
    """Return where a run lies; `run` counts from 0."""
    rest, seed = divmod(run, spec.seeds)
    optimizer, rate = divmod(rest, spec.num_rates)
    return Place(optimizer=optimizer, rate=rate, seed=seed)


def fit_of(spec: SweepSpec, run: int) -> FitSpec:
    """Return the fit that repeats one run of a sweep exactly: same points, own rate and start."""
    place = place_of(spec, run)
    optimizer = spec.optimizers[place.optimizer].optimizer
    rated = OptimizerSpec.model_construct(
        name=optimizer.name,
        hyperparameters={**optimizer.hyperparameters, "lr": spec.rates[place.rate]},
    )
    data = spec.data
    # The points are those of the sweep's own seed, whatever the start's.
    if isinstance(data, Preset) and data.seed is None:
        data = data.model_copy(update={"seed": spec.seed})
    elif isinstance(data, Generated) and data.generate.seed is None:
        data = Generated(generate=data.generate.model_copy(update={"seed": spec.seed}))
    shared: dict[str, Any] = {**shared_fields(spec), "data": data, "seed": spec.seed + place.seed}
    return FitSpec.model_construct(**shared, optimizer=rated)
