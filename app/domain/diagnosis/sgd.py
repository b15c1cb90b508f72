"""What lies in SGD's learning rate, and in the batches that it sees."""

import math
from collections.abc import Iterator
from typing import Any, Final, Literal

from app.domain.diagnosis.bowl import LARGEST, Vector
from app.domain.diagnosis.case import Case
from app.domain.diagnosis.entry import Diagnosis, Evidence, brief, told, whole
from app.domain.diagnosis.quadratic import (
    Motion,
    Settings,
    best_momentum,
    overflow_step,
    stability_limit,
    steps_below,
)

_FAR_BELOW: Final = 0.5
"""A learning rate from half the best up is not what makes a fit slow."""
_GAIN: Final = 1.5
_NOISE_BAND: Final = (0.02, 10.0)
"""A single row of the noise, of two degrees of freedom, over its mean."""
_CALM: Final = 0.3
"""Below lr lmax = 0.3 the noise is not amplified by more than a half."""


def settings_of(case: Case) -> Settings | None:
    """Return what SGD of a fixed rate does; None for anything else, and where theory is silent."""
    lr = case.run.lr
    if case.optimizer != "SGD" or not lr or case.spec.scheduler is not None:
        return None
    if case.number("momentum") and case.number("dampening") >= 1:
        return None
    return Settings(
        lr=lr,
        momentum=case.number("momentum"),
        dampening=case.number("dampening"),
        weight_decay=case.number("weight_decay"),
        nesterov=bool(case.number("nesterov")),
    )


def too_fast(case: Case) -> Diagnosis | None:
    """Every step overshoots by more than it corrects: lr is above the stability limit."""
    settings, curvature = settings_of(case), case.problem.hessian_eigenvalues[0]
    if settings is None or not curvature > 0 or not case.is_steady or case.run.converged:
        return None
    limit = stability_limit(settings, curvature=curvature)
    if settings.lr <= limit:
        return None
    evidence: Evidence = {
        "lr": settings.lr,
        "largest_stable_lr": limit,
        "largest_curvature": curvature,
    }
    overflow = _overflow(case, settings)
    when = ""
    if overflow is not None:
        evidence["overflow_step"] = overflow
        when = f" The loss overflows {case.spec.dtype} at about step {told(overflow)}."
    return Diagnosis(
        code="learning-rate-too-high",
        message=f"SGD at lr {settings.lr:g} diverges on these data: above {limit:.4g} every step "
        f"overshoots by more than it corrects.{when}",
        evidence=evidence,
        suggestion=case.change(lr=_stable(case, limit)),
    )


def _stable(case: Case, limit: float) -> float:
    best = case.problem.best_sgd_lr
    return brief(min(best, 0.9 * limit) if best else limit / 2)


def _overflow(case: Case, settings: Settings) -> int | None:
    error = case.start_error
    if error is None:
        return None
    motion = Motion(bowl=case.bowl, settings=settings, start=error)
    return overflow_step(motion, largest=LARGEST[case.spec.dtype], points=case.problem.points)


def too_slow(case: Case) -> Diagnosis | None:
    """Plain SGD shrinks each part of the error by 1 - lr l a step; a larger lr would do more.

    Excess after t steps: sum of l c^2 (1 - lr l)^(2t) / 2 over the axes, solved for t. Without a
    known start all of the error is taken to lie along the flattest axis, which is the worst case.
    """
    settings, curvatures = settings_of(case), case.problem.hessian_eigenvalues
    if settings is None or not case.is_steady or not case.is_out_of_steps:
        return None
    best = case.problem.best_sgd_lr
    if best is None or not curvatures[1] > 0 or not settings.is_plain or settings.weight_decay:
        return None
    if settings.lr >= _FAR_BELOW * best:
        return None
    start = case.bowl.to_axes(case.start_error) if case.start_error else (0.0, 1.0)
    at_lr = _steps(case, settings, start)
    better = _better(case, start)
    # Where theory says that it had arrived, something else holds it up.
    if at_lr is None or at_lr <= case.run.steps:
        return None
    if better is None or better[0] * _GAIN > at_lr:
        return None
    fewer, told_as, change = better
    evidence: Evidence = {
        "lr": settings.lr,
        "best_lr": best,
        "predicted_steps": whole(at_lr),
        "at_best_lr": whole(_steps(case, Settings(lr=best), start) or math.inf),
        "with_momentum": whole(_steps_with_momentum(case, start)),
    }
    return Diagnosis(
        code="learning-rate-too-low",
        message=f"SGD at lr {settings.lr:g} needs about {told(at_lr)} steps to tolerance on these "
        f"data, not {case.run.steps:,}; {told_as} needs about {told(fewer)}.",
        evidence=evidence,
        suggestion=case.change(**change),
    )


def best_rate(case: Case) -> float | Literal["auto"]:
    """Return the best constant rate as a spec takes it: a number where "auto" is refused."""
    names = ("momentum", "dampening", "nesterov", "weight_decay")
    return brief(case.problem.best_sgd_lr or 0.0) if any(map(case.number, names)) else "auto"


