"""What lies in the points: too few of them, all above each other, or seen at a bad scale."""

import math
from collections.abc import Iterator
from typing import Any, Final

from app.domain.data import Preset
from app.domain.diagnosis.case import Case
from app.domain.diagnosis.entry import Diagnosis
from app.domain.presets import DATA_PRESET_POINTS

_LINE_POINTS: Final = 2
_ILL: Final = 1e4
"""From here on plain SGD needs tens of thousands of steps."""


def of_points(case: Case) -> Iterator[Diagnosis]:
    """Say what the points leave open, whatever the optimizer."""
    if not case.exact.unique:
        yield _underdetermined(case)
    elif case.problem.points == _LINE_POINTS:
        yield _too_few(case)


def _underdetermined(case: Case) -> Diagnosis:
    """All x are equal, so the Hessian has rank 1 and a flat direction (1, -x).

    SGD moves along (x, 1) only and ends at p0 - v v'(p0 - p*), v = (x, 1) / |(x, 1)|; other
    optimizers end elsewhere on the same flat line.
    """
    points = case.problem.points
    cause = "There is one point" if points == 1 else f"All {points} points have the same x"
    return Diagnosis(
        code="underdetermined",
        message=f"{cause}: a whole family of lines fits equally well, so a loss of zero does not "
        "mean the right line. The exact answer given is the shortest (a, b) of that family.",
        evidence={
            "points": points,
            "variance_x": case.problem.variance_x,
            "mean_x": case.problem.mean_x,
            "mean_y": case.problem.mean_y,
            "smallest_curvature": case.problem.hessian_eigenvalues[1],
        },
        suggestion=_all_points(case),
    )


def _too_few(case: Case) -> Diagnosis:
    return Diagnosis(
        code="too-few-points",
        message="There are two points, and a line goes through any two: a loss of zero says "
        "nothing about the next point, and there is no standard error.",
        evidence={"points": case.problem.points},
        suggestion=_all_points(case),
    )


def _all_points(case: Case) -> dict[str, Any] | None:
    """Return a preset with all its points, where only some were taken."""
    data = case.spec.data
    if not isinstance(data, Preset) or data.points is None:
        return None
    if data.points >= DATA_PRESET_POINTS[data.preset]:
        return None
    whole = {"preset": data.preset}
    return {"data": whole if data.seed is None else {**whole, "seed": data.seed}}


def ill_conditioned(case: Case) -> Diagnosis | None:
    """The bowl is a long valley: what crosses it is quick, what follows it is not.

    With x replaced by (x - mean) / deviation the Hessian is 2 I, condition number 1: a is then
    divided by the deviation, and b shifted by a mean / deviation. LBFGS learns the curvature
    instead (D. C. Liu and J. Nocedal, "On the limited memory BFGS method", 1989).
    """
    condition = case.problem.condition_number
    if not case.is_out_of_steps or case.optimizer == "LBFGS" or not case.is_steady:
        return None
    if not case.exact.unique or condition is None or condition < _ILL:
        return None
    mean, deviation = case.problem.mean_x, math.sqrt(case.problem.variance_x)
    change = case.change(name="LBFGS", line_search_fn="strong_wolfe")
    if case.spec.engine == "rules":
        change["engine"] = "auto"
    return Diagnosis(
        code="ill-conditioned",
        message=f"The condition number is {condition:.3g}: the loss falls steeply in one direction "
        "and hardly at all in the other. With (x - mean) / deviation in the place of x it would "
        "be 1; LBFGS learns the shape by itself.",
        evidence={
            "condition_number": condition,
            "mean_x": mean,
            "deviation_x": deviation,
            "condition_number_standardised": 1.0,
        },
        suggestion=change,
    )
