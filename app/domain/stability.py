"""From which learning rate on gradient descent diverges: theory, for a quadratic bowl."""

import math
from typing import Any

from app.domain.result import Problem
from app.domain.spec import FitSpec


def predict_divergence(fit: FitSpec, problem: Problem) -> float | None:
    """Return the largest stable learning rate of SGD on all points; None where theory has none.

    With the largest curvature L, momentum m, dampening d: 2 (1 + m) / ((1 - d) L), and with
    Nesterov's look ahead 2 (1 + m) / ((1 + 2 m) L) (B. T. Polyak, "Introduction to Optimization",
    1987, section 3.2); weight decay adds to L. A gradient that is never set to zero: 4 / L, without
    momentum and decay.

    Args:
        fit: Any run of the optimizer; its own learning rate does not matter.
        problem: The bowl.
    """
    given: dict[str, Any] = dict(fit.optimizer.hyperparameters)
    is_whole = fit.batch_size is None or fit.batch_size >= problem.points
    if fit.optimizer.name != "SGD" or fit.loss != "mse" or fit.scheduler or not is_whole:
        return None
    momentum, decay = float(given["momentum"]), float(given["weight_decay"])
    curvature = problem.hessian_eigenvalues[0] + decay
    # Dampening acts on the buffer that momentum keeps; without momentum there is none.
    share = 1.0 - float(given["dampening"]) if momentum else 1.0
    if not fit.zero_grad:
        found = math.inf if momentum or decay else 4.0 / curvature
    elif momentum >= 1.0 or share <= 0.0:
        found = math.inf
    elif given["nesterov"]:
        found = 2.0 * (1.0 + momentum) / ((1.0 + 2.0 * momentum) * curvature)
    else:
        found = 2.0 * (1.0 + momentum) / (share * curvature)
    return found if math.isfinite(found) else None
