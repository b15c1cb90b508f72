"""What a sweep or a batch answers beside its runs: the best, what is usable, how they spread."""

from typing import Literal

from pydantic import Field

from app.domain.frozen import Frozen
from app.domain.result import StopReason
from app.domain.sweep import Grid


class RunPoint(Frozen):
    """One run of a sweep; None stands for a number that is not finite.

    Attributes:
        run: Number of the run.
        label: Its optimizer's.
        lr: Learning rate.
        seed: Of its start.
        a: Fitted slope.
        b: Fitted intercept.
        loss: Loss at the end.
        excess_loss: Loss minus the exact minimum; None also unless mse.
        steps: Updates made.
        steps_to_tolerance: First step within tolerance.
        stop_reason: Why it stopped.
    """

    run: int
    label: str
    lr: float
    seed: int
    a: float | None
    b: float | None
    loss: float | None
    excess_loss: float | None
    steps: int
    steps_to_tolerance: int | None
    stop_reason: StopReason


class RateRange(Frozen):
    """Learning rates from `min` to `max`, both of the grid."""

    min: float
    max: float


class OptimizerSweep(Frozen):
    """How one optimizer of a sweep took its learning rates.

    Attributes:
        label: Which.
        runs: How many runs it made.
        converged: How many of them converged.
        diverged: How many diverged.
        best: The best of them; None when none ended with a finite line.
        usable: Longest stretch of neighbouring rates at which every start converged; None when there
            is no such rate.
        diverges_from: Smallest rate from which on, in all of the grid, some start diverged; None
            when the largest rate still holds.
        predicted_divergence: Where theory puts it; None where it has no answer.
        edge: The best rate is the grid's lowest or highest: a better one may lie outside.
        refine: The grid to try next: around the best, or beyond the edge; None without a best.
    """

    label: str
    runs: int
    converged: int
    diverged: int
    best: RunPoint | None
    usable: RateRange | None
    diverges_from: float | None
    predicted_divergence: float | None
    edge: Literal["lowest", "highest"] | None
    refine: Grid | None


class SweepSummary(Frozen):
    """What a sweep found.

    Attributes:
        runs: How many runs the spec asks for.
        done: How many were made: all of them, unless the job was cancelled or failed.
        converged: How many converged.
        diverged: How many diverged.
        best: The best of all; None when none ended with a finite line.
        optimizers: One entry an optimizer, in the order of the spec.
    """

    runs: int
    done: int
    converged: int
    diverged: int
    best: RunPoint | None
    optimizers: tuple[OptimizerSweep, ...] = Field(strict=False)


class Spread(Frozen):
    """Five numbers that say how values lie: the quartiles are values that occur."""

    min: float
    lower_quartile: float
    median: float
    upper_quartile: float
    max: float


class BatchSummary(Frozen):
    """What a batch found.

    Attributes:
        series: How many series there are.
        done: How many were fitted: all of them, unless the job was cancelled or failed.
        points: How many points they have together.
        converged: How many converged.
        diverged: How many diverged.
        not_unique: How many have no single exact line: all their x are equal.
        a: Fitted slopes; None when there is no finite one.
        b: Fitted intercepts.
        loss: Losses at the end.
        excess_loss: How far above the exact minimum they ended.
        farthest: Number of the series that ended farthest above its exact minimum.
    """

    series: int
    done: int
    points: int
    converged: int
    diverged: int
    not_unique: int
    a: Spread | None
    b: Spread | None
    loss: Spread | None
    excess_loss: Spread | None
    farthest: int | None
