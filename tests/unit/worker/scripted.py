"""An engine that computes nothing: it plays blocks and lets a test act between them."""

import math
from array import array
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from app.domain.data import Columns
from app.domain.errors import CheckpointUnusable
from app.domain.history import Rows
from app.domain.kinds import ManyRuns
from app.domain.result import EngineUsed, Exact, Problem, RunResult, StopReason, format_equation
from app.domain.run_records import NOT_DONE, unpack_records
from app.domain.series import SeriesColumns
from app.domain.spec import ComparisonSpec, FitSpec, Start
from app.domain.summary import RunPoint, SweepSummary
from app.store.codec import encode_positions
from tests.store.samples import records_of
from worker.contract import Block, Prepared, PreparedMany, Tally

EXACT = Exact(a=1.0, b=0.0, loss=0.0, r2=1.0, unique=True, standard_errors=None, method="by heart")
ENGINE = EngineUsed(name="scripted", reason="a test", version="0")
START = Start(a=0.0, b=0.0)
PROBLEM = Problem(
    points=2,
    mean_x=0.0,
    mean_y=0.0,
    variance_x=1.0,
    hessian_eigenvalues=(2.0, 2.0),
    condition_number=1.0,
    largest_stable_sgd_lr=1.0,
    best_sgd_lr=0.5,
)


def rows_between(first: int, stop: int, *, loss: float = 1.0) -> Rows:
    step = array("q", range(first, stop))
    losses = array("d", [loss / (1 + k) for k in step])
    return Rows(step=step, loss=losses, a=losses, b=losses, excess_loss=losses)


