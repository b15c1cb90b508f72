"""The exact line by other people's libraries; those that are missing are left out."""

import importlib
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

Column = NDArray[np.float64]
Fit = Callable[[], object]


def make_fits(x: Column, y: Column) -> dict[str, Fit]:
    """Return a call for each library, which does all that its user would wait for.

    Args:
        x: Abscissae, shape (n,).
        y: Ordinates, shape (n,).
    """
    fits: dict[str, Fit] = {
        "numpy lstsq": lambda: np.linalg.lstsq(_design(x), y, rcond=None),
        "numpy polyfit": lambda: np.polyfit(x, y, 1),
    }
    linalg, stats = _load("scipy.linalg"), _load("scipy.stats")
    if linalg is not None and stats is not None:
        fits["scipy lstsq"] = lambda: linalg.lstsq(_design(x), y)
        fits["scipy linregress"] = lambda: stats.linregress(x, y)
    sklearn = _load("sklearn.linear_model")
    if sklearn is not None:
        fits["sklearn LinearRegression"] = lambda: sklearn.LinearRegression().fit(x[:, None], y)
        fits["sklearn SGDRegressor"] = lambda: sklearn.SGDRegressor().fit(x[:, None], y)
    return fits


def _design(x: Column) -> Column:
    return np.column_stack((x, np.ones_like(x)))


def _load(name: str) -> Any:  # noqa: ANN401 - a module of a package that may be missing
    try:
        return importlib.import_module(name)
    except ImportError:
        return None
