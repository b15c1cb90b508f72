"""Named problems and named comparisons: what a name stands for, in the words of a spec."""

from collections.abc import Mapping
from typing import Any, Final

DATA_PRESETS: Final[Mapping[str, str]] = {
    "classic": "The question's own problem: 1000 x from N(0, 1), y = x, so a = 1 and b = 0.",
    "noisy": "1000 x from N(0, 1), y = 2x + 1 + 0.1 N(0, 1): an exact loss above zero.",
    "far": "1000 x from 1e6 + N(0, 1), y = 2x + 1 + 0.1 N(0, 1): condition number about 1e24.",
    "outliers": "100 points of y = 2x + 1 + 0.1 N(0, 1), every tenth thrown up by 10.",
}

DATA_PRESET_POINTS: Final[Mapping[str, int]] = {
    "classic": 1000,
    "noisy": 1000,
    "far": 1000,
    "outliers": 100,
}
"""How many points each data preset has."""

_WEAK_OPTIMIZERS: Final = (
    {"name": "Adam", "label": "Adam"},
    {"name": "SGD", "lr": 0.0001, "label": "SGD"},
    {"name": "Adagrad", "label": "Adagrad"},
    {"name": "ASGD", "label": "ASGD"},
)
_NO_STOP: Final = {"loss_below": None}
_AS_ASKED: Final[Mapping[str, Any]] = {
    "optimizers": list(_WEAK_OPTIMIZERS),
    # The loop `for b in range(1)` reads X[0] only, whatever its comment says.
    "data": {"preset": "classic", "points": 1},
    "dtype": "float32",
    "zero_grad": False,
    "stop": _NO_STOP,
    "record_every": 1,
}

COMPARISON_PRESETS: Final[Mapping[str, tuple[str, Mapping[str, Any]]]] = {
    "weak-optimizers": (
        "The question as asked: one sample, the gradient never zeroed, 500 steps, float32.",
        {**_AS_ASKED, "steps": 500},
    ),
    "weak-optimizers-20000": (
        "The question's second picture: the same for 20,000 steps.",
        {**_AS_ASKED, "steps": 20_000},
    ),
    "weak-optimizers-fixed": (
        "Both mistakes mended: all 1000 points, the gradient zeroed each step, float32.",
        {
            "optimizers": list(_WEAK_OPTIMIZERS),
            "data": {"preset": "classic"},
            "dtype": "float32",
            "stop": _NO_STOP,
            # Enough for Adam to reach the float's floor from this start (seed 0).
            "steps": 5_000,
        },
    ),
}
"""Name -> (what it shows, the spec that it stands for; the body's own fields win)."""
