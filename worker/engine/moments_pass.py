"""One pass over the points for the exact sums: plain Python text that a compiler may take.

Called as it stands it works on every array and is slow (30 us a point); `install` puts a compiled
version in its place. The text keeps to what numba understands and to what a compiler can do for
many points at once: each lane is a sum of its own, in double-double arithmetic, and lanes meet at
the end. This file knows neither torch nor where the numbers go.
"""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Floats64 = NDArray[np.float64]


class SumPass(Protocol):
    """`sum_pass`, as it stands or compiled."""

    def __call__(self, x: Floats64, y: Floats64, middle_x: float, middle_y: float, /) -> Floats64:
        """Return the sums of dx, dy, dx^2, dy^2, dx dy."""
        ...


class ResidualPass(Protocol):
    """`residual_pass`, as it stands or compiled."""

    def __call__(
        self, x: Floats64, y: Floats64, line: tuple[float, float, float, float, float], /
    ) -> Floats64:
        """Return sums of squared residuals."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Passes:
    """The passes in a version that is worth calling."""

    sums: SumPass
    residuals: ResidualPass


_installed: list[Passes] = []


def install(passes: Passes | None) -> None:
    """Let the exact answer be computed by these from now on; None goes back to torch."""
    _installed[:] = [] if passes is None else [passes]


def installed() -> Passes | None:
    """Return the compiled passes, None when there are none."""
    return _installed[0] if _installed else None


def sum_pass(x: Floats64, y: Floats64, middle_x: float, middle_y: float) -> Floats64:
    """Return the sums of dx, dy, dx^2, dy^2, dx dy with dx = x - middle_x, dy = y - middle_y.

    D. E. Knuth, "The Art of Computer Programming", volume 2, 1969, section 4.2.2 (sum and its
    error); T. J. Dekker, "A floating-point technique for extending the available precision", 1971
    (product and its error); T. Ogita, S. M. Rump, S. Oishi, "Accurate Sum and Dot Product", 2005.

    Args:
        x: Abscissae, shape (n,), contiguous, float64.
        y: Ordinates, likewise.
        middle_x: About the mean of x.
        middle_y: About the mean of y.

    Returns:
        Shape (10, 64): five rows of sums, then five of what their rounding lost; 64 lanes.
    """
    sums, lost = np.zeros((5, 64)), np.zeros((5, 64))
    terms, lows = np.empty((5, 64)), np.empty((5, 64))
    count = x.shape[0]
    for start in range(0, count, 64):
        width = min(64, count - start)
        for lane in range(width):
            u, v = x[start + lane], y[start + lane]
            dx, dy = u - middle_x, v - middle_y
            of_x, of_y = dx - u, dy - v
            dx_low = (u - (dx - of_x)) - (middle_x + of_x)
            dy_low = (v - (dy - of_y)) - (middle_y + of_y)
            # Halves of 26 bits, whose products are exact.
            big_x, big_y = dx * 134217729.0, dy * 134217729.0
            head_x, head_y = big_x - (big_x - dx), big_y - (big_y - dy)
            tail_x, tail_y = dx - head_x, dy - head_y
            xx, yy, xy = dx * dx, dy * dy, dx * dy
            low_xx = ((head_x * head_x - xx) + 2.0 * head_x * tail_x) + tail_x * tail_x
            low_yy = ((head_y * head_y - yy) + 2.0 * head_y * tail_y) + tail_y * tail_y
            low_xy = ((head_x * head_y - xy) + (head_x * tail_y + tail_x * head_y)) + (
                tail_x * tail_y
            )
            terms[0, lane], lows[0, lane] = dx, dx_low
            terms[1, lane], lows[1, lane] = dy, dy_low
            terms[2, lane], lows[2, lane] = xx, low_xx + 2.0 * dx * dx_low
            terms[3, lane], lows[3, lane] = yy, low_yy + 2.0 * dy * dy_low
            terms[4, lane], lows[4, lane] = xy, low_xy + (dx * dy_low + dx_low * dy)
        for row in range(5):
            for lane in range(width):
                old, term = sums[row, lane], terms[row, lane]
                new = old + term
                of_term = new - old
                lost[row, lane] += ((old - (new - of_term)) + (term - of_term)) + lows[row, lane]
                sums[row, lane] = new
    return np.concatenate((sums, lost))


def residual_pass(
    x: Floats64, y: Floats64, line: tuple[float, float, float, float, float]
) -> Floats64:
    """Return the sums of squared residuals of a line, 64 lanes.

    Args:
        x: Abscissae, shape (n,), contiguous, float64.
        y: Ordinates, likewise.
        line: middle_x and middle_y; the slope, and what one float64 of it leaves over; the residual
            that the line through both middles has at the means.
    """
    middle_x, middle_y, steep, rest, at_mean = line
    sums = np.zeros(64)
    count = x.shape[0]
    big = steep * 134217729.0
    steep_head = big - (big - steep)
    steep_tail = steep - steep_head
    for start in range(0, count, 64):
        width = min(64, count - start)
        for lane in range(width):
            u = x[start + lane]
            v = y[start + lane]
            dx = u - middle_x
            of_middle = dx - u
            dx_low = (u - (dx - of_middle)) - (middle_x + of_middle)
            dy = v - middle_y
            of_middle = dy - v
            dy_low = (v - (dy - of_middle)) - (middle_y + of_middle)
            big = dx * 134217729.0
            head = big - (big - dx)
            tail = dx - head
            product = steep * dx
            low = (
                (steep_head * head - product) + (steep_head * tail + steep_tail * head)
            ) + steep_tail * tail
            residual = dy - product
            of_product = residual - dy
            lost = (dy - (residual - of_product)) - (product + of_product)
            small = lost + dy_low - low - steep * dx_low - rest * dx
            residual = (residual - at_mean) + small
            sums[lane] += residual * residual
    return sums
