"""Why a fit is where it is: pure formulas over spec, problem and result; nothing is run here.

Notation: the mean squared error of a line is a bowl over p = (a, b) with Hessian H,
eigenvalues lmax >= lmin, minimum p*; e = p - p* is the error.
"""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Final

from pydantic import Field

from app.domain.frozen import Frozen
from app.domain.result import Exact, Outcome, Problem, RunResult, StopReason
from app.domain.spec import ComparisonSpec, FitSpec, Start, run_specs

# Optimizers that divide the gradient by its own size: far from the minimum, a step is about lr.
_STEP_IS_LR: Final = frozenset({"Adam", "AdamW", "Adamax", "NAdam", "RAdam", "SparseAdam"})
_USEFUL_STEPS: Final = 200
_LARGEST_COUNT: Final = 2**53


class Diagnosis(Frozen):
    """One reason, the numbers behind it, and what to try.

    Attributes:
        code: Stable word.
        message: One or two sentences.
        evidence: The numbers that the sentence rests on.
        suggestion: Fields to send to /rerun; shown as "try".
        label: The run that it speaks of; None when it is true of every run.
    """

    code: str
    message: str
    evidence: dict[str, float | int | str]
    suggestion: dict[str, Any] | None = Field(default=None, serialization_alias="try")
    label: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Case:
    """One run with everything that a rule may look at."""

    spec: FitSpec
    run: RunResult
    problem: Problem
    exact: Exact

    @property
    def largest_curvature(self) -> float:
        return self.problem.hessian_eigenvalues[0]

    def number(self, name: str) -> float:
        """Return a hyperparameter, 0 when the optimizer has none of this name."""
        value = self.spec.optimizer.hyperparameters.get(name)
        return float(value) if isinstance(value, int | float) else 0.0


def diagnose(spec: FitSpec | ComparisonSpec, outcome: Outcome | None) -> tuple[Diagnosis, ...]:
    """Return what can be said of a job's runs, causes before symptoms.

    Args:
        spec: What was asked for.
        outcome: What came out; None says nothing.
    """
    if outcome is None or outcome.exact is None or outcome.problem is None:
        return ()
    cases = [
        _Case(spec=fit, run=run, problem=outcome.problem, exact=outcome.exact)
        for (_, fit), run in zip(run_specs(spec), outcome.runs, strict=False)
    ]
    if not cases:
        return ()
    several = isinstance(spec, ComparisonSpec)
    shared = tuple(_of_data_and_loop(cases[0]))
    single = [
        found.model_copy(update={"label": case.run.label}) if several else found
        for case in cases
        for found in _of_optimizer(case)
    ]
    return (*shared, *single)


def _of_data_and_loop(case: _Case) -> Iterator[Diagnosis]:
    """Say what is true of every run: it lies in the data or in the loop."""
    if not case.spec.zero_grad:
        yield _never_zeroed(case)
    if not case.exact.unique:
        yield _underdetermined(case)


def _of_optimizer(case: _Case) -> Iterable[Diagnosis]:
    """Say what lies in the optimizer; a loop that never zeroes hides all of it."""
    if not case.spec.zero_grad or case.spec.loss != "mse":
        return ()
    rules = (_too_fast, _too_short_a_walk, _too_slow)
    return [found for rule in rules if (found := rule(case)) is not None][:1]


def _never_zeroed(case: _Case) -> Diagnosis:
    """The gradient is never cleared, so the loop is an undamped oscillator.

    With S the accumulated gradient, S += H e and e -= lr S give along each eigenvector
    e(t+1) - 2 e(t) + e(t-1) = -lr l e(t): roots of modulus 1, period 2 pi / th with
    cos th = 1 - lr l / 2, so sin(th / 2) = sqrt(lr l) / 2, for plain SGD with lr < 4 / l. Nothing
    damps it, in exact arithmetic.
    """
    evidence: dict[str, float | int | str] = {"zero_grad": "false"}
    lr = case.run.lr
    if case.spec.optimizer.name == "SGD" and lr and 0 < lr * case.largest_curvature < 4:  # noqa: PLR2004  # the bound of the derivation above
        theta = 2 * math.asin(math.sqrt(lr * case.largest_curvature) / 2)
        evidence["sgd_period_steps"] = round(2 * math.pi / theta, 1)
    return Diagnosis(
        code="gradient-never-zeroed",
        message="The gradient is never zeroed, so every step pushes with the sum of all earlier "
        "gradients. That is an oscillator without damping: it swings through the minimum and "
        "cannot stay there, whatever the optimizer.",
        evidence=evidence,
        suggestion={"zero_grad": True},
    )


def _underdetermined(case: _Case) -> Diagnosis:
    points = case.problem.points
    cause = "There is one point" if points == 1 else f"All {points} points have the same x"
    return Diagnosis(
        code="underdetermined",
        message=f"{cause}: a whole family of lines fits equally well, so a loss of zero does not "
        "mean the right line. The exact answer given is the shortest (a, b) of that family.",
        evidence={"points": points, "variance_x": case.problem.variance_x},
        suggestion={"data": {"preset": "classic"}} if points == 1 else None,
    )


