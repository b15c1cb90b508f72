"""A job's results before it runs: each run walked through in plain Python, as far as that is cheap."""

import math
from array import array
from dataclasses import dataclass
from typing import Final, NamedTuple

from app.domain.curvature import resolve_lr
from app.domain.data import Columns
from app.domain.diagnosis.bowl import LARGEST, Bowl, Vector
from app.domain.diagnosis.quadratic import Motion, stability_limit, steps_below
from app.domain.engines import choose_engine
from app.domain.forecast.cost import expect_seconds
from app.domain.forecast.least_squares import solve
from app.domain.forecast.points import MOST_POINTS, foresee
from app.domain.forecast.walk import Walk, find_motion, walk
from app.domain.history import Rows
from app.domain.outcome import Outcome
from app.domain.result import Exact, Point, Problem, RunResult, StopReason, format_equation
from app.domain.spec import ComparisonSpec, FitSpec, Start, run_specs

MOST_STEPS: Final = 100_000
"""Steps that are walked through before a job runs, all its runs together: about 0.2 s."""
_ARRIVED: Final = frozenset({StopReason.LOSS_BELOW, StopReason.GRADIENT_BELOW})


@dataclass(frozen=True, slots=True, kw_only=True)
class Foreseen:
    """One run before it is run.

    Attributes:
        label: Name in rankings.
        result: How it will end, in exact arithmetic; None when that was left out.
        how: "closed form" or "recurrence"; None likewise.
        left_out: Why nothing is foreseen; None when something is.
        seconds: About how long it takes; with all its steps when it is not known how many.
        motion: The history in closed form, where there is one.
    """

    label: str
    result: RunResult | None
    how: str | None
    left_out: str | None
    seconds: float
    motion: Motion | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Forecast:
    """A job before it is run.

    Attributes:
        outcome: What it will answer; a run that is not foreseen stands there as cancelled at once.
        runs: One entry a run.
        left_out: Why nothing is foreseen of any run; None when something may be.
    """

    outcome: Outcome | None
    runs: tuple[Foreseen, ...]
    left_out: str | None = None


class _Scene(NamedTuple):
    """What all runs share."""

    exact: Exact
    problem: Problem
    bowl: Bowl
    start: Start
    queue: str
    budget: int


def foretell(
    spec: FitSpec | ComparisonSpec, *, columns: Columns | None, points: int, queue: str
) -> Forecast:
    """Return what a job will do; it takes up to some tenths of a second.

    Args:
        spec: What will run, its points not those of another job.
        columns: The points when the spec only names them.
        points: How many there are.
        queue: "cpu" or "cuda", where the job would be sent.
    """
    why = _why_not_at_all(spec, points)
    found = None if why else foresee(spec, columns)
    solved = solve(found[0], found[1]) if found else None
    if found is None or solved is None:
        why = why or "the squares of the points leave the floats"
        runs = tuple(
            _left_out(label, fit, why, queue=queue, points=points) for label, fit in run_specs(spec)
        )
        return Forecast(outcome=None, runs=runs, left_out=why)
    exact, problem = solved
    scene = _Scene(
        exact, problem, Bowl.of(problem, exact), found[2], queue, MOST_STEPS // spec.num_runs
    )
    runs = tuple(
        _foresee_run(fit, scene, run=run, label=label)
        for run, (label, fit) in enumerate(run_specs(spec))
    )
    results = tuple(
        foreseen.result or _unknown(fit, scene)
        for foreseen, (_, fit) in zip(runs, run_specs(spec), strict=True)
    )
    outcome = Outcome(exact=exact, problem=problem, runs=results, start=found[2])
    return Forecast(outcome=outcome, runs=runs)


def _why_not_at_all(spec: FitSpec | ComparisonSpec, points: int) -> str | None:
    if points > MOST_POINTS:
        return f"more than {MOST_POINTS:,} points: they are looked at when the job runs"
    if spec.loss != "mse":
        return f"steps of {spec.loss} depend on every point: only mse is foreseen"
    return None


def _left_out(label: str, fit: FitSpec, why: str, *, queue: str, points: int) -> Foreseen:
    engine = choose_engine(fit, queue=queue).name
    seconds = expect_seconds(engine, steps=fit.steps, points=points)
    return Foreseen(label=label, result=None, how=None, left_out=why, seconds=seconds)