def _better(case: Case, start: Vector) -> tuple[float, str, dict[str, Any]] | None:
    """Return the quickest of some other settings: its steps, its name, its fields.

    What comes later is more to type, and has to be half as quick again for it.
    """
    found = [
        (_GAIN**position * option[0], option)
        for position, option in enumerate(_options(case, start))
        if option[0] < math.inf
    ]
    return min(found, key=lambda pair: pair[0])[1] if found else None


def _options(case: Case, start: Vector) -> Iterator[tuple[float, str, dict[str, Any]]]:
    best = case.problem.best_sgd_lr or 0.0
    steps = _steps(case, Settings(lr=best), start)
    if steps is not None:
        yield steps, f"the best constant rate, {best:.4g},", {"lr": best_rate(case)}
    # Of use where the error lies along the steepest axis and the bowl is a valley.
    crossing = brief(1 / case.problem.hessian_eigenvalues[0])
    if crossing < best:
        steps = _steps(case, Settings(lr=crossing), start)
        if steps is not None:
            yield steps, f"lr {crossing:g}", {"lr": crossing}
    ball = best_momentum(case.problem.hessian_eigenvalues)
    # Three digits of 1 - mu: mu itself is close to 1, and rounded up it is slower, not unstable.
    momentum = 1 - float(f"{1 - ball.momentum:.3g}")
    lr = float(f"{ball.lr:.3g}")
    steps = _steps_with_momentum(case, start)
    if momentum < 1:
        name = f"lr {lr:g} with momentum {momentum:.12g}"
        yield steps, name, {"lr": lr, "momentum": momentum}


def _steps(case: Case, settings: Settings, start: Vector) -> float | None:
    """Return the steps of plain SGD to tolerance; a float that may be beyond all counting."""
    bowl = case.bowl
    goal = case.spec.tolerance * bowl.excess_on_axes(start)
    motion = Motion(bowl=bowl, settings=settings, start=bowl.from_axes(start))
    steps = steps_below(motion, goal)
    if steps is not None:
        return steps
    # Too many to count by halving: the flattest part alone is left by then.
    rate = math.log1p(-settings.lr * bowl.curvatures[1])
    return math.log(case.spec.tolerance) / 2 / rate if rate else math.inf


def _steps_with_momentum(case: Case, start: Vector) -> float:
    """Return the steps of the best heavy ball to tolerance.

    On both outer axes the roots of v'' - (1 + mu - lr l) v' + mu v = 0 are double, +-r with
    r = sqrt mu, so a part is c r^t (1 + t (u - r) / r), u = 1 - lr l being what the first step
    leaves, all signs taken along.
    """
    ball = best_momentum(case.problem.hessian_eigenvalues)
    root = math.sqrt(ball.momentum)
    goal = case.spec.tolerance * case.bowl.excess_on_axes(start)
    if root <= 0.0:
        return 1

    def excess(step: float) -> float:
        total = 0.0
        signed = (-root, root)
        for part, curvature, own in zip(start, case.bowl.curvatures, signed, strict=True):
            grown = 1 + step * ((1 - ball.lr * curvature) / own - 1)
            size = part * math.exp(step * math.log(root)) * grown
            total += 0.5 * curvature * size * size
        return total

    high = 1.0
    while excess(high) > goal and high < math.inf:
        high *= 2
    low = high / 2
    while high - low > 1 and high < 2.0**52:
        middle = (low + high) / 2
        low, high = (low, middle) if excess(middle) <= goal else (middle, high)
    return high


def batch_noise(case: Case) -> Diagnosis | None:
    """Each batch pulls elsewhere, and SGD of a fixed rate passes the pull on.

    At the exact line a batch of B has a gradient of covariance 2 s^2 H / B, s^2 being the exact
    loss; each step adds lr^2 times that and shrinks the error by 1 - lr H, so the excess settles
    at (lr s^2 / B) sum l / (2 - lr l). Points are drawn without putting back, which makes it less
    once a pass takes the line further than its memory, lr lmin n / B < 1. After S. Mandt,
    M. Hoffman and D. Blei, "Stochastic gradient descent as approximate Bayesian inference", 2017.
    """
    settings, batch = settings_of(case), case.spec.batch_size
    points, excess = case.problem.points, case.run.excess_loss
    if settings is None or not settings.is_plain or settings.weight_decay or batch is None:
        return None
    if batch >= points or excess is None or not case.is_out_of_steps:
        return None
    steep, flat = case.problem.hessian_eigenvalues
    if settings.lr * steep > _CALM or settings.lr * flat * points < batch:
        return None
    rates = sum(l / (2 - settings.lr * l) for l in (steep, flat))  # noqa: E741  # lambda
    noise = settings.lr * case.exact.loss / batch * rates
    if not noise > 0 or not _NOISE_BAND[0] <= excess / noise <= _NOISE_BAND[1]:
        return None
    return Diagnosis(
        code="mini-batch-noise",
        message=f"Each step sees {batch:,} of {points:,} points and pulls elsewhere: at lr "
        f"{settings.lr:g} the loss hovers about {noise:.2g} above the exact one and cannot settle.",
        evidence={
            "batch_size": batch,
            "lr": settings.lr,
            "exact_loss": case.exact.loss,
            "predicted_excess_loss": noise,
            "excess_loss": excess,
        },
        suggestion={"batch_size": None},
    )
