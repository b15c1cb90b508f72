"""The exact lines of many series: exact.py's arithmetic for a series at a time, fit for a compiler.

Sums run in double-double arithmetic around a series' mean, as in moments_pass.py, and so does what
is made of them. This file knows neither torch nor where the numbers go.
"""

import math
from typing import Any

COLUMNS = 10
"""Exact a and b, what a float64 of each leaves over, deviation of x, mean of x, exact loss, smallest
|y|, 1 when x is not constant, 1 when every product was in range: else nothing here counts."""


def series_pass(x: Any, y: Any, starts: Any, found: Any) -> None:  # noqa: ANN401  # arrays
    """Solve every series.

    Args:
        x: Abscissae, one series after the other, contiguous, float64.
        y: Ordinates, likewise.
        starts: Where each series begins, and where the last one ends, int64.
        found: Filled, shape (series, COLUMNS) as one row of numbers.
    """
    for series in range(starts.shape[0] - 1):
        start, stop = starts[series], starts[series + 1]
        solve_series(x[start:stop], y[start:stop], found[series * 10 : series * 10 + 10])


def solve_series(x: Any, y: Any, found: Any) -> None:  # noqa: ANN401  # arrays
    """Solve one series: as exact.solve, which says why."""
    count = x.shape[0]
    total_x, total_y, low_x, high_x, smallest = 0.0, 0.0, x[0], x[0], abs(y[0])
    low_y, high_y = y[0], y[0]
    for place in range(count):
        total_x, total_y = total_x + x[place], total_y + y[place]
        low_x, high_x = min(low_x, x[place]), max(high_x, x[place])
        low_y, high_y = min(low_y, y[place]), max(high_y, y[place])
        smallest = min(smallest, abs(y[place]))
    middle_x, middle_y = total_x / count, total_y / count
    sums = centred_sums(x, y, middle_x, middle_y)
    left_x, left_y = divided(sums[0], count), divided(sums[1], count)
    square_x, square_y = divided(sums[2], count), divided(sums[3], count)
    covariance = minus(divided(sums[4], count), times(left_x, left_y))
    variance = minus(square_x, times(left_x, left_x))
    mean_x, mean_y = plus((middle_x, 0.0), left_x), plus((middle_y, 0.0), left_y)
    varies = low_x < high_x
    if varies:
        slope = over(covariance, variance)
    else:
        # Of all lines through the mean, the one with the smallest a^2 + b^2.
        slope = over(times(mean_x, mean_y), plus(times(mean_x, mean_x), (1.0, 0.0)))
    intercept = minus(mean_y, times(slope, mean_x))
    steep = slope if varies else (0.0, 0.0)
    rest = minus(left_y, times(steep, left_x))[0]
    loss = residual_sum(x, y, (middle_x, middle_y), steep, rest) / count
    # The borders of exact.py's own quick passes.
    has_x = not varies or 1e-120 < square_x[0] < 1e120  # noqa: PLR2004
    has_y = low_y == high_y or 1e-120 < square_y[0] < 1e120  # noqa: PLR2004
    has_mean = abs(mean_x[0]) < 1e60 and abs(mean_y[0]) < 1e60  # noqa: PLR2004
    is_centred = not varies or variance[0] * 1e6 > square_x[0]
    is_in_range = has_x and has_y and has_mean and is_centred
    found[0], found[1], found[2], found[3] = slope[0], intercept[0], slope[1], intercept[1]
    found[4] = math.sqrt(variance[0]) if varies and variance[0] > 0.0 else 0.0
    found[5], found[6], found[7] = mean_x[0], loss, smallest
    found[8] = 1.0 if varies else 0.0
    found[9] = 1.0 if is_in_range and abs(slope[0]) < math.inf else 0.0


def centred_sums(x: Any, y: Any, middle_x: float, middle_y: float) -> Any:  # noqa: ANN401
    """Return the sums of dx, dy, dx^2, dy^2, dx dy, each as two float64."""
    sum_x = sum_y = sum_xx = sum_yy = sum_xy = (0.0, 0.0)
    for place in range(x.shape[0]):
        dx, dy = two_sum(x[place], -middle_x), two_sum(y[place], -middle_y)
        sum_x, sum_y = added(sum_x, dx), added(sum_y, dy)
        sum_xx, sum_yy = added(sum_xx, times(dx, dx)), added(sum_yy, times(dy, dy))
        sum_xy = added(sum_xy, times(dx, dy))
    return (
        two_sum(sum_x[0], sum_x[1]),
        two_sum(sum_y[0], sum_y[1]),
        two_sum(sum_xx[0], sum_xx[1]),
        two_sum(sum_yy[0], sum_yy[1]),
        two_sum(sum_xy[0], sum_xy[1]),
    )


def residual_sum(x: Any, y: Any, middle: Any, slope: Any, rest: float) -> float:  # noqa: ANN401
    """Return the sum of squared residuals of a line that misses the means by `rest`."""
    total = (0.0, 0.0)
    for place in range(x.shape[0]):
        dx, dy = two_sum(x[place], -middle[0]), two_sum(y[place], -middle[1])
        residual = minus(dy, times(slope, dx))
        off = (residual[0] - rest) + residual[1]
        total = added(total, (off * off, 0.0))
    return total[0] + total[1]


def added(total: Any, term: Any) -> Any:  # noqa: ANN401  # two float64 each
    """Return a running sum and all that rounding has lost of it; normalised by two_sum at the end.

    T. Ogita, S. M. Rump, S. Oishi, "Accurate Sum and Dot Product", 2005.
    """
    new = two_sum(total[0], term[0])
    return new[0], total[1] + (new[1] + term[1])


def two_sum(u: float, v: float) -> Any:  # noqa: ANN401
    """Return u + v rounded, and what the rounding lost (D. E. Knuth, 1969)."""
    total = u + v
    of_v = total - u
    return total, (u - (total - of_v)) + (v - of_v)


def two_product(u: float, v: float) -> Any:  # noqa: ANN401
    """Return u v rounded, and what the rounding lost (T. J. Dekker, 1971)."""
    product = u * v
    big_u, big_v = u * 134217729.0, v * 134217729.0
    head_u, head_v = big_u - (big_u - u), big_v - (big_v - v)
    tail_u, tail_v = u - head_u, v - head_v
    low = ((head_u * head_v - product) + (head_u * tail_v + tail_u * head_v)) + tail_u * tail_v
    return product, low


def plus(u: Any, v: Any) -> Any:  # noqa: ANN401
    """Add two double-doubles."""
    high = two_sum(u[0], v[0])
    return two_sum(high[0], high[1] + (u[1] + v[1]))


def minus(u: Any, v: Any) -> Any:  # noqa: ANN401
    """Subtract one double-double from another."""
    return plus(u, (-v[0], -v[1]))


def times(u: Any, v: Any) -> Any:  # noqa: ANN401
    """Multiply two double-doubles."""
    high = two_product(u[0], v[0])
    return two_sum(high[0], high[1] + (u[0] * v[1] + u[1] * v[0]))


def over(u: Any, v: Any) -> Any:  # noqa: ANN401
    """Divide one double-double by another."""
    first = u[0] / v[0]
    left = minus(u, times(v, (first, 0.0)))
    second = left[0] / v[0]
    left = minus(left, times(v, (second, 0.0)))
    found = two_sum(first, second)
    return two_sum(found[0], found[1] + left[0] / v[0])


def divided(u: Any, count: int) -> Any:  # noqa: ANN401
    """Divide a double-double by a count."""
    return over(u, (float(count), 0.0))
