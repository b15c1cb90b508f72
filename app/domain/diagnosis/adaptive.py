"""What lies in optimizers that divide the gradient by its own size."""

import math
from typing import Final

from app.domain.diagnosis.case import Case
from app.domain.diagnosis.entry import Diagnosis, Evidence, brief, told, whole
from app.domain.result import StopReason
from app.domain.spec import Start

# Far from the minimum, a step of these is about lr.
_STEP_IS_LR: Final = frozenset({"Adam", "AdamW", "Adamax", "NAdam", "RAdam", "SparseAdam"})
_USEFUL_STEPS: Final = 200
_SEPARATE: Final = 0.2
"""Below this correlation of a and b in the bowl each may be looked at alone."""
_SMALL_STEP: Final = 0.05
"""lr over the distance, up to which the sum over steps is an integral."""
_SHORT: Final = 0.5


def too_short_a_walk(case: Case) -> Diagnosis | None:
    """Adam and its kin move about lr a step at most, so distance over lr bounds the steps.

    D. P. Kingma and J. Ba, "Adam: A Method for Stochastic Optimization", 2015, section 2.1.
    """
    lr, start, error = case.run.lr, case.spec.init, case.end_error
    name = case.optimizer
    if name not in _STEP_IS_LR or not lr or case.spec.scheduler is not None:
        return None
    if not case.is_out_of_steps or error is None or not case.exact.unique:
        return None
    left = max(map(abs, error))
    if left < lr * case.run.steps * 0.1:
        return None
    origin = f" from a = {start.a:g}, b = {start.b:g}" if isinstance(start, Start) else ""
    needed = whole(left / lr)
    evidence: Evidence = {
        "lr": lr,
        "steps": case.run.steps,
        "distance_left": left,
        "steps_left": needed,
    }
    if case.start_error is not None:
        evidence["distance"] = max(map(abs, case.start_error))
    return Diagnosis(
        code="slow-by-learning-rate",
        message=f"{name} moves a and b by at most about lr a step, so {case.run.steps} steps at "
        f"lr {lr:g}{origin} leave {left:.4g} to go: at least {needed} more steps.",
        evidence=evidence,
        suggestion=case.change(lr=brief(max(10 * lr, 2 * left / _USEFUL_STEPS))),
    )


def root_stall(case: Case) -> Diagnosis | None:
    """Adagrad divides by the root of the sum of all squared gradients, so it slows itself down.

    For one parameter at distance e with gradient l e, de/dt = -lr e / sqrt(integral of e^2): from
    e0 the loss falls to a share q in t = e0^2 / (8 lr^2) (ln(1/q) - 1 + q) steps, with the time
    constant e0^2 / (4 lr^2) whatever the curvature. After J. Duchi, E. Hazan and Y. Singer,
    "Adaptive subgradient methods for online learning and stochastic optimization", 2011.
    """
    lr, first = case.run.lr, case.start_error
    if case.optimizer != "Adagrad" or not lr or case.spec.scheduler is not None or first is None:
        return None
    if case.run.stop_reason is not StopReason.MAX_STEPS or case.run.converged:
        return None
    distance = max(map(abs, first))
    if not case.exact.unique or not case.is_steady or lr >= _SHORT * distance:
        return None
    constant = (distance / lr) * (distance / lr) / 4
    evidence: Evidence = {
        "lr": lr,
        "steps": case.run.steps,
        "distance": distance,
        "time_constant_steps": whole(constant),
    }
    more = ""
    if _is_textbook(case) and lr <= _SMALL_STEP * distance:
        share = case.spec.tolerance
        steps = constant / 2 * (math.log(1 / share) - 1 + share)
        evidence["predicted_steps"] = whole(steps)
        more = f" To tolerance it needs about {told(steps)} steps."
    return Diagnosis(
        code="adagrad-stalls",
        message=f"Adagrad divides by the root of the sum of all squared gradients, so its steps "
        f"get ever shorter: begun {distance:.3g} away at lr {lr:g}, it comes nearer by a factor e "
        f"in about {told(constant)} steps.{more}",
        evidence=evidence,
        suggestion=case.change(lr=brief(distance)),
    )


def _is_textbook(case: Case) -> bool:
    """Tell whether a and b hardly feel each other, and Adagrad has no settings of its own."""
    problem = case.problem
    root = math.hypot(math.sqrt(problem.variance_x), problem.mean_x)
    others = ("lr_decay", "weight_decay", "initial_accumulator_value")
    return abs(problem.mean_x) <= _SEPARATE * root and not any(map(case.number, others))
