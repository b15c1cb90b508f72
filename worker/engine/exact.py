"""Exact least squares for a line, and the excess loss of any other line around it.

The sums run over vectors in double-double arithmetic (about 32 digits), the few scalars that
come out of them are combined as rational numbers; so x far from zero, wide scales and nearly
equal x keep their digits. This file knows neither optimizers nor devices.
"""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from fractions import Fraction
from typing import Final

import numpy as np
import torch
from torch import Tensor

from app.domain.curvature import describe
from app.domain.result import Exact, Problem, StandardErrors
from worker.engine.moments_pass import Floats64, Passes, installed

METHOD: Final = "least squares by centred double-double sums, float64"
_POINTS_FOR_ERRORS: Final = 3

# When the quick passes, which do not scale, may be believed.
_SAMPLE: Final = 4096
_SMALL: Final = 1e-120
"""Least mean square: below it errors of products near the largest of them would vanish."""
_LARGE: Final = 1e120
_FAR: Final = 1_000_000
"""Mean square around the shift over the variance; of 31 digits it costs 6."""
_CANCELLED: Final = 10**9
"""Variance of y over that of the residuals; of 31 digits it costs 9."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bowl:
    """The mean squared error as a function of (a, b): a quadratic bowl around its minimum.

    Each coordinate of the minimum is a float64 and the remainder that one float64 cannot hold.

    Attributes:
        exact: The minimum, as told to people.
        problem: Curvature and moments, as told to people.
        remainder_a: Exact slope minus exact.a.
        remainder_b: Exact intercept minus exact.b.
        deviation_x: Root mean squared deviation of x from its mean.
        variance_y: Mean squared deviation of y from its mean.
    """

    exact: Exact
    problem: Problem
    remainder_a: float
    remainder_b: float
    deviation_x: float
    variance_y: float

    def excess(self, a: float, b: float) -> float:
        """Return the mean squared error of a line minus that of the exact line.

        With e the error of (a, b): var(x) e_a^2 + (e_a mean(x) + e_b)^2, a sum of squares, so
        it is never negative and never the difference of two nearly equal losses.
        """
        error_a = (a - self.exact.a) - self.remainder_a
        error_b = (b - self.exact.b) - self.remainder_b
        tilt = self.deviation_x * error_a
        shift = error_a * self.problem.mean_x + error_b
        return tilt * tilt + shift * shift

    def r2(self, a: float, b: float) -> float | None:
        """Return the share of y's variance that a line explains; None when y is constant."""
        if self.variance_y == 0:
            return None
        share = 1.0 - (self.exact.loss + self.excess(a, b)) / self.variance_y
        return share if math.isfinite(share) else None


def solve(x: Tensor, y: Tensor) -> Bowl:
    """Find the least-squares line and the bowl around it.

    Args:
        x: Abscissae, any shape, at least one value, float64, finite, at most 1e150 in size.
        y: Ordinates, likewise.
    """
    sums = _sums_of(x.flatten(), y.flatten())
    slope = sums.slope()
    unique = slope is not None
    if slope is None:
        # All x equal: of the lines a mean(x) + b = mean(y), the one with the smallest a^2 + b^2.
        slope = sums.mean_x * sums.mean_y / (sums.mean_x**2 + 1)
    intercept = sums.mean_y - slope * sums.mean_x
    a, b = float(slope), float(intercept)
    deviation_x = sums.deviation_x if unique else 0.0
    residual_square = sums.mean_residual_square(slope if unique else Fraction(0))
    return Bowl(
        exact=Exact(
            a=a,
            b=b,
            loss=residual_square * sums.unit_y * sums.unit_y,
            r2=sums.share_explained(slope if unique else Fraction(0)),
            unique=unique,
            standard_errors=_standard_errors(sums, residual_square) if unique else None,
            method=METHOD,
        ),
        problem=describe(
            sums.count, mean_x=float(sums.mean_x), mean_y=float(sums.mean_y), deviation=deviation_x
        ),
        remainder_a=float(slope - Fraction(a)),
        remainder_b=float(intercept - Fraction(b)),
        deviation_x=deviation_x,
        variance_y=float(sums.variance_y) * sums.unit_y * sums.unit_y,
    )


def _sums_of(x: Tensor, y: Tensor) -> "_Sums":
    """Return the sums by the installed passes where these can, else by torch."""
    passes = installed()
    if passes is not None and x.device.type == "cpu":
        quick = _PassSums(x.contiguous().numpy(), y.contiguous().numpy(), passes=passes)
        if quick.is_in_range:
            return quick
    return _TorchSums(x, y)


