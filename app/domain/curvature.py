"""The curvature of the mean squared error, and the learning rate that theory gives for it."""

import math

from app.domain.optimizers import OptimizerSpec
from app.domain.result import Problem


def describe(count: int, *, mean_x: float, mean_y: float, deviation: float) -> Problem:
    """Return the curvature of the mse bowl, whose Hessian is 2 [[mean x^2, mean x], [mean x, 1]].

    The smaller eigenvalue is the determinant, 4 var(x), over the larger one: computed as a
    difference it would lose every digit once x is far from zero.
    """
    variance = deviation * deviation
    mean_square = variance + mean_x * mean_x
    larger = (mean_square + 1.0) + math.hypot(mean_square - 1.0, 2.0 * mean_x)
    smaller = 4.0 * variance / larger
    condition = larger / smaller if smaller > 0 else math.inf
    return Problem(
        points=count,
        mean_x=mean_x,
        mean_y=mean_y,
        variance_x=variance,
        hessian_eigenvalues=(larger, smaller),
        condition_number=condition if math.isfinite(condition) else None,
        largest_stable_sgd_lr=2.0 / larger,
        # On a trough one direction is flat, and the other is best crossed in a single step.
        best_sgd_lr=2.0 / (larger + smaller) if smaller > 0 else 1.0 / larger,
    )


def resolve_lr(optimizer: OptimizerSpec, problem: Problem) -> float:
    """Return the learning rate, computed where the spec says "auto".

    SGD with momentum m: 2 (1 + m) / (lmin + lmax) over the eigenvalues of the Hessian, which for
    m = 0 is the best constant rate (B. T. Polyak, "Introduction to Optimization", 1987, section
    1.4); when lmin = 0, (1 + m) / lmax, since twice that is already the limit of stability.
    """
    if optimizer.lr is not None:
        return optimizer.lr
    momentum = optimizer.hyperparameters["momentum"]
    largest, smallest = problem.hessian_eigenvalues
    share = 2.0 if smallest > 0 else 1.0
    return share * (1.0 + float(momentum)) / (smallest + largest)  # type: ignore[arg-type]  # bounded by the catalogue
