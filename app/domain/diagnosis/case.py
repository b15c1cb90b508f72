"""One run with everything that a rule may look at."""

import math
from dataclasses import dataclass
from typing import Any

from app.domain.diagnosis.bowl import Bowl, Vector
from app.domain.optimizers import Value
from app.domain.result import Exact, Problem, RunResult, StopReason
from app.domain.spec import FitSpec, Start

_STILL = frozenset({StopReason.MAX_STEPS, StopReason.PATIENCE})


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A run of a squared error with its problem.

    Attributes:
        spec: What was asked for.
        run: How it ended, or is predicted to end.
        problem: The data as an optimizer feels them.
        exact: The least-squares answer.
        start: Where it began; None in jobs of before it was kept.
        in_comparison: Whether the job has other runs.
        is_foreseen: Whether the run is a forecast, made in exact arithmetic.
    """

    spec: FitSpec
    run: RunResult
    problem: Problem
    exact: Exact
    start: Start | None
    in_comparison: bool = False
    is_foreseen: bool = False

    @property
    def bowl(self) -> Bowl:
        """The problem as a bowl."""
        return Bowl.of(self.problem, self.exact)

    @property
    def optimizer(self) -> str:
        """The name of the optimizer."""
        return self.spec.optimizer.name

    @property
    def end(self) -> Vector | None:
        """Where the run ended, None when it diverged."""
        if self.run.a is None or self.run.b is None:
            return None
        return self.run.a, self.run.b

    @property
    def end_error(self) -> Vector | None:
        """How far from the exact line the run ended."""
        return None if self.end is None else self.bowl.error(self.end)

    @property
    def start_error(self) -> Vector | None:
        """How far from the exact line the run began."""
        return None if self.start is None else self.bowl.error((self.start.a, self.start.b))

    @property
    def first_excess(self) -> float | None:
        """Excess loss of row 0."""
        error = self.start_error
        excess = None if error is None else self.bowl.excess(error)
        return excess if excess is not None and math.isfinite(excess) else None

    @property
    def is_out_of_steps(self) -> bool:
        """Whether it made all its steps and did not arrive."""
        return self.run.stop_reason is StopReason.MAX_STEPS and not self.run.converged

    @property
    def has_settled(self) -> bool:
        """Whether it went on to its last step, or until nothing got better."""
        return self.run.stop_reason in _STILL

    @property
    def is_steady(self) -> bool:
        """Whether every step is made alike: one learning rate, all points."""
        points = self.problem.points
        is_whole = self.spec.batch_size is None or self.spec.batch_size >= points
        return self.spec.scheduler is None and is_whole

    def number(self, name: str) -> float:
        """Return a hyperparameter, 0 when the optimizer has none of this name."""
        value = self.spec.optimizer.hyperparameters.get(name)
        return float(value) if isinstance(value, int | float) else 0.0

    def misses(self, *, loss_below: float | None) -> bool:
        """Tell whether the end is above a loss that the exact line is below."""
        if loss_below is None or self.run.loss is None:
            return False
        return self.exact.loss < loss_below <= self.run.loss

    def change(self, **hyperparameters: Value) -> dict[str, Any]:
        """Return the fields for /rerun that change this run's optimizer and nothing else.

        Of a comparison they rerun this one alone, under its own label.
        """
        if not self.in_comparison:
            alone = hyperparameters.keys() == {"lr"}
            return dict(hyperparameters) if alone else {"optimizer": hyperparameters}
        own = self.spec.optimizer.flatten()
        if "name" in hyperparameters:
            own = {}
        return {"optimizers": [{**own, **hyperparameters, "label": self.run.label}]}