class _Sums(ABC):
    """Means, variances and covariance of x and y, in units that keep every product in range.

    Values are shifted by about their mean, which is exact as a pair of float64.

    Attributes:
        count: Number of points.
        exponent_x: log2 of the unit of x; likewise y.
        mean_x: Mean in the caller's units; likewise y.
        variance_x: Mean squared deviation, in units of x; likewise y, and the covariance.
        left_x: What the shift leaves of the mean, in units of x; likewise y.
        is_constant_x: Whether all x are equal.
    """

    count: int
    exponent_x: int
    exponent_y: int
    mean_x: Fraction
    mean_y: Fraction
    left_x: Fraction
    left_y: Fraction
    variance_x: Fraction
    variance_y: Fraction
    covariance: Fraction
    is_constant_x: bool

    @abstractmethod
    def mean_residual_square(self, slope: Fraction) -> float:
        """Return the mean squared residual of the line through the mean, in units of y squared.

        Args:
            slope: In the caller's units.
        """

    @property
    def unit_x(self) -> float:
        """The unit of x."""
        return math.ldexp(1.0, self.exponent_x)

    @property
    def unit_y(self) -> float:
        """The unit of y."""
        return math.ldexp(1.0, self.exponent_y)

    @property
    def deviation_x(self) -> float:
        """Root mean squared deviation of x, in the caller's units."""
        return math.sqrt(self.variance_x) * self.unit_x

    def slope(self) -> Fraction | None:
        """Return the exact slope; None when all x are equal, or so nearly that no float holds it."""
        if self.is_constant_x:
            return None
        slope = self.covariance / self.variance_x * _power(self.exponent_y - self.exponent_x)
        return slope if abs(slope) < Fraction(torch.finfo(torch.float64).max) else None

    def share_explained(self, slope: Fraction) -> float | None:
        """Return R^2 of the least-squares line; None when y is constant."""
        if self.variance_y <= 0:
            return None
        if slope == 0:
            return 0.0
        return min(1.0, float(self.covariance**2 / (self.variance_x * self.variance_y)))


class _TorchSums(_Sums):
    """The sums by torch, for every range: vectors are first scaled by a power of two."""

    def __init__(self, x: Tensor, y: Tensor) -> None:
        x, self.exponent_x = _to_unit_scale(x)
        y, self.exponent_y = _to_unit_scale(y)
        self.count = x.numel()
        middle_x, middle_y = float(x.mean()), float(y.mean())
        self._x = _two_sum(x, torch.full_like(x, -middle_x))
        self._y = _two_sum(y, torch.full_like(y, -middle_y))
        # What the rounded means leave over.
        self.left_x = _total(*self._x) / self.count
        self.left_y = _total(*self._y) / self.count
        self.mean_x = (Fraction(middle_x) + self.left_x) * _power(self.exponent_x)
        self.mean_y = (Fraction(middle_y) + self.left_y) * _power(self.exponent_y)
        self.is_constant_x = bool(x.min() == x.max())
        self.variance_x = self._covariance(self._x, self._x) - self.left_x**2
        self.variance_y = self._covariance(self._y, self._y) - self.left_y**2
        self.covariance = self._covariance(self._x, self._y) - self.left_x * self.left_y

    def _covariance(self, u: tuple[Tensor, Tensor], v: tuple[Tensor, Tensor]) -> Fraction:
        return _total(*_product(u, v)) / self.count

    def mean_residual_square(self, slope: Fraction) -> float:
        """Likewise, from the residuals themselves: a difference of variances would cancel."""
        slope *= _power(self.exponent_x - self.exponent_y)
        steep = float(slope)
        rest = float(slope - Fraction(steep))
        x, x_low = self._x
        y, y_low = self._y
        on_line, on_line_low = _two_product(torch.full_like(x, steep), x)
        residual, residual_low = _two_sum(y, -on_line)
        small = residual_low + y_low - on_line_low - steep * x_low - rest * x
        at_mean = float(self.left_y - slope * self.left_x)
        residual = (residual - at_mean) + small
        return float(torch.mean(residual * residual))


