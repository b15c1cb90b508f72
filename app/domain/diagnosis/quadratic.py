"""SGD on a bowl in closed form: its limits, its rates, and where it stands after any step.

Along an axis of curvature l the error u obeys, with torch's buffer v and damping d,
v' = mu v + (1 - d) l u and u' = u - lr v' (nesterov: u - lr (l u + mu v')): a 2 x 2 matrix, whose
power gives step t without the steps before it. Weight decay w turns l into l + w and moves the
point that it ends in. A loop that never zeroes its gradient has v' = v + l u: the same with mu = 1.
"""

import math
from dataclasses import dataclass
from typing import Final

from app.domain.diagnosis.bowl import Bowl, Vector

Matrix = tuple[float, float, float, float]
"""Rows of [[u by u, u by v], [v by u, v by v]]."""

_MOST_STEPS: Final = 2**60


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What SGD does with a gradient, under torch's own names.

    Attributes:
        lr: Learning rate, above 0.
        momentum: mu.
        dampening: d; torch leaves it out of the first step.
        weight_decay: w.
        nesterov: Whether the buffer looks ahead.
    """

    lr: float
    momentum: float = 0.0
    dampening: float = 0.0
    weight_decay: float = 0.0
    nesterov: bool = False

    @property
    def is_plain(self) -> bool:
        """Whether a step is lr times the gradient."""
        return self.momentum == 0.0


def stability_limit(settings: Settings, *, curvature: float) -> float:
    """Return the learning rate above which SGD diverges on a quadratic.

    Plain 2/l; heavy ball 2(1 + mu)/((1 - damp) l); nesterov 2(1 + mu)/((1 + 2 mu) l); weight
    decay adds itself to the curvature. From the roots of the two-step recurrence: B. T. Polyak,
    "Some methods of speeding up the convergence of iteration methods", 1964.

    Args:
        settings: lr is not looked at; dampening must be below 1.
        curvature: Largest eigenvalue of the Hessian, above 0.
    """
    momentum, decayed = settings.momentum, curvature + settings.weight_decay
    if settings.nesterov:
        return 2 * (1 + momentum) / ((1 + 2 * momentum) * decayed)
    return 2 * (1 + momentum) / ((1 - (settings.dampening if momentum else 0.0)) * decayed)


def step_matrix(settings: Settings, *, curvature: float) -> Matrix:
    """Return what one step does to (u, v), weight decay not counted in."""
    lr, momentum = settings.lr, settings.momentum
    taken = (1.0 - settings.dampening) * curvature if momentum else curvature
    # (momentum, dampening) -> v' = momentum v + taken u
    if settings.nesterov:
        return (
            1.0 - lr * (curvature + momentum * taken),
            -lr * momentum * momentum,
            taken,
            momentum,
        )
    return 1.0 - lr * taken, -lr * momentum, taken, momentum


def growth(settings: Settings, *, curvature: float) -> float:
    """Return by how much an error along an axis grows a step in the end: the spectral radius."""
    a, b, c, d = step_matrix(settings, curvature=curvature + settings.weight_decay)
    half, determinant = (a + d) / 2, a * d - b * c
    inside = half * half - determinant
    if inside < 0:
        return math.sqrt(determinant)
    return abs(half) + math.sqrt(inside)


@dataclass(frozen=True, slots=True, kw_only=True)
class Motion:
    """SGD under way on a bowl.

    Attributes:
        bowl: Where.
        settings: How.
        start: Error at step 0.
    """

    bowl: Bowl
    settings: Settings
    start: Vector

    @property
    def end(self) -> Vector:
        """The error of the point that it settles in, along the axes: zero without weight decay."""
        return self.bowl.to_axes(self.bowl.pulled(self.settings.weight_decay))

    def parts(self, step: int) -> Vector:
        """Return the error along the axes after a number of steps; inf when it left the floats."""
        begun = self.bowl.to_axes(self.start)
        steep, flat = (
            end + self._part(first - end, curvature + self.settings.weight_decay, step)
            for first, end, curvature in zip(begun, self.end, self.bowl.curvatures, strict=True)
        )
        return steep, flat

    def excess(self, step: int) -> float:
        """Return the excess loss after a number of steps."""
        return self.bowl.excess_on_axes(self.parts(step))

    def error(self, step: int) -> Vector:
        """Return the error of (a, b) after a number of steps."""
        return self.bowl.from_axes(self.parts(step))

    def gradient_norm(self, step: int) -> float:
        """Return the length of the gradient after a number of steps."""
        steep, flat = self.parts(step)
        return math.hypot(self.bowl.curvatures[0] * steep, self.bowl.curvatures[1] * flat)

    def _part(self, first: float, curvature: float, step: int) -> float:
        if self.settings.is_plain:
            return first * _power(1.0 - self.settings.lr * curvature, step)
        matrix = matrix_power(step_matrix(self.settings, curvature=curvature), step)
        # The first step fills the buffer with the whole gradient, undamped.
        full = self.settings.dampening / self.settings.momentum * curvature * first
        return matrix[0] * first + matrix[1] * full


def steps_below(motion: Motion, goal: float, *, by: str = "excess") -> int | None:
    """Return the first step of plain, stable SGD at which something is at most `goal`.

    Each part shrinks by |1 - lr l| a step, so excess and gradient fall steadily without weight
    decay: the step is found by halving.

    Args:
        motion: Plain SGD below its limit.
        goal: What to reach.
        by: "excess" or "gradient_norm".

    Returns:
        None when 2^60 steps do not suffice.
    """
    measure = motion.excess if by == "excess" else motion.gradient_norm
    low, high = 0, 1
    if measure(0) <= goal:
        return 0
    while measure(high) > goal:
        low, high = high, 2 * high
        if high > _MOST_STEPS:
            return None
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if measure(middle) <= goal else (middle, high)
    return high


def best_momentum(curvatures: Vector) -> Settings:
    """Return the heavy ball that shrinks the slowest error fastest.

    lr = 4 / (sqrt lmax + sqrt lmin)^2, mu = ((sqrt k - 1) / (sqrt k + 1))^2 with k = lmax / lmin:
    B. T. Polyak, "Introduction to Optimization", 1987, section 3.2.
    """
    steep, flat = map(math.sqrt, curvatures)
    return Settings(lr=4.0 / (steep + flat) ** 2, momentum=((steep - flat) / (steep + flat)) ** 2)


def overflow_step(motion: Motion, *, largest: float, points: int) -> int | None:
    """Return about the step at which the loss of diverging SGD is no longer finite.

    The steepest part c grows by g a step, so points lmax c^2 g^(2t) / 2 passes the largest number
    of the dtype at t = ln(largest / (points lmax c^2 / 2)) / (2 ln g).

    Args:
        motion: SGD above its limit.
        largest: Of the dtype.
        points: How many squares are summed before the mean is taken.

    Returns:
        None when there is nothing to grow, or it grows too slowly to tell.
    """
    curvature = motion.bowl.curvatures[0]
    factor = growth(motion.settings, curvature=curvature)
    part = abs(motion.bowl.to_axes(motion.start)[0] - motion.end[0])
    if not (factor > 1.0 and part > 0.0 and math.isfinite(part)):
        return None
    first = math.log(points * curvature / 2) + 2 * math.log(part)
    return max(1, math.ceil((math.log(largest) - first) / (2 * math.log(factor))))


def matrix_power(matrix: Matrix, exponent: int) -> Matrix:
    """Return a 2 x 2 matrix to a whole power, by squaring."""
    result: Matrix = (1.0, 0.0, 0.0, 1.0)
    while exponent:
        if exponent & 1:
            result = _times(result, matrix)
        matrix = _times(matrix, matrix)
        exponent >>= 1
    return result


def _times(one: Matrix, other: Matrix) -> Matrix:
    a, b, c, d = one
    e, f, g, h = other
    return a * e + b * g, a * f + b * h, c * e + d * g, c * f + d * h


def _power(base: float, exponent: int) -> float:
    try:
        return math.pow(base, exponent)
    except OverflowError:
        return math.inf
