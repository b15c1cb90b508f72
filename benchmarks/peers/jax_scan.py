"""The same fit in JAX: lax.scan over steps, optax's Adam, vmap over learning rates.

JAX is given the moments as well, so that rules are compared and not passes over data. It is
loaded by name, because only `make bench` installs it.
"""

import importlib
from collections.abc import Callable
from functools import cache
from typing import Any, Final

from benchmarks.bowl import Moments

MISSING: Final = "JAX and optax are not installed here: make bench brings them"

Fit = Callable[[Any, Any, Any], Any]
"""Slope, intercept and learning rate in, losses out."""


@cache
def load() -> tuple[Any, Any] | None:
    """Return the modules jax and optax, numbers of 64 bits switched on; None without them."""
    try:
        jax, optax = importlib.import_module("jax"), importlib.import_module("optax")
    except ImportError:
        return None
    jax.config.update("jax_enable_x64", val=True)
    return jax, optax


def make_fit(moments: Moments, *, steps: int) -> Fit | None:
    """Return a compiled function for one run, losses of shape (steps,)."""
    modules = load()
    return None if modules is None else _waiting(modules[0], _scan(modules, moments, steps=steps))


def make_lanes(moments: Moments, *, steps: int) -> Fit | None:
    """Return a compiled function for K runs: columns of shape (K,), losses (steps, K)."""
    modules = load()
    if modules is None:
        return None
    jax = modules[0]
    return _waiting(jax, jax.vmap(_scan(modules, moments, steps=steps), out_axes=1))


def _waiting(jax: Any, function: Fit) -> Fit:  # noqa: ANN401 - loaded by name
    compiled = jax.jit(function)

    def fit(a: Any, b: Any, lr: Any) -> Any:  # noqa: ANN401 - JAX takes whatever is an array
        # JAX answers before it has computed.
        return compiled(a, b, lr).block_until_ready()

    return fit


def _scan(modules: tuple[Any, Any], moments: Moments, *, steps: int) -> Fit:
    jax, optax = modules

    def loss_of(line: Any) -> Any:  # noqa: ANN401
        e_a = line[0] - moments.a
        shift = moments.mean_x * e_a + (line[1] - moments.b)
        return moments.loss + moments.variance_x * e_a * e_a + shift * shift

    def fit(a: Any, b: Any, lr: Any) -> Any:  # noqa: ANN401
        optimizer = optax.adam(lr)

        def step(carry: tuple[Any, Any], _: None) -> tuple[tuple[Any, Any], Any]:
            line, state = carry
            loss, gradient = jax.value_and_grad(loss_of)(line)
            updates, state = optimizer.update(gradient, state, line)
            return (optax.apply_updates(line, updates), state), loss

        line = (a, b)
        _, losses = jax.lax.scan(step, (line, optimizer.init(line)), None, length=steps)
        return losses

    return fit
