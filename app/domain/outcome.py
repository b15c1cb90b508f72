"""What an attempt found out, of whatever kind the job is."""

from pydantic import Field

from app.domain.frozen import Frozen
from app.domain.result import Exact, Problem, RunResult, Winner
from app.domain.spec import Start
from app.domain.summary import BatchSummary, SweepSummary


class Outcome(Frozen):
    """Everything that an attempt found out: one RunResult for a fit, several for a comparison.

    Runs of a sweep or a batch are records of the store; here stands what they come to.

    Attributes:
        exact: The least-squares answer for the data.
        problem: The bowl that the optimizers ran in.
        runs: One entry a run, in the order of running.
        ranking: Positions in runs, best first; only for comparisons.
        winner: The first of the ranking; only for comparisons.
        start: Where every run began; None in jobs of before it was kept.
        sweep: What a sweep found.
        batch: What a batch found.
    """

    exact: Exact | None
    problem: Problem | None
    runs: tuple[RunResult, ...] = Field(strict=False)
    ranking: tuple[int, ...] | None = Field(default=None, strict=False)
    winner: Winner | None = None
    start: Start | None = None
    sweep: SweepSummary | None = None
    batch: BatchSummary | None = None
