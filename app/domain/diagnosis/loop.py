"""What lies in the loop around the optimizer: gradients that stay, stops that come too soon or never."""

import math
from collections.abc import Sequence
from typing import Any, Final

from app.domain.diagnosis.case import Case
from app.domain.diagnosis.entry import Diagnosis, Evidence, brief, told
from app.domain.result import StopReason
from app.domain.spec import MAX_STEPS

_MORE: Final = 10
"""Times as many steps: a try that is seen on a log axis."""
_RULES: Final = {
    StopReason.LOSS_BELOW: "loss_below",
    StopReason.GRADIENT_BELOW: "gradient_below",
    StopReason.PATIENCE: "patience",
}


def never_zeroed(cases: Sequence[Case]) -> Diagnosis:
    """The gradient is never cleared, so the loop is an undamped oscillator.

    With S the accumulated gradient, S += H e and e -= lr S give along each eigenvector
    e(t+1) - 2 e(t) + e(t-1) = -lr l e(t): roots of modulus 1, so
    e(t) = e(0) cos((t + 1/2) th) / cos(th / 2) with cos th = 1 - lr l / 2, that is
    sin(th / 2) = sqrt(lr l) / 2, for plain SGD with lr < 4 / l. Nothing damps it, in exact
    arithmetic; the excess loss comes back to up to 1 / (1 - lr l / 4) of the first.
    """
    evidence: Evidence = {"zero_grad": "false"}
    swings = [swing for case in cases if (swing := _swing(case))]
    if swings:
        evidence |= swings[0]
    for case in cases:
        best, loss = case.run.best, case.run.loss
        if best is not None and best.loss is not None and loss is not None and loss > best.loss:
            evidence |= {"lowest_loss": best.loss, "at_step": best.step, "last_loss": loss}
            break
    return Diagnosis(
        code="gradient-never-zeroed",
        message="The gradient is never zeroed, so every step pushes with the sum of all earlier "
        "gradients. That is an oscillator without damping: it swings through the minimum and "
        "cannot stay there, whatever the optimizer.",
        evidence=evidence,
        suggestion={"zero_grad": True},
    )


def _swing(case: Case) -> Evidence:
    """Return the period of plain SGD and how high it comes back; nothing of any other."""
    lr, curvature = case.run.lr, case.problem.hessian_eigenvalues[0]
    plain = not any(map(case.number, ("momentum", "weight_decay")))
    if case.optimizer != "SGD" or not plain or not lr or not 0 < lr * curvature < 4:  # noqa: PLR2004  # the bound of the derivation above
        return {}
    theta = 2 * math.asin(math.sqrt(lr * curvature) / 2)
    return {
        "sgd_period_steps": round(2 * math.pi / theta, 1),
        "sgd_largest_excess_ratio": 1 / (1 - lr * curvature / 4),
    }


def stopped_early(case: Case) -> Diagnosis | None:
    """A stop rule ended the run although its excess loss was not within tolerance of the first."""
    rule = _RULES.get(case.run.stop_reason)
    excess, first = case.run.excess_loss, case.first_excess
    if rule is None or excess is None or first is None or not case.exact.unique:
        return None
    goal = case.spec.tolerance * first
    if excess <= goal:
        return None
    limit = getattr(case.spec.stop, rule)
    return Diagnosis(
        code="stopped-early",
        message=f"The rule {rule} {limit:g} ends the fit after {case.run.steps:,} steps, "
        f"{excess:.3g} above the exact loss; within tolerance would be {goal:.3g}.",
        evidence={
            rule: limit,
            "steps": case.run.steps,
            "excess_loss": excess,
            "first_excess_loss": first,
            "excess_loss_within_tolerance": goal,
        },
        suggestion={"stop": {rule: None}},
    )


def stop_out_of_reach(case: Case) -> Diagnosis | None:
    """The limit of loss_below is under the exact loss, so no line can meet it.

    A gradient below g = sqrt(2 lmin tolerance E0) promises an excess below tolerance E0: with the
    parts c of the error, |gradient|^2 = sum l^2 c^2 >= lmin sum l c^2 = 2 lmin excess.
    """
    limit, first = case.spec.stop.loss_below, case.first_excess
    has_used_all = case.run.stop_reason is StopReason.MAX_STEPS and case.run.converged
    # A whole per cent, where the rounding of a loss is of no account.
    if limit is None or not has_used_all or case.exact.loss <= 1.01 * limit:
        return None
    flattest = case.problem.hessian_eigenvalues[1]
    change: dict[str, Any] = {"loss_below": None}
    if first is not None and flattest > 0 and case.spec.stop.gradient_below is None:
        # Two digits, rounded down: not above what promises the tolerance.
        below = brief(0.9 * math.sqrt(2 * flattest * case.spec.tolerance * first))
        change |= {"gradient_below": below} if below > 0 else {}
    return Diagnosis(
        code="stop-out-of-reach",
        message=f"loss_below {limit:g} can never be met: the exact line itself has a loss of "
        f"{case.exact.loss:.3g}. The fit arrives and goes on to its last step.",
        evidence={
            "loss_below": limit,
            "exact_loss": case.exact.loss,
            "steps": case.run.steps,
            "steps_to_tolerance": case.run.steps_to_tolerance or 0,
        },
        suggestion={"stop": change},
    )


def still_falling(case: Case) -> Diagnosis | None:
    """The last row was the best of all: it had not stood still when the steps were over."""
    best, excess = case.run.best, case.run.excess_loss
    if not case.is_out_of_steps or best is None or excess is None:
        return None
    if best.step != case.run.steps or case.spec.record_every != "auto":
        return None
    if not case.exact.unique or case.spec.steps >= MAX_STEPS:
        return None
    return Diagnosis(
        code="too-few-steps",
        message=f"The loss is lowest in the last of {told(case.run.steps)} steps: it is still "
        f"falling, {excess:.3g} above the exact loss.",
        evidence={"steps": case.run.steps, "excess_loss": excess},
        suggestion={"steps": min(_MORE * case.spec.steps, MAX_STEPS)},
    )
