"""From which learning rate on a run of a sweep diverges, where theory has an answer."""

import math
from typing import Any

from app.domain.diagnosis.quadratic import Settings, stability_limit
from app.domain.result import Problem
from app.domain.spec import FitSpec


def predict_divergence(fit: FitSpec, problem: Problem) -> float | None:
    """Return the largest stable learning rate of SGD on all points; None where theory has none.

    A gradient that is never set to zero is bounded below 4 / the largest curvature, without
    momentum and decay (the undamped oscillator of diagnosis/loop.py).

    Args:
        fit: Any run of the optimizer; its own learning rate does not matter.
        problem: The bowl.
    """
    given: dict[str, Any] = dict(fit.optimizer.hyperparameters)
    is_whole = fit.batch_size is None or fit.batch_size >= problem.points
    if fit.optimizer.name != "SGD" or fit.loss != "mse" or fit.scheduler or not is_whole:
        return None
    names = ("momentum", "dampening", "weight_decay", "nesterov")
    settings = Settings(lr=1.0, **{name: given[name] for name in names})
    curvature = problem.hessian_eigenvalues[0]
    if not fit.zero_grad:
        found = math.inf if settings.momentum or settings.weight_decay else 4.0 / curvature
    elif settings.momentum >= 1.0 or (settings.momentum and settings.dampening >= 1.0):
        found = math.inf
    else:
        found = stability_limit(settings, curvature=curvature)
    return found if math.isfinite(found) else None
