"""What a client asks for: the spec of a fit and of a comparison, every default in one place."""

from typing import Annotated, Any, Final, Generic, Literal, Self, TypeVar

from pydantic import ConfigDict, Field, StringConstraints, model_validator

from app.domain.catalogue import refuse
from app.domain.data import Columns, Data, Generated, Preset
from app.domain.frozen import Frozen
from app.domain.optimizers import (
    DEFAULT_OPTIMIZER,
    Contender,
    OptimizerSpec,
    SchedulerSpec,
    check_labels,
    check_pair,
)
from app.domain.series import GeneratedSeries, SeriesColumns

MAX_STEPS: Final = 10_000_000
MAX_CONTENDERS: Final = 64
MAX_HISTORY_ROWS: Final = 1_000_000
"""Rows of all runs of a job that the store keeps; a finer record_every is refused."""
LARGEST_FLOAT32: Final = 3.4e38
LARGEST_START: Final = 1e30

TagText = Annotated[
    str, StringConstraints(max_length=200, pattern=r"^[^\x00-\x08\x0b\x0c\x0e-\x1f]*$")
]
TagName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_.-]{1,64}$")]
Device = Annotated[str, StringConstraints(pattern=r"^(auto|cpu|cuda(:[0-9]{1,2})?)$")]
RankBy = Literal["steps_to_tolerance", "evaluations", "final_loss", "seconds"]
Loss = Literal["mse", "l1", "huber", "smooth_l1"]
Dtype = Literal["float32", "float64"]


class Start(Frozen):
    """Where the search begins.

    Attributes:
        a: Slope.
        b: Intercept.
    """

    a: float = Field(ge=-LARGEST_START, le=LARGEST_START)
    b: float = Field(ge=-LARGEST_START, le=LARGEST_START)


class Stop(Frozen):
    """When to stop before the last step; null switches a rule off.

    Attributes:
        loss_below: Stop at the first row whose loss is below this, in squared y units for mse.
        gradient_below: Stop at the first row whose gradient's Euclidean norm is below this.
        patience: Stop when the best loss is this many steps old.
    """

    loss_below: Annotated[float, Field(gt=0)] | None = 1e-8
    gradient_below: Annotated[float, Field(gt=0)] | None = None
    patience: Annotated[int, Field(ge=1, le=MAX_STEPS)] | None = None


# A subclass may not narrow an inherited field, but it may name the type that its base leaves open;
# so `kind` and `data` stand first in the JSON of every kind.
_Kind = TypeVar("_Kind", bound=str)
_Points = TypeVar("_Points")


class SpecBase(Frozen, Generic[_Kind, _Points]):
    """What all kinds share.

    Attributes:
        kind: What the job runs.
        data: The points; "classic" is y = x for 1000 normal x.
        scheduler: Changes the learning rate after every step.
        steps: Largest number of optimizer steps.
        zero_grad: False never clears the gradient: the mistake that this service grew from.
        batch_size: Points a step, reshuffled each pass; null is all points.
        loss: What the optimizer minimises.
        dtype: Number type of the loop.
        device: Where to run; "auto" chooses and the answer says why.
        if_unavailable: What to do when no live worker has the device.
        engine: How to compute the steps; "auto" takes the fastest that can, "torch" is the plain loop.
        init: "torch" is nn.Linear(1, 1)'s own draw under the seed.
        seed: Fixes data, start and batches.
        stop: When to stop early.
        tolerance: The fit counts as converged below this fraction of the first excess loss.
        record_every: Steps between history rows; "auto" keeps all up to 10,000.
        timeout_seconds: Longest run, in seconds of the wall clock.
        name: Free text for people.
        tags: Names and values to filter by, at most 16.
        webhook: Not served by this version; only null is accepted.
    """

    model_config = ConfigDict(json_schema_extra={"additionalProperties": False})

    kind: _Kind
    data: _Points
    scheduler: SchedulerSpec | None = None
    steps: int = Field(default=10_000, ge=1, le=MAX_STEPS)
    zero_grad: bool = True
    batch_size: Annotated[int, Field(ge=1, le=1_000_000)] | None = None
    loss: Loss = "mse"
    dtype: Dtype = "float64"
    device: Device = "auto"
    if_unavailable: Literal["fail", "queue", "cpu"] = "fail"
    engine: Literal["auto", "torch", "moments", "rules"] = "auto"
    init: Literal["torch"] | Start = "torch"
    seed: int = Field(default=0, ge=0, lt=2**63)
    stop: Stop = Stop()
    tolerance: float = Field(default=1e-6, gt=0, lt=1)
    record_every: Literal["auto"] | Annotated[int, Field(ge=1, le=MAX_STEPS)] = "auto"
    timeout_seconds: float = Field(default=600.0, gt=0, le=86_400)
    name: TagText | None = None
    tags: dict[TagName, TagText] = Field(default_factory=dict, max_length=16)
    webhook: None = None

    @property
    def num_runs(self) -> int:
        """How many runs the job has."""
        return 1

    @property
    def num_histories(self) -> int:
        """How many runs have rows that the store keeps."""
        return self.num_runs

    @model_validator(mode="after")
    def _check_room(self) -> Self:
        if isinstance(self.record_every, int):
            rows = self.steps // self.record_every * self.num_histories
            if rows > MAX_HISTORY_ROWS:
                detail = (
                    f"This would record {rows} rows in all, at most 1,000,000 are kept of a job: "
                    'raise record_every or leave it "auto"'
                )
                raise refuse("Spec", "record_every", "too-many-rows", detail, self.record_every)
        if self.dtype == "float32" and not fits_float32(self.data):
            detail = "A value of data does not fit a float32: use dtype float64"
            raise refuse("Spec", "data", "out-of-range", detail, None)
        return self


