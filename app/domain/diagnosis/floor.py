"""What a loss cannot fall below: a pull towards zero, or the spacing of the numbers."""

import math
from typing import Final

from app.domain.diagnosis.bowl import EPSILON, Bowl, Vector, spacing_below
from app.domain.diagnosis.case import Case
from app.domain.diagnosis.entry import Diagnosis, Evidence
from app.domain.diagnosis.sgd import best_rate, settings_of

# Optimizers that add weight_decay p to the gradient, unless they are told to keep it apart.
_COUPLED: Final = frozenset(
    {"SGD", "Adam", "Adagrad", "ASGD", "RMSprop", "Adadelta", "Adamax", "NAdam", "RAdam"}
)
_AT_FLOOR: Final = (0.5, 2.0)
_LOST: Final = 0.49
"""Of the spacing: a half, and room for the rounding of the gradient."""
_MOST_OF_IT: Final = 0.9
_ROUNDINGS: Final = 64
"""Losses within so many roundings of a residual are not told apart."""


def pulled_to_zero(case: Case) -> Diagnosis | None:
    """The minimum of what is optimised is not that of the loss.

    With the gradient H e + w p, w being weight_decay (of ASGD, weight_decay + lambd), a fit
    settles where e = -w (H + w)^-1 p*, an excess loss of e' H e / 2. After A. E. Hoerl and
    R. W. Kennard, "Ridge regression", 1970.
    """
    pull = _pull(case)
    excess = case.run.excess_loss
    if not pull > 0 or excess is None or not case.has_settled or not case.exact.unique:
        return None
    error = case.bowl.pulled(pull)
    floor = case.bowl.excess(error)
    if not floor > _ROUNDINGS * _rounding(case) or not math.isfinite(floor):
        return None
    if not _AT_FLOOR[0] <= excess / floor <= _AT_FLOOR[1]:
        return None
    evidence: Evidence = {
        "pull": pull,
        "error_a": error[0],
        "error_b": error[1],
        "excess_loss_floor": floor,
        "excess_loss": excess,
    }
    if case.number("weight_decay"):
        return Diagnosis(
            code="weight-decay-bias",
            message=f"weight_decay {case.number('weight_decay'):g} pulls a and b towards zero, so "
            f"the fit settles {floor:.3g} above the exact loss, however many steps it makes.",
            evidence=evidence,
            suggestion=case.change(
                weight_decay=0, **({"lambd": 0} if case.number("lambd") else {})
            ),
        )
    return Diagnosis(
        code="asgd-bias",
        message=f"ASGD's own lambd, {pull:g}, pulls a and b towards zero, so the fit settles "
        f"{floor:.3g} above the exact loss, in any dtype.",
        evidence=evidence,
        suggestion=case.change(lambd=0),
    )


def _pull(case: Case) -> float:
    if case.optimizer not in _COUPLED or case.number("decoupled_weight_decay"):
        return 0.0
    return case.number("weight_decay") + case.number("lambd")


def _rounding(case: Case) -> float:
    """Return what one rounding of each residual makes of a loss of zero: eps^2 S."""
    epsilon = EPSILON[case.spec.dtype]
    end = case.end or (case.exact.a, case.exact.b)
    return epsilon * epsilon * case.bowl.largest_residual_square(end)


def of_floats(case: Case) -> Diagnosis | None:
    """The numbers of the dtype are too far apart for the next step, or for a lower loss."""
    excess = case.run.excess_loss
    is_asked = not case.run.converged or case.misses(loss_below=case.spec.stop.loss_below)
    # Who switches the rule off for float32 wants to see how low it gets.
    is_asked |= case.spec.dtype == "float32" and case.spec.stop.loss_below is None
    if not case.exact.unique:
        return None
    if case.is_foreseen:
        return _will_stall(case)
    if not excess or not is_asked or not case.has_settled:
        return None
    return _stalled(case, excess) or _at_rounding(case, excess)