def sgd_stability_limit(case_lr: dict[str, float], *, curvature: float) -> float:
    """Return the learning rate above which SGD diverges on a quadratic.

    Plain 2/l; heavy ball 2(1 + mu)/((1 - damp) l); nesterov 2(1 + mu)/((1 + 2 mu) l); weight
    decay adds itself to the curvature. From the roots of the two-step recurrence: B. T. Polyak,
    "Some methods of speeding up the convergence of iteration methods", 1964.

    Args:
        case_lr: momentum, dampening, weight_decay, nesterov (0 or 1).
        curvature: Largest eigenvalue of the Hessian, above 0.
    """
    momentum, decayed = case_lr["momentum"], curvature + case_lr["weight_decay"]
    if case_lr["nesterov"]:
        return 2 * (1 + momentum) / ((1 + 2 * momentum) * decayed)
    return 2 * (1 + momentum) / ((1 - (case_lr["dampening"] if momentum else 0.0)) * decayed)


def _too_fast(case: _Case) -> Diagnosis | None:
    lr = case.run.lr
    if case.spec.optimizer.name != "SGD" or lr is None or case.spec.batch_size is not None:
        return None
    if case.spec.scheduler is not None or not case.largest_curvature > 0:
        return None
    if case.number("dampening") >= 1:
        return None
    names = ("momentum", "dampening", "weight_decay", "nesterov")
    limit = sgd_stability_limit(
        {name: case.number(name) for name in names}, curvature=case.largest_curvature
    )
    if lr <= limit:
        return None
    return Diagnosis(
        code="learning-rate-too-high",
        message=f"SGD at lr {lr:g} diverges on these data: above {limit:.4g} every step "
        "overshoots by more than it corrects.",
        evidence={
            "lr": lr,
            "largest_stable_lr": limit,
            "largest_curvature": case.largest_curvature,
        },
        suggestion={"lr": _round(case.problem.best_sgd_lr or limit / 2)},
    )


def _too_short_a_walk(case: _Case) -> Diagnosis | None:
    """Adam and its kin move about lr a step at most, so distance over lr bounds the steps.

    D. P. Kingma and J. Ba, "Adam: A Method for Stochastic Optimization", 2015, section 2.1.
    """
    lr, start = case.run.lr, case.spec.init
    name = case.spec.optimizer.name
    if name not in _STEP_IS_LR or not lr or case.spec.scheduler is not None:
        return None
    if case.run.converged or case.run.stop_reason is not StopReason.MAX_STEPS:
        return None
    if case.run.a is None or case.run.b is None:
        return None
    left = max(abs(case.run.a - case.exact.a), abs(case.run.b - case.exact.b))
    if not case.exact.unique or left < lr * case.run.steps * 0.1:
        return None
    origin = f" from a = {start.a:g}, b = {start.b:g}" if isinstance(start, Start) else ""
    needed = _whole(left / lr)
    return Diagnosis(
        code="slow-by-learning-rate",
        message=f"{name} moves a and b by at most about lr a step, so {case.run.steps} steps at "
        f"lr {lr:g}{origin} left {left:.4g} to go: at least {needed} more steps.",
        evidence={"lr": lr, "steps": case.run.steps, "distance_left": left, "steps_left": needed},
        suggestion={"lr": _round(max(10 * lr, 2 * left / _USEFUL_STEPS))},
    )


def _too_slow(case: _Case) -> Diagnosis | None:
    """Plain SGD shrinks the slowest component of e by 1 - lr lmin a step."""
    lr, slowest = case.run.lr, case.problem.hessian_eigenvalues[1]
    plain = not any(case.number(name) for name in ("momentum", "weight_decay"))
    if case.spec.optimizer.name != "SGD" or not plain or not lr or not slowest > 0:
        return None
    if case.run.converged or case.run.stop_reason is not StopReason.MAX_STEPS:
        return None
    best = case.problem.best_sgd_lr
    if best is None or lr >= best or case.spec.scheduler is not None:
        return None
    # The excess loss is quadratic in e, hence the half.
    goal = math.log(case.spec.tolerance) / 2
    at_lr = _steps_to(goal, shrinkage=math.log1p(-lr * slowest))
    ratio = slowest / case.largest_curvature
    # The logarithm of (1 - ratio) / (1 + ratio), which is 1 in float64 for a ratio of 1e-17.
    at_best = _steps_to(goal, shrinkage=math.log1p(-ratio) - math.log1p(ratio)) if ratio < 1 else 1
    return Diagnosis(
        code="learning-rate-too-low",
        message=f"SGD at lr {lr:g} needs about {at_lr} steps to tolerance on these data and made "
        f"{case.run.steps}; at the best constant rate, {best:.4g}, it needs about {at_best}.",
        evidence={"lr": lr, "best_lr": best, "predicted_steps": at_lr, "at_best_lr": at_best},
        suggestion={"lr": "auto"},
    )


def _steps_to(goal: float, *, shrinkage: float) -> int | float:
    """Return how many steps shrink an error to its goal, both as natural logarithms."""
    return _whole(goal / shrinkage if shrinkage else math.inf)


def _whole(steps: float) -> int | float:
    """Return steps rounded up; beyond 2^53, where JSON has no integers, to three digits."""
    return math.ceil(steps) if steps < _LARGEST_COUNT else float(f"{min(steps, 1e300):.3g}")


def _round(value: float) -> float:
    """Return two significant digits: a suggestion to type, not a measurement."""
    return float(f"{value:.2g}")
