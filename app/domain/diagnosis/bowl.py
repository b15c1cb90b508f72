"""The mean squared error as a bowl over (a, b): axes, curvatures, and lengths along them.

With m1 = mean x and m2 = mean x^2 the Hessian is H = 2 [[m2, m1], [m1, 1]]. An error is
e = (a, b) - (a*, b*), the minimum being (a*, b*).
"""

import math
from dataclasses import dataclass
from typing import Final, Self

from app.domain.result import Exact, Problem

Vector = tuple[float, float]
"""Two numbers that belong to (a, b), or to the two axes of the bowl, steepest first."""

EPSILON: Final = {"float32": 2.0**-23, "float64": 2.0**-52}
"""Distance from 1 to the next number of a dtype."""
LARGEST: Final = {"float32": (2 - 2.0**-23) * 2.0**127, "float64": (2 - 2.0**-52) * 2.0**1023}
"""The largest number of a dtype."""
_SMALLEST_EXPONENT: Final = {"float32": -149, "float64": -1074}


@dataclass(frozen=True, slots=True, kw_only=True)
class Bowl:
    """Where the minimum is and how steep its surroundings are.

    Attributes:
        minimum: (a*, b*).
        loss: Mean squared error there.
        mean_x: Mean of x.
        variance_x: Mean squared deviation of x.
        curvatures: Eigenvalues of H, largest first.
        mean_square_y: Mean of y^2.
    """

    minimum: Vector
    loss: float
    mean_x: float
    variance_x: float
    curvatures: Vector
    mean_square_y: float

    @classmethod
    def of(cls, problem: Problem, exact: Exact) -> Self:
        """Return the bowl of what a job answers."""
        # The variance of y is what the line explains and what it leaves.
        variance_y = exact.a * exact.a * problem.variance_x + exact.loss
        return cls(
            minimum=(exact.a, exact.b),
            loss=exact.loss,
            mean_x=problem.mean_x,
            variance_x=problem.variance_x,
            curvatures=problem.hessian_eigenvalues,
            mean_square_y=variance_y + problem.mean_y * problem.mean_y,
        )

    @property
    def angle(self) -> float:
        """Return the angle of the steepest axis to a's, in radians."""
        mean_square = self.variance_x + self.mean_x * self.mean_x
        return 0.5 * math.atan2(2.0 * self.mean_x, mean_square - 1.0)

    def error(self, line: Vector) -> Vector:
        """Return how far a line is from the exact one."""
        return line[0] - self.minimum[0], line[1] - self.minimum[1]

    def to_axes(self, error: Vector) -> Vector:
        """Return the parts of an error along the axes."""
        cos, sin = math.cos(self.angle), math.sin(self.angle)
        return cos * error[0] + sin * error[1], cos * error[1] - sin * error[0]

    def from_axes(self, parts: Vector) -> Vector:
        """Return the error that has these parts along the axes."""
        cos, sin = math.cos(self.angle), math.sin(self.angle)
        return cos * parts[0] - sin * parts[1], sin * parts[0] + cos * parts[1]

    def gradient(self, error: Vector) -> Vector:
        """Return H e, written around the mean of x so that nothing cancels."""
        shift = error[0] * self.mean_x + error[1]
        return 2.0 * (self.variance_x * error[0] + self.mean_x * shift), 2.0 * shift

    def excess(self, error: Vector) -> float:
        """Return the loss of a line above that of the exact one: e' H e / 2."""
        tilt = math.sqrt(self.variance_x) * error[0]
        shift = error[0] * self.mean_x + error[1]
        return tilt * tilt + shift * shift

    def excess_on_axes(self, parts: Vector) -> float:
        """Return the same of an error given along the axes."""
        steep, flat = self.curvatures
        return 0.5 * (steep * parts[0] * parts[0] + flat * parts[1] * parts[1])

    def largest_residual_square(self, line: Vector) -> float:
        """Return a bound of mean (|a x| + |b| + |y|)^2: what rounding a residual is relative to."""
        root_x = math.hypot(math.sqrt(self.variance_x), self.mean_x)
        reach = abs(line[0]) * root_x + abs(line[1]) + math.sqrt(self.mean_square_y)
        return reach * reach

    def pulled(self, pull: float) -> Vector:
        """Return the error of the line where H e + pull p = 0.

        That is where a gradient meets a pull towards zero: e = -pull (H + pull)^-1 p*.

        Args:
            pull: At least 0, as weight_decay.
        """
        parts = self.to_axes(self.minimum)
        steep, flat = (
            -pull * part / (curvature + pull) if pull else 0.0
            for part, curvature in zip(parts, self.curvatures, strict=True)
        )
        return self.from_axes((steep, flat))


def spacing_below(value: float, dtype: str) -> float:
    """Return the distance from a number of a dtype to the next one towards zero.

    Half of it is what a subtraction must exceed to change anything.
    """
    if value == 0:
        return math.ldexp(1.0, _SMALLEST_EXPONENT[dtype])
    digits = 24 if dtype == "float32" else 53
    fraction, exponent = math.frexp(abs(value))
    # Just above a power of two the numbers towards zero are twice as dense.
    exponent -= digits + (fraction == 0.5)  # noqa: PLR2004  # frexp's least fraction
    return math.ldexp(1.0, max(exponent, _SMALLEST_EXPONENT[dtype]))