def _stalled(case: Case, excess: float) -> Diagnosis | None:
    """SGD's next step in a, b or both is less than half the distance to the next number: it stays.

    |lr g| < ulp(p) / 2, and full-batch SGD has no memory. Where both stay nothing moves for ever.
    Where one stays, the other goes to the minimum that it can reach alone; what the first is pulled
    by lies between now and then, and so does the loss. N. J. Higham, "Accuracy and Stability of
    Numerical Algorithms", 2002, section 2.1.
    """
    settings, end, dtype = settings_of(case), case.end, case.spec.dtype
    if settings is None or not settings.is_plain or settings.weight_decay or not case.is_steady:
        return None
    if end is None:
        return None
    bowl, lr = case.bowl, settings.lr
    error = bowl.error(end)
    now, then = bowl.gradient(error), _gradient_alone(bowl, error)
    spaces = [spacing_below(value, dtype) for value in end]
    stays = [lr * abs(now[i]) < _LOST * spaces[i] for i in (0, 1)]
    for_good = [stays[i] and lr * abs(then[i]) < _LOST * spaces[i] for i in (0, 1)]
    if all(stays):
        floor = excess
    else:
        # Half the gradient times the error of the one that stays, the other at its best.
        floor = max(error[i] * then[i] / 2 if for_good[i] else 0.0 for i in (0, 1))
    if floor < _MOST_OF_IT * excess:
        return None
    best = case.problem.best_sgd_lr or lr
    if dtype == "float64" and lr >= best / 2:
        return None
    evidence: Evidence = {"dtype": dtype, "excess_loss": excess, "excess_loss_floor": floor}
    for name, step, space, is_still in zip("ab", now, spaces, stays, strict=True):
        if is_still:
            evidence |= {f"step_{name}": lr * step, f"spacing_{name}": space}
    names = " and ".join(name for name, is_still in zip("ab", stays, strict=True) if is_still)
    return Diagnosis(
        code="float-floor",
        message=f"A step of SGD at lr {lr:g} in {names} is now less than half the distance to the "
        f"next {dtype}, so it is lost: the loss stays {floor:.3g} above the exact one.",
        evidence=evidence,
        suggestion={"dtype": "float64"} if dtype == "float32" else case.change(lr=best_rate(case)),
    )


def _gradient_alone(bowl: Bowl, error: Vector) -> Vector:
    """Return a's pull with b where a's error wants it, and b's pull likewise: det H / H_jj e_i."""
    mean_square = bowl.variance_x + bowl.mean_x * bowl.mean_x
    share = bowl.variance_x / mean_square if mean_square else 0.0
    return 2 * bowl.variance_x * error[0], 2 * share * error[1]


def _will_stall(case: Case) -> Diagnosis | None:
    """SGD will stand still where lr |g| < ulp(p*) / 2, an excess of g' H^-1 g / 2."""
    settings, excess = settings_of(case), case.run.excess_loss
    if settings is None or not settings.is_plain or settings.weight_decay or not case.is_steady:
        return None
    dtype, bowl = case.spec.dtype, case.bowl
    steep, flat = bowl.to_axes(
        (
            spacing_below(bowl.minimum[0], dtype) / (2 * settings.lr),
            spacing_below(bowl.minimum[1], dtype) / (2 * settings.lr),
        )
    )
    floor = (steep * steep / bowl.curvatures[0] + flat * flat / bowl.curvatures[1]) / 2
    limit = case.spec.stop.loss_below
    is_wanted = limit is not None and bowl.loss < limit < bowl.loss + floor
    if dtype != "float32" or not is_wanted or excess is None or excess >= floor:
        return None
    return Diagnosis(
        code="float-floor",
        message=f"SGD at lr {settings.lr:g} will stand still about {floor:.2g} above the exact "
        f"loss: from there on a step is less than half the distance to the next {dtype}.",
        evidence={"dtype": dtype, "excess_loss_floor": floor, "lr": settings.lr},
        suggestion={"dtype": "float64"},
    )


def _at_rounding(case: Case, excess: float) -> Diagnosis | None:
    """The excess is what a few roundings of each residual make."""
    rounding = _rounding(case)
    if not math.isfinite(rounding) or excess > _ROUNDINGS * rounding:
        return None
    dtype = case.spec.dtype
    return Diagnosis(
        code="float-floor",
        message=f"The loss is {excess:.2g} above the exact one, as low as {dtype} can tell: one "
        f"rounding of each residual makes about {rounding:.2g}.",
        evidence={"dtype": dtype, "rounding": rounding, "excess_loss": excess},
        suggestion={"dtype": "float64"} if dtype == "float32" else None,
    )
