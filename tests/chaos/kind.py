"""The few kinds of jobs that are fitted under faults, each different in what a resume must keep.

Those that name the plain loop are slow by themselves; the others run on the engine that a user's
jobs run on, with so many steps that they too are hit in the middle.
"""

from collections.abc import Mapping
from typing import Any, Final

_NO_STOP: Final = {"loss_below": None}
_INLINE_X: Final = [round(0.01 * position - 1.5, 2) for position in range(300)]

KINDS: Final[Mapping[str, Mapping[str, Any]]] = {
    "classic": {},
    "tiny": {"steps": 10},
    # All that a fit may make, by an update rule on five numbers.
    "swift": {
        "data": {"preset": "noisy"},
        "steps": 10_000_000,
        "stop": _NO_STOP,
    },
    "batches": {
        "data": {"preset": "noisy"},
        "batch_size": 10,
        "steps": 6_000,
        "engine": "torch",
        "stop": _NO_STOP,
    },
    "never-zeroed": {
        "data": {"preset": "noisy"},
        "optimizer": {"name": "SGD", "lr": 1e-4, "momentum": 0.9},
        "zero_grad": False,
        "steps": 8_000,
        "engine": "torch",
        "stop": _NO_STOP,
    },
    "lbfgs": {
        "data": {"preset": "outliers"},
        "optimizer": {"name": "LBFGS", "lr": 0.01},
        "steps": 120,
        "engine": "torch",
        "stop": _NO_STOP,
    },
    "diverging": {"optimizer": {"name": "SGD", "lr": 0.99}},
    "comparison": {
        "kind": "comparison",
        "data": {"preset": "noisy"},
        "optimizers": ["Adam", {"name": "SGD", "lr": 0.01}, "RMSprop"],
        "batch_size": 64,
        "steps": 200_000,
        "stop": _NO_STOP,
    },
    "scheduled": {
        "data": {"preset": "noisy"},
        "optimizer": "NAdam",
        "scheduler": {"name": "OneCycleLR", "max_lr": 0.1},
        "batch_size": 32,
        "dtype": "float32",
        "steps": 15_000,
        "stop": _NO_STOP,
    },
    # More than 200 points of one's own are stored beside the job.
    "inline": {
        "data": {"x": _INLINE_X, "y": [2 * x + 1 for x in _INLINE_X]},
        # There is no rule of it: torch.optim makes the steps, on the closed-form gradient.
        "optimizer": "Muon",
        "steps": 20_000,
        "stop": _NO_STOP,
    },
    # The longest, and not every row of it is kept.
    "long": {
        "data": {"preset": "noisy"},
        "optimizer": "RAdam",
        "batch_size": 16,
        "steps": 9_000,
        "engine": "torch",
        "record_every": 10,
        "stop": _NO_STOP,
    },
}
"""Name -> spec; one of them takes from 10 ms to 5 s of one core."""


def spec_of(kind: str, *, intent: str) -> dict[str, Any]:
    """Return the body of a submit; the tag finds the job again without any client's memory."""
    return {**KINDS[kind], "tags": {"intent": intent}}
