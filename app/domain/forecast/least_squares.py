"""The exact line of some thousand points without numpy: sums around the means, none rounded twice."""

import math
from fractions import Fraction
from typing import Final

from app.domain.curvature import describe
from app.domain.data import Floats
from app.domain.result import Exact, Problem, StandardErrors

METHOD: Final = "least squares by exact sums around the means, float64"
_POINTS_FOR_ERRORS: Final = 3


def solve(x: Floats, y: Floats) -> tuple[Exact, Problem] | None:
    """Return the exact answer and the problem; None when squares of the points leave the floats.

    Args:
        x: Abscissae as the dtype holds them, at least one.
        y: Ordinates, likewise.
    """
    try:
        return _solve(x, y)
    except ArithmeticError:
        return None


def _solve(x: Floats, y: Floats) -> tuple[Exact, Problem] | None:
    count = len(x)
    mean_x, mean_y = math.fsum(x) / count, math.fsum(y) / count
    from_x = [value - mean_x for value in x]
    from_y = [value - mean_y for value in y]
    # What the rounded means leave over.
    left_x, left_y = math.fsum(from_x) / count, math.fsum(from_y) / count
    variance_x = max(0.0, math.fsum(u * u for u in from_x) / count - left_x * left_x)
    variance_y = max(0.0, math.fsum(v * v for v in from_y) / count - left_y * left_y)
    covariance = math.fsum(u * v for u, v in zip(from_x, from_y, strict=True)) / count
    covariance -= left_x * left_y
    unique = min(x) < max(x)
    if not (math.isfinite(variance_x) and math.isfinite(variance_y)) or (unique and not variance_x):
        return None
    slope = covariance / variance_x if unique else 0.0
    square = (
        math.fsum((v - slope * u) ** 2 for u, v in zip(from_x, from_y, strict=True)) / count
        - (left_y - slope * left_x) ** 2
    )
    loss = max(0.0, square)
    # Of the lines through (mean x, mean y), the shortest (a, b) where x is constant.
    a = slope if unique else mean_x * mean_y / (mean_x * mean_x + 1.0)
    b = float(
        Fraction(mean_y) + Fraction(left_y) - Fraction(a) * (Fraction(mean_x) + Fraction(left_x))
    )
    r2 = None
    if variance_y > 0:
        r2 = min(1.0, covariance / variance_x * (covariance / variance_y)) if unique else 0.0
    exact = Exact(
        a=a,
        b=b,
        loss=loss,
        r2=r2,
        unique=unique,
        standard_errors=_errors(count, loss, mean_x, variance_x) if unique else None,
        method=METHOD,
    )
    deviation = math.sqrt(variance_x) if unique else 0.0
    return exact, describe(count, mean_x=mean_x, mean_y=mean_y, deviation=deviation)


def _errors(count: int, loss: float, mean_x: float, variance_x: float) -> StandardErrors | None:
    if count < _POINTS_FOR_ERRORS:
        return None
    noise, deviation = math.sqrt(loss / (count - 2)), math.sqrt(variance_x)
    return StandardErrors(a=noise / deviation, b=noise * math.hypot(1.0, mean_x / deviation))
