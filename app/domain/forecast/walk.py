"""The steps of some optimizers as recurrences over the error, in float64, without data or torch.

With all points a step, the gradient of the squared error is H e, so two numbers and what the
optimizer remembers are all there is. Formulas: docs/numbers.md; a test holds them against torch.
"""

import math
from collections.abc import Callable, Iterator
from typing import Final

from app.domain.diagnosis.bowl import Bowl, Vector
from app.domain.diagnosis.quadratic import Motion, Settings, step_matrix
from app.domain.optimizers import Value
from app.domain.spec import FitSpec

Walk = Iterator[Vector]
"""The error after one step, two, three, without end."""


def find_motion(fit: FitSpec, *, lr: float, bowl: Bowl, start: Vector) -> Motion | None:
    """Return SGD in closed form; None for what has none.

    A loop that never zeroes its gradient is a heavy ball with momentum 1: docs/numbers.md.
    """
    values = fit.optimizer.hyperparameters
    momentum, dampening, decay = (
        _number(values, n) for n in ("momentum", "dampening", "weight_decay")
    )
    if fit.optimizer.name != "SGD" or lr <= 0:
        return None
    if not fit.zero_grad:
        if momentum or decay:
            return None
        momentum = 1.0
    settings = Settings(
        lr=lr,
        momentum=momentum,
        dampening=dampening if momentum else 0.0,
        weight_decay=decay,
        nesterov=bool(values.get("nesterov")),
    )
    return Motion(bowl=bowl, settings=settings, start=start)


def walk(fit: FitSpec, *, lr: float, bowl: Bowl, start: Vector) -> Walk | None:
    """Return the errors step by step; None for an optimizer that is not written out here."""
    motion = find_motion(fit, lr=lr, bowl=bowl, start=start)
    if motion is not None:
        return _sgd(motion)
    rule = _RULES.get(fit.optimizer.name)
    if rule is None or fit.optimizer.hyperparameters.get("amsgrad"):
        return None
    return rule(fit, lr, bowl, start)


def _sgd(motion: Motion) -> Walk:
    bowl, settings, ends = motion.bowl, motion.settings, motion.end
    begun = bowl.to_axes(motion.start)
    cos, sin = math.cos(bowl.angle), math.sin(bowl.angle)
    curvatures = [curvature + settings.weight_decay for curvature in bowl.curvatures]
    (a, b, c, d), (e, f, g, h) = (step_matrix(settings, curvature=l) for l in curvatures)  # noqa: E741
    first, second = begun[0] - ends[0], begun[1] - ends[1]
    # The first step fills the buffer with the whole gradient, undamped.
    full = settings.dampening / settings.momentum if settings.momentum else 0.0
    one, other = full * curvatures[0] * first, full * curvatures[1] * second
    while True:
        first, one = a * first + b * one, c * first + d * one
        second, other = e * second + f * other, g * second + h * other
        steep, flat = first + ends[0], second + ends[1]
        yield cos * steep - sin * flat, sin * steep + cos * flat


def _gradients(fit: FitSpec, bowl: Bowl, *, decay: float) -> Callable[[Vector], Vector]:
    """Return what the optimizer is handed at an error: with its decay, and with all earlier ones."""
    at_a, at_b = bowl.minimum
    sum_a = sum_b = 0.0

    def gradient(error: Vector) -> Vector:
        nonlocal sum_a, sum_b
        g_a, g_b = bowl.gradient(error)
        if not fit.zero_grad:
            sum_a, sum_b = sum_a + g_a, sum_b + g_b
            g_a, g_b = sum_a, sum_b
        if decay:
            g_a, g_b = g_a + decay * (error[0] + at_a), g_b + decay * (error[1] + at_b)
        return g_a, g_b

    return gradient


def _adam(fit: FitSpec, lr: float, bowl: Bowl, start: Vector) -> Walk:
    """D. P. Kingma and J. Ba, 2015; decay kept apart after I. Loshchilov and F. Hutter, 2019."""
    values = fit.optimizer.hyperparameters
    betas = values["betas"]
    beta1, beta2 = (
        (float(beta or 0.0) for beta in betas) if isinstance(betas, tuple) else (0.9, 0.999)
    )
    eps, decay = _number(values, "eps"), _number(values, "weight_decay")
    apart = fit.optimizer.name == "AdamW" or bool(values.get("decoupled_weight_decay"))
    gradient = _gradients(fit, bowl, decay=0.0 if apart else decay)
    shrink = lr * decay if apart else 0.0
    at_a, at_b = bowl.minimum
    (a, b), m_a, m_b, v_a, v_b, t = start, 0.0, 0.0, 0.0, 0.0, 0
    while True:
        t += 1
        g_a, g_b = gradient((a, b))
        if shrink:
            a, b = a - shrink * (a + at_a), b - shrink * (b + at_b)
        m_a, m_b = m_a + (1 - beta1) * (g_a - m_a), m_b + (1 - beta1) * (g_b - m_b)
        v_a, v_b = beta2 * v_a + (1 - beta2) * g_a * g_a, beta2 * v_b + (1 - beta2) * g_b * g_b
        size, root = lr / (1 - beta1**t), math.sqrt(1 - beta2**t)
        a -= size * m_a / (math.sqrt(v_a) / root + eps)
        b -= size * m_b / (math.sqrt(v_b) / root + eps)
        yield a, b


def _adagrad(fit: FitSpec, lr: float, bowl: Bowl, start: Vector) -> Walk:
    """J. Duchi, E. Hazan and Y. Singer, 2011."""
    values = fit.optimizer.hyperparameters
    gradient = _gradients(fit, bowl, decay=_number(values, "weight_decay"))
    eps, slowing = _number(values, "eps"), _number(values, "lr_decay")
    sum_a = sum_b = _number(values, "initial_accumulator_value")
    (a, b), t = start, 0
    while True:
        g_a, g_b = gradient((a, b))
        sum_a, sum_b = sum_a + g_a * g_a, sum_b + g_b * g_b
        rate = lr / (1 + t * slowing)
        a -= rate * g_a / (math.sqrt(sum_a) + eps)
        b -= rate * g_b / (math.sqrt(sum_b) + eps)
        t += 1
        yield a, b


def _asgd(fit: FitSpec, lr: float, bowl: Bowl, start: Vector) -> Walk:
    """B. T. Polyak and A. B. Juditsky, 1992; not the average, which a fit does not return."""
    values = fit.optimizer.hyperparameters
    gradient = _gradients(fit, bowl, decay=_number(values, "weight_decay"))
    lambd, alpha = _number(values, "lambd"), _number(values, "alpha")
    at_a, at_b = bowl.minimum
    (a, b), rate, t = start, lr, 0
    while True:
        t += 1
        g_a, g_b = gradient((a, b))
        a, b = (
            a - lambd * rate * (a + at_a) - rate * g_a,
            b - lambd * rate * (b + at_b) - rate * g_b,
        )
        rate = lr / (1 + lambd * lr * t) ** alpha
        yield a, b


def _number(values: dict[str, Value], name: str) -> float:
    value = values.get(name)
    return float(value) if isinstance(value, int | float) else 0.0


_RULES: Final[dict[str, Callable[[FitSpec, float, Bowl, Vector], Walk]]] = {
    "Adam": _adam,
    "AdamW": _adam,
    "Adagrad": _adagrad,
    "ASGD": _asgd,
}