def fits_float32(data: object) -> bool:
    """Tell whether every number of inline or generated data is finite as a float32."""
    match data:
        case Columns():
            return data.reach() <= LARGEST_FLOAT32
        case SeriesColumns():
            return data.reach() <= LARGEST_FLOAT32
        case Generated() | GeneratedSeries():
            return data.generate.reach() <= LARGEST_FLOAT32
        case _:
            return True


class FitSpec(SpecBase[Literal["fit"], Data]):
    """One optimizer on one data set.

    Attributes:
        kind: "fit".
        optimizer: A class of torch.optim, a name or an object with its own hyperparameters.
    """

    kind: Literal["fit"] = "fit"
    data: Data = Preset(preset="classic")
    optimizer: OptimizerSpec = OptimizerSpec.model_validate(DEFAULT_OPTIMIZER)

    @model_validator(mode="after")
    def _check_pairs(self) -> Self:
        check_pair(self.optimizer, self.scheduler, steps=self.steps)
        return self


class ComparisonSpec(SpecBase[Literal["comparison"], Data]):
    """Several optimizers on the same bytes, start and seed.

    Attributes:
        kind: "comparison".
        preset: The named comparison that this spec began as.
        optimizers: 1 to 64 optimizers, each a name or an object with an optional label.
        rank_by: What the winner needs least of, to come within tolerance: steps, evaluations of
            loss and gradient (LBFGS makes several a step), or seconds; or the lowest final loss.
    """

    kind: Literal["comparison"] = "comparison"
    data: Data = Preset(preset="classic")
    preset: str | None = None
    optimizers: Annotated[tuple[Contender, ...], Field(strict=False)] = Field(
        default=tuple(
            Contender.model_validate(name)
            for name in ("Adam", "SGD", "Adagrad", "RMSprop", "LBFGS")
        ),
        min_length=1,
        max_length=MAX_CONTENDERS,
    )
    rank_by: RankBy = "steps_to_tolerance"

    @property
    def num_runs(self) -> int:
        """How many runs the job has."""
        return len(self.optimizers)

    @model_validator(mode="after")
    def _check_pairs(self) -> Self:
        for contender in self.optimizers:
            check_pair(contender.optimizer, self.scheduler, steps=self.steps)
        return self

    @model_validator(mode="after")
    def _check_labels(self) -> Self:
        check_labels(self.optimizers)
        return self


def run_specs(spec: FitSpec | ComparisonSpec) -> tuple[tuple[str, FitSpec], ...]:
    """Return a label and a fit for every run of the job, in the order of running."""
    if isinstance(spec, FitSpec):
        return ((spec.optimizer.name, spec),)
    shared = shared_fields(spec)
    # Not validated again: every pair of optimizer and scheduler was, with the comparison.
    return tuple(
        (contender.label, FitSpec.model_construct(**shared, optimizer=contender.optimizer))
        for contender in spec.optimizers
    )


def shared_fields(spec: SpecBase[Any, Any]) -> dict[str, Any]:
    """Return what a spec has in common with every kind, by name."""
    return {field: getattr(spec, field) for field in SpecBase.model_fields if field != "kind"}