def _foresee_run(fit: FitSpec, scene: _Scene, *, run: int, label: str) -> Foreseen:
    lr = resolve_lr(fit.optimizer, scene.problem)
    error = scene.bowl.error((scene.start.a, scene.start.b))
    points = scene.problem.points
    steps = walk(fit, lr=lr, bowl=scene.bowl, start=error)
    why = _why_not(fit, points, walked=steps)
    motion = None if why else find_motion(fit, lr=lr, bowl=scene.bowl, start=error)
    end = None
    if why is None and steps is not None:
        why = f"it takes more than the {scene.budget:,} steps that are walked through before"
        try:
            end = _jump(fit, scene, motion) if motion else None
            end = end or _follow(fit, scene, steps, error)
        except ArithmeticError:
            why = "its numbers leave the floats"
    if end is None:
        return _left_out(
            label, fit, why or "its steps are unknown", queue=scene.queue, points=points
        )
    engine = choose_engine(fit, queue=scene.queue).name
    seconds = expect_seconds(engine, steps=end.step, points=points)
    result = _result(fit, scene, end, seconds=seconds).model_copy(
        update={"run": run, "label": label, "lr": lr, "engine": engine}
    )
    return Foreseen(
        label=label,
        result=result,
        how="closed form" if motion else "recurrence",
        left_out=None,
        seconds=seconds,
        motion=motion,
    )


def _why_not(fit: FitSpec, points: int, *, walked: Walk | None) -> str | None:
    if fit.scheduler is not None:
        return "its scheduler changes the rate"
    if fit.batch_size is not None and fit.batch_size < points:
        return "each step sees other points"
    if walked is None:
        return f"{fit.optimizer.name} is not walked through before"
    return None


class _End(NamedTuple):
    """Where a run will stop.

    Attributes:
        step: After how many steps.
        error: Distance from the exact line.
        reason: Why.
        tolerance_step: First step within tolerance.
        best: Step and error of the lowest loss; None when that was not looked for.
    """

    step: int
    error: Vector
    reason: StopReason
    tolerance_step: int | None
    best: tuple[int, Vector] | None


def _jump(fit: FitSpec, scene: _Scene, motion: Motion) -> _End | None:
    """Find the end of plain, stable SGD without the steps before it; None for any other."""
    settings, curvature = motion.settings, scene.bowl.curvatures[0]
    if not settings.is_plain or settings.weight_decay or fit.stop.patience is not None:
        return None
    if settings.lr > stability_limit(settings, curvature=curvature):
        return None
    ends: list[tuple[int, StopReason]] = [(fit.steps, StopReason.MAX_STEPS)]
    stop = fit.stop
    # Strictly below, as the rules have it.
    if stop.loss_below is not None and stop.loss_below > scene.exact.loss:
        goal = math.nextafter(stop.loss_below - scene.exact.loss, 0.0)
        step = steps_below(motion, goal)
        ends += [] if step is None else [(step, StopReason.LOSS_BELOW)]
    if stop.gradient_below is not None:
        goal = math.nextafter(stop.gradient_below, 0.0)
        step = steps_below(motion, goal, by="gradient_norm")
        ends += [] if step is None else [(step, StopReason.GRADIENT_BELOW)]
    # Of two rules that are met at once, loss_below is told.
    order = [StopReason.LOSS_BELOW, StopReason.GRADIENT_BELOW, StopReason.MAX_STEPS]
    step, reason = min(ends, key=lambda end: (end[0], order.index(end[1])))
    within = steps_below(motion, fit.tolerance * motion.excess(0))
    return _End(
        step,
        motion.error(step),
        reason,
        within if within is not None and within <= step else None,
        (step, motion.error(step)),
    )