class _PassSums(_Sums):
    """The sums by passes that look at each point once.

    Attributes:
        is_in_range: Whether no product left the range of the floats; else nothing here counts.
    """

    def __init__(self, x: Floats64, y: Floats64, *, passes: Passes) -> None:
        self._x, self._y, self._residuals = x, y, passes.residuals
        self.count = len(x)
        self.exponent_x = self.exponent_y = 0
        self._middle_x, self._middle_y = _middle(x), _middle(y)
        rows = passes.sums(x, y, self._middle_x, self._middle_y)
        with_lost = [_exact_sum([*rows[i], *rows[i + 5]]) for i in range(5)]
        self.is_in_range = None not in with_lost
        left_x, left_y, square_x, square_y, product = (
            (part or Fraction(0)) / self.count for part in with_lost
        )
        self.is_in_range &= _SMALL < square_x < _LARGE and _SMALL < square_y < _LARGE
        self.left_x, self.left_y = left_x, left_y
        self.mean_x = Fraction(self._middle_x) + left_x
        self.mean_y = Fraction(self._middle_y) + left_y
        self.variance_x = square_x - left_x**2
        self.variance_y = square_y - left_y**2
        self.covariance = product - left_x * left_y
        # A shift so far from the mean that the digits are elsewhere, or none but itself: x equal.
        self.is_in_range &= self.variance_x * _FAR > square_x and self.variance_y * _FAR > square_y
        self.is_constant_x = False

    def mean_residual_square(self, slope: Fraction) -> float:
        """Likewise, by a second pass only where the difference of variances cancels."""
        from_sums = self.variance_y - slope * (2 * self.covariance - slope * self.variance_x)
        if from_sums * _CANCELLED > self.variance_y:
            return float(from_sums)
        steep = float(slope)
        line = (
            self._middle_x,
            self._middle_y,
            steep,
            float(slope - Fraction(steep)),
            float(self.left_y - slope * self.left_x),
        )
        return math.fsum(self._residuals(self._x, self._y, line)) / self.count


def _middle(values: Floats64) -> float:
    """Return about the mean, from at most 4,096 values spread evenly."""
    return float(np.mean(values[:: -(-len(values) // _SAMPLE)]))


def _exact_sum(parts: list[float]) -> Fraction | None:
    """Return the sum of some float64 to 106 bits, None when it is not finite."""
    try:
        total = math.fsum(parts)
        rest = math.fsum([-total, *parts])
    except (OverflowError, ValueError):
        return None
    return Fraction(total) + Fraction(rest) if math.isfinite(total) else None


def _standard_errors(sums: _Sums, residual_square: float) -> StandardErrors | None:
    """Return the standard errors with n - 2 degrees of freedom; None below 3 points.

    N. R. Draper and H. Smith, "Applied Regression Analysis", 1998, section 1.4.
    """
    if sums.count < _POINTS_FOR_ERRORS:
        return None
    # Variance of y around the line, over n.
    noise = residual_square / (sums.count - 2)
    deviation = math.sqrt(sums.variance_x)
    centre = float(sums.mean_x / _power(sums.exponent_x))
    error_a = math.sqrt(noise) / deviation * sums.unit_y / sums.unit_x
    error_b = math.sqrt(noise) * math.hypot(1.0, centre / deviation) * sums.unit_y
    if not math.isfinite(error_a):
        return None
    return StandardErrors(a=error_a, b=error_b)


def _to_unit_scale(values: Tensor) -> tuple[Tensor, int]:
    """Return values over 2^e and e, so that the largest of them lies in [1/2, 1)."""
    _, exponent = math.frexp(float(values.abs().max()))
    # Two halves, because 2^1074 alone is no float64.
    half = -exponent // 2
    return values * math.ldexp(1.0, half) * math.ldexp(1.0, -exponent - half), exponent


def _power(exponent: int) -> Fraction:
    return Fraction(2) ** exponent


def _two_sum(u: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
    """Return u + v rounded, and what the rounding lost.

    D. E. Knuth, "The Art of Computer Programming", volume 2, 1969, section 4.2.2.
    """
    total = u + v
    of_v = total - u
    return total, (u - (total - of_v)) + (v - of_v)


def _split(u: Tensor) -> tuple[Tensor, Tensor]:
    """Return two halves of at most 26 bits, whose products are exact."""
    big = u * (2.0**27 + 1.0)
    high = big - (big - u)
    return high, u - high


def _two_product(u: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
    """Return u v rounded, and what the rounding lost.

    T. J. Dekker, "A floating-point technique for extending the available precision", 1971.
    """
    product = u * v
    u_high, u_low = _split(u)
    v_high, v_low = _split(v)
    low = ((u_high * v_high - product) + u_high * v_low + u_low * v_high) + u_low * v_low
    return product, low


def _product(u: tuple[Tensor, Tensor], v: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    """Multiply two vectors of double-doubles."""
    high, low = _two_product(u[0], v[0])
    return high, low + (u[0] * v[1] + u[1] * v[0])


def _total(high: Tensor, low: Tensor) -> Fraction:
    """Add up a vector of double-doubles, pairwise, with an error near 1e-32 of the sizes."""
    while high.numel() > 1:
        half = (high.numel() + 1) // 2
        rest = high.numel() - half
        total, lost = _two_sum(high[:rest], high[half:])
        low = torch.cat([low[:rest] + low[half:] + lost, low[rest:half]])
        high = torch.cat([total, high[rest:half]])
    return Fraction(float(high)) + Fraction(float(low))
