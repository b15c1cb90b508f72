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


def sum_pass(x: Floats64, y: Floats64, middle_x: float, middle_y: float) -> Floats64:  # noqa: PLR0915  # one loop body that a compiler turns into vectors
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
    rows = np.zeros((10, 64))
    count = x.shape[0]
    for start in range(0, count, 64):
        width = min(64, count - start)
        for lane in range(width):
            u = x[start + lane]
            v = y[start + lane]
            # Deviations, each with the error of its rounding.
            dx = u - middle_x
            of_middle = dx - u
            dx_low = (u - (dx - of_middle)) - (middle_x + of_middle)
            dy = v - middle_y
            of_middle = dy - v
            dy_low = (v - (dy - of_middle)) - (middle_y + of_middle)
            # Halves of 26 bits, whose products are exact.
            big = dx * 134217729.0
            dx_head = big - (big - dx)
            dx_tail = dx - dx_head
            big = dy * 134217729.0
            dy_head = big - (big - dy)
            dy_tail = dy - dy_head
            # The sum of dx.
            old = rows[0, lane]
            new = old + dx
            of_term = new - old
            rows[5, lane] += ((old - (new - of_term)) + (dx - of_term)) + dx_low
            rows[0, lane] = new
            # The sum of dy.
            old = rows[1, lane]
            new = old + dy
            of_term = new - old
            rows[6, lane] += ((old - (new - of_term)) + (dy - of_term)) + dy_low
            rows[1, lane] = new
            # The sum of dx^2.
            product = dx * dx
            low = ((dx_head * dx_head - product) + 2.0 * dx_head * dx_tail) + dx_tail * dx_tail
            old = rows[2, lane]
            new = old + product
            of_term = new - old
            rows[7, lane] += ((old - (new - of_term)) + (product - of_term)) + (
                low + 2.0 * dx * dx_low
            )
            rows[2, lane] = new
            # The sum of dy^2.
            product = dy * dy
            low = ((dy_head * dy_head - product) + 2.0 * dy_head * dy_tail) + dy_tail * dy_tail
            old = rows[3, lane]
            new = old + product
            of_term = new - old
            rows[8, lane] += ((old - (new - of_term)) + (product - of_term)) + (
                low + 2.0 * dy * dy_low
            )
            rows[3, lane] = new
            # The sum of dx dy.
            product = dx * dy
            low = (
                (dx_head * dy_head - product) + (dx_head * dy_tail + dx_tail * dy_head)
            ) + dx_tail * dy_tail
            old = rows[4, lane]
            new = old + product
            of_term = new - old
            rows[9, lane] += ((old - (new - of_term)) + (product - of_term)) + (
                low + (dx * dy_low + dx_low * dy)
            )
            rows[4, lane] = new
    return rows


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
