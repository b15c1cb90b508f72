"""What passes between the runner and an engine: no torch on one side, no Redis on the other."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from app.domain.data import Columns
from app.domain.history import Rows
from app.domain.kinds import ManyRuns
from app.domain.result import EngineUsed, Exact, Problem, RunResult, StopReason
from app.domain.series import SeriesColumns
from app.domain.spec import ComparisonSpec, FitSpec, Start
from app.domain.summary import BatchSummary, SweepSummary


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """Some consecutive steps of one run, about 50 ms of them.

    Attributes:
        rows: The rows that record_every lets through; may be empty.
        step: Steps made so far.
        loss: Loss on all points after them; may be inf or NaN.
        a: Slope after them.
        b: Intercept after them.
        stop_reason: Why the run is over; None while it goes on.
    """

    rows: Rows
    step: int
    loss: float
    a: float
    b: float
    stop_reason: StopReason | None = None


class Run(Protocol):
    """One optimizer on one data set, computed block by block."""

    @property
    def label(self) -> str:
        """Name in rankings and legends."""
        ...

    @property
    def steps(self) -> int:
        """Most steps that it may make, at least 1."""
        ...

    def blocks(self, breathe: Callable[[], None] = lambda: None) -> Iterator[Block]:
        """Compute lazily: the next steps are made when the next block is asked for.

        Args:
            breathe: Called within a step that may take long, at least every few seconds. It may
                raise; after that this run may not be used any more.
        """
        ...

    def result(self, stop_reason: StopReason) -> RunResult:
        """Describe the run as it stands after the last block."""
        ...

    def snapshot(self) -> bytes | None:
        """Return all that the next block depends on, as it stands after the last one.

        Of a run that has stopped by itself, it is where one with more steps goes on. None when it
        would be larger than a checkpoint may be.
        """
        ...

    def resume(self, snapshot: bytes) -> None:
        """Stand where a run of the same spec and data stood when it made this snapshot.

        Call it before the first block. The rows that follow equal the uninterrupted run's bit for
        bit. After a refusal this run may not be used any more.

        Raises:
            CheckpointUnusable: It was made in another version or place, or it is damaged.
        """
        ...


class Prepared(Protocol):
    """A job's data on its device, the exact answer, and its runs."""

    @property
    def exact(self) -> Exact:
        """The least-squares answer."""
        ...

    @property
    def problem(self) -> Problem:
        """The bowl that the optimizers run in."""
        ...

    @property
    def start(self) -> Start:
        """Where every run begins."""
        ...

    @property
    def engine(self) -> EngineUsed:
        """Which engine computes, and why."""
        ...

    @property
    def device(self) -> str:
        """Where, as torch names it, e.g. "cuda:0"."""
        ...

    @property
    def runs(self) -> Sequence[Run]:
        """One an optimizer, in the order of the spec."""
        ...


class Slice(Protocol):
    """Some neighbouring runs of a job of many, computed together."""

    def blocks(self, breathe: Callable[[], None] = lambda: None) -> Iterator[float]:
        """Compute lazily; each block yields the share of the work that is done, 0 to 1.

        Args:
            breathe: Called within a block that may take long, at least every few seconds. It may
                raise; after that this slice may not be used any more.
        """
        ...

    def records(self) -> bytes:
        """Return one record a run, in order, after the last block."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """What a job of many runs comes to.

    Attributes:
        summary: What is told of it.
        orders: Positions of runs, int32 little-endian, by the name of what they are ordered by.
    """

    summary: SweepSummary | BatchSummary
    orders: Mapping[str, bytes]


class PreparedMany(Protocol):
    """The data of a job of many runs on its device, and what is the same for all its runs."""

    @property
    def exact(self) -> Exact | None:
        """The least-squares answer; None for a batch, where each run has its own."""
        ...

    @property
    def problem(self) -> Problem | None:
        """The bowl that the optimizers run in; None for a batch."""
        ...

    @property
    def engine(self) -> EngineUsed:
        """Which engine computes, and why."""
        ...

    @property
    def device(self) -> str:
        """Where, as torch names it, e.g. "cuda:0"."""
        ...

    @property
    def are_lanes(self) -> bool:
        """Whether all runs are computed side by side, at some nanoseconds a step."""
        ...

    def slice(self, runs: range) -> Slice:
        """Return some of the runs, ready to be computed; a shard is one slice."""
        ...

    def sum_up(self, records: bytes, breathe: Callable[[], None] = lambda: None) -> Tally:
        """Sum up the records of all runs, those that were never made among them.

        Args:
            records: In the order of the runs.
            breathe: Called at least every few seconds; it may raise.
        """
        ...


class Engine(Protocol):
    """Turns a spec into runs."""

    def prepare(
        self, spec: FitSpec | ComparisonSpec, *, columns: Columns | None, device: str
    ) -> Prepared:
        """Load or draw the data and solve it exactly.

        Args:
            spec: What to run.
            columns: The points when the spec's data are StoredColumns, else None.
            device: "cpu", "cuda" or "cuda:N".

        Raises:
            EngineFault: The device or the memory does not suffice.
        """
        ...

    def prepare_many(
        self, spec: ManyRuns, *, columns: Columns | SeriesColumns | None, device: str
    ) -> PreparedMany:
        """Load or draw the data of a job of many runs.

        Args:
            spec: What to run.
            columns: The stored points, when the spec's data are stored, else None.
            device: "cpu", "cuda" or "cuda:N".

        Raises:
            EngineFault: The device or the memory does not suffice.
        """
        ...
