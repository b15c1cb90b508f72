"""Adam on plain Python floats, written by hand: what an interpreter alone can do."""

from math import sqrt

from benchmarks.bowl import Moments


def fit_adam(moments: Moments, *, steps: int, lr: float, start: tuple[float, float]) -> list[float]:
    """Return the loss before each step and after the last.

    Args:
        moments: The bowl.
        steps: How many.
        lr: Learning rate.
        start: Slope and intercept.
    """
    mean_x, variance_x, least = moments.mean_x, moments.variance_x, moments.loss
    best_a, best_b = moments.a, moments.b
    a, b = start
    m_a = m_b = v_a = v_b = 0.0
    power1 = power2 = 1.0
    losses = list[float]()
    for _ in range(steps):
        e_a = a - best_a
        shift = mean_x * e_a + (b - best_b)
        losses.append(least + variance_x * e_a * e_a + shift * shift)
        g_a = 2.0 * (variance_x * e_a + mean_x * shift)
        g_b = 2.0 * shift
        power1 *= 0.9
        power2 *= 0.999
        rate = lr / (1.0 - power1)
        root = sqrt(1.0 - power2)
        m_a += 0.1 * (g_a - m_a)
        m_b += 0.1 * (g_b - m_b)
        v_a = 0.999 * v_a + 0.001 * g_a * g_a
        v_b = 0.999 * v_b + 0.001 * g_b * g_b
        a -= rate * m_a / (sqrt(v_a) / root + 1e-8)
        b -= rate * m_b / (sqrt(v_b) / root + 1e-8)
    e_a = a - best_a
    shift = mean_x * e_a + (b - best_b)
    losses.append(least + variance_x * e_a * e_a + shift * shift)
    return losses