@dataclass(kw_only=True)
class ScriptedRun:
    """Plays so many blocks of ten steps and stops for a reason.

    Attributes:
        label: Name of the run.
        steps: Most steps that it may make.
        num_blocks: Blocks until it stops by itself.
        reason: Why it then stops; None ends without a reason, as a broken engine would.
        between: Called with the number of the block before it is made; the test's hand.
        breaths: How often it breathes after that, within the block.
    """

    label: str = "Adam"
    steps: int = 100
    num_blocks: int = 3
    reason: StopReason | None = StopReason.MAX_STEPS
    between: Callable[[int], object] = field(default=lambda _: None)
    breaths: int = 0
    made: int = 0

    def snapshot(self) -> bytes | None:
        return b"%d" % self.made

    def resume(self, snapshot: bytes) -> None:
        if not snapshot.isdigit():
            raise CheckpointUnusable("the checkpoint is damaged")
        self.made = int(snapshot)

    def blocks(self, breathe: Callable[[], None] = lambda: None) -> Iterator[Block]:
        for number in range(self.made // 10, self.num_blocks):
            self.between(number)
            for _ in range(self.breaths):
                breathe()
            is_last = number == self.num_blocks - 1
            first, self.made = self.made + (number > 0), self.made + 10
            has_diverged = is_last and self.reason is StopReason.DIVERGED
            loss = math.inf if has_diverged else 1 / (1 + self.made)
            yield Block(
                rows=rows_between(first, self.made + 1),
                step=self.made,
                loss=loss,
                a=math.nan if has_diverged else 1.0,
                b=0.5,
                stop_reason=self.reason if is_last else None,
            )

    def result(self, stop_reason: StopReason) -> RunResult:
        is_finite = stop_reason is not StopReason.DIVERGED
        return RunResult(
            label=self.label,
            optimizer="Adam",
            lr=0.1,
            a=1.0 if is_finite else None,
            b=0.5 if is_finite else None,
            equation=format_equation(1.0, 0.5) if is_finite else None,
            loss=1 / (1 + self.made) if is_finite else None,
            excess_loss=1 / (1 + self.made) if is_finite else None,
            r2=None,
            stop_reason=stop_reason,
            converged=False,
            steps=self.made,
            evaluations=self.made,
            steps_to_tolerance=None,
            best=None,
            gradient_norm=None,
            run_seconds=0.1,
        )


@dataclass(kw_only=True)
class ScriptedEngine:
    """Prepares the runs that it was given; it is what it prepares.

    Attributes:
        runs: What to play.
        fault: Raised instead of preparing.
        device: Where it says that it runs; the device asked for is put here.
        columns: The points that it was given.
    """

    runs: Sequence[ScriptedRun] = ()
    fault: BaseException | None = None
    device: str = ""
    columns: Columns | None = None
    exact: Exact = EXACT
    problem: Problem = PROBLEM
    start: Start = START
    engine: EngineUsed = ENGINE

    def prepare(
        self, spec: FitSpec | ComparisonSpec, *, columns: Columns | None, device: str
    ) -> "ScriptedEngine":
        assert spec.steps > 0
        if self.fault is not None:
            raise self.fault
        self.device = device
        self.columns = columns
        return self

    def prepare_many(
        self, spec: ManyRuns, *, columns: Columns | SeriesColumns | None, device: str
    ) -> PreparedMany:
        raise NotImplementedError


@dataclass(kw_only=True)
class ScriptedSlice:
    """Plays four blocks and has the records that belong to its runs.

    Attributes:
        runs: Which.
        between: Called with the first run and the number of a block before it is made.
        breaths: How often it breathes after that, within the block.
    """

    runs: range
    between: Callable[[int, int], object]
    breaths: int

    def blocks(self, breathe: Callable[[], None] = lambda: None) -> Iterator[float]:
        for number in range(4):
            self.between(self.runs.start, number)
            for _ in range(self.breaths):
                breathe()
            yield (number + 1) / 4

    def records(self) -> bytes:
        return records_of(self.runs)


@dataclass(kw_only=True)
class ScriptedMany:
    """An engine for jobs of many runs; it is what it prepares.

    Attributes:
        between: The test's hand in every slice.
        breaths: How often every slice breathes within a block.
        has_line: Whether any run ends with a finite line.
        fault: Raised instead of preparing.
        sum_fault: Raised instead of summing up.
        summed: The records that were summed up.
        prepared: How often it has prepared.
        slices: The runs of each slice, in the order of asking.
    """

    between: Callable[[int, int], object] = field(default=lambda _run, _number: None)
    breaths: int = 0
    has_line: bool = True
    fault: BaseException | None = None
    sum_fault: BaseException | None = None
    exact: Exact | None = EXACT
    problem: Problem | None = PROBLEM
    engine: EngineUsed = ENGINE
    device: str = "cpu"
    columns: Columns | SeriesColumns | None = None
    summed: list[bytes] = field(default_factory=list[bytes])
    prepared: int = 0
    slices: list[range] = field(default_factory=list[range])
    are_lanes: bool = True

    def prepare(
        self, spec: FitSpec | ComparisonSpec, *, columns: Columns | None, device: str
    ) -> Prepared:
        raise NotImplementedError

    def prepare_many(
        self, spec: ManyRuns, *, columns: Columns | SeriesColumns | None, device: str
    ) -> "ScriptedMany":
        assert spec.num_runs > 0
        if self.fault is not None:
            raise self.fault
        self.prepared += 1
        self.columns = columns or self.columns
        self.device = device
        return self

    def slice(self, runs: range) -> ScriptedSlice:
        self.slices.append(runs)
        return ScriptedSlice(runs=runs, between=self.between, breaths=self.breaths)

    def sum_up(self, records: bytes, breathe: Callable[[], None] = lambda: None) -> Tally:
        breathe()
        if self.sum_fault is not None:
            raise self.sum_fault
        self.summed.append(records)
        found = list(unpack_records(records, is_batch=False))
        made = [run for run, record in enumerate(found) if record.steps != NOT_DONE]
        best = RunPoint(
            run=0,
            label="SGD",
            lr=0.1,
            seed=0,
            a=1.0,
            b=0.0,
            loss=0.5,
            excess_loss=0.25,
            steps=1,
            steps_to_tolerance=None,
            stop_reason=StopReason.MAX_STEPS,
        )
        summary = SweepSummary(
            runs=len(found),
            done=len(made),
            converged=0,
            diverged=0,
            best=best if self.has_line and made else None,
            optimizers=(),
        )
        return Tally(summary=summary, orders={"a": encode_positions(array("i", reversed(made)))})