def _follow(fit: FitSpec, scene: _Scene, steps: Walk, start: Vector) -> _End | None:
    """Walk until a rule stops the run; None when that takes too many steps."""
    bowl, base = scene.bowl, scene.exact.loss
    # The squares of all points are summed before the mean is taken.
    largest = LARGEST[fit.dtype] / scene.problem.points
    error, best, tolerance_step = start, (0, start, math.inf), None
    goal = fit.tolerance * bowl.excess(start)
    for step in range(min(fit.steps, scene.budget) + 1):
        excess = bowl.excess(error)
        loss = base + excess
        if not loss <= largest:
            return _End(step, error, StopReason.DIVERGED, tolerance_step, best[:2])
        if loss < best[2]:
            best = (step, error, loss)
        if tolerance_step is None and excess <= goal:
            tolerance_step = step
        reason = _judge(fit, bowl, step, loss=loss, error=error, best_step=best[0])
        if reason is not None:
            return _End(step, error, reason, tolerance_step, best[:2])
        try:
            error = next(steps)
        except ArithmeticError:
            error = (math.inf, math.inf)
    return None


def _judge(
    fit: FitSpec, bowl: Bowl, step: int, *, loss: float, error: Vector, best_step: int
) -> StopReason | None:
    """Return the rule that ends the run at this row, in the worker's own order."""
    stop = fit.stop
    if stop.loss_below is not None and loss < stop.loss_below:
        return StopReason.LOSS_BELOW
    if stop.gradient_below is not None:
        norm = math.hypot(*bowl.gradient(error))
        if norm < stop.gradient_below:
            return StopReason.GRADIENT_BELOW
    if stop.patience is not None and step - best_step >= stop.patience:
        return StopReason.PATIENCE
    return StopReason.MAX_STEPS if step >= fit.steps else None


def _result(fit: FitSpec, scene: _Scene, end: _End, *, seconds: float) -> RunResult:
    bowl, base = scene.bowl, scene.exact.loss
    a, b = bowl.minimum[0] + end.error[0], bowl.minimum[1] + end.error[1]
    excess = bowl.excess(end.error)
    goal = fit.tolerance * bowl.excess(bowl.error((scene.start.a, scene.start.b)))
    is_line = end.reason is not StopReason.DIVERGED and math.isfinite(a) and math.isfinite(b)
    return RunResult(
        label="",
        optimizer=fit.optimizer.name,
        lr=None,
        a=a if is_line else None,
        b=b if is_line else None,
        equation=format_equation(a, b) if is_line else None,
        loss=_finite(base + excess) if is_line else None,
        excess_loss=_finite(excess) if is_line else None,
        r2=None,
        stop_reason=end.reason,
        converged=is_line and (end.reason in _ARRIVED or excess <= goal),
        steps=end.step,
        evaluations=end.step,
        steps_to_tolerance=end.tolerance_step,
        best=_to_point(scene, end.best) if end.best else None,
        gradient_norm=_finite(math.hypot(*bowl.gradient(end.error))) if is_line else None,
        run_seconds=seconds,
    )


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _unknown(fit: FitSpec, scene: _Scene) -> RunResult:
    """Return a run of which nothing is said but its settings."""
    error = scene.bowl.error((scene.start.a, scene.start.b))
    end = _End(0, error, StopReason.CANCELLED, None, None)
    lr = resolve_lr(fit.optimizer, scene.problem)
    return _result(fit, scene, end, seconds=0.0).model_copy(update={"lr": lr, "converged": False})


def _to_point(scene: _Scene, best: tuple[int, Vector]) -> Point | None:
    step, error = best
    excess = scene.bowl.excess(error)
    if not math.isfinite(excess):
        return None
    a, b = scene.bowl.minimum[0] + error[0], scene.bowl.minimum[1] + error[1]
    return Point(step=step, loss=scene.exact.loss + excess, excess_loss=excess, a=a, b=b)


def foretell_rows(foreseen: Foreseen, outcome: Outcome, *, points: int) -> Rows | None:
    """Return the history in closed form at up to so many steps, evenly spread; None without one."""
    motion, result, exact = foreseen.motion, foreseen.result, outcome.exact
    if motion is None or result is None or exact is None or points < 1:
        return None
    stride = max(1, -(-result.steps // max(1, points - 1)))
    steps = sorted({*range(0, result.steps + 1, stride), result.steps})
    errors = [motion.error(step) for step in steps]
    excess = [motion.bowl.excess(error) for error in errors]
    return Rows(
        step=array("q", steps),
        loss=array("d", (exact.loss + value for value in excess)),
        a=array("d", (exact.a + error[0] for error in errors)),
        b=array("d", (exact.b + error[1] for error in errors)),
        excess_loss=array("d", excess),
        batch_loss=None,
    )
