"""K runs of Adam as numpy vectors of K: the usual way to sweep without a compiler."""

from math import sqrt

import numpy as np
from numpy.typing import NDArray

from benchmarks.bowl import Moments

Column = NDArray[np.float64]


def fit_adam(moments: Moments, *, a: Column, b: Column, lr: Column, losses: Column) -> None:
    """Make K runs, one learning rate each.

    Args:
        moments: The bowl.
        a: Slopes, shape (K,); not changed.
        b: Intercepts, shape (K,); not changed.
        lr: Learning rates, shape (K,).
        losses: Filled; shape (steps + 1, K).
    """
    m_a, m_b, v_a, v_b = (np.zeros_like(a) for _ in range(4))
    power1 = power2 = 1.0
    last = losses.shape[0] - 1
    for step in range(last + 1):
        e_a = a - moments.a
        shift = moments.mean_x * e_a + (b - moments.b)
        losses[step] = moments.loss + moments.variance_x * e_a * e_a + shift * shift
        if step == last:
            return
        g_a = 2.0 * (moments.variance_x * e_a + moments.mean_x * shift)
        g_b = 2.0 * shift
        power1 *= 0.9
        power2 *= 0.999
        rate = lr / (1.0 - power1)
        root = sqrt(1.0 - power2)
        m_a += 0.1 * (g_a - m_a)
        m_b += 0.1 * (g_b - m_b)
        v_a = 0.999 * v_a + 0.001 * g_a * g_a
        v_b = 0.999 * v_b + 0.001 * g_b * g_b
        a = a - rate * m_a / (np.sqrt(v_a) / root + 1e-8)
        b = b - rate * m_b / (np.sqrt(v_b) / root + 1e-8)
