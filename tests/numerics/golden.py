"""Golden histories: what the loop said when this was last looked at.

`python -m tests.numerics.golden` writes them afresh; look at the difference before committing it.
"""

from pathlib import Path
from typing import Any, Final

import torch

from tests.numerics.fitted import Fitted, fit

FOLDER: Final = Path(__file__).with_name("golden")
CASES: Final[dict[str, dict[str, Any]]] = {
    "classic-adam": {},
    "classic-adam-float32": {"dtype": "float32"},
    "question-sgd": {
        "data": {"preset": "classic", "points": 1},
        "optimizer": {"name": "SGD", "lr": 1e-4},
        "dtype": "float32",
        "zero_grad": False,
    },
    "noisy-momentum": {
        "data": {"preset": "noisy"},
        "optimizer": {"name": "SGD", "lr": "auto", "momentum": 0.9},
    },
    "noisy-batches": {"data": {"preset": "noisy"}, "optimizer": "RMSprop", "batch_size": 32},
    "outliers-lbfgs": {
        "data": {"preset": "outliers"},
        # Without a line search, LBFGS diverges on this loss.
        "optimizer": {"name": "LBFGS", "line_search_fn": "strong_wolfe"},
        "loss": "huber",
    },
    "far-rprop": {"data": {"preset": "far"}, "optimizer": "Rprop"},
    "noisy-muon": {
        "data": {"preset": "noisy"},
        "optimizer": "Muon",
        "scheduler": {"name": "CosineAnnealingLR", "T_max": 300},
    },
}
SHOWN: Final = (0, 1, 2, 5, 10, 20, 50, 100, 200, 300)


def run(name: str) -> Fitted:
    """Fit a case."""
    return fit(steps=300, stop={"loss_below": None}, **CASES[name])


def to_text(fitted: Fitted) -> str:
    """Write the rows at SHOWN, every digit."""
    rows = fitted.rows
    lines = [f"{k} {rows.loss[k]!r} {rows.a[k]!r} {rows.b[k]!r}" for k in SHOWN]
    return "\n".join(["step loss a b", *lines]) + "\n"


def main() -> None:
    """Write every golden history."""
    torch.set_num_threads(1)
    for name in CASES:
        (FOLDER / f"{name}.txt").write_text(to_text(run(name)))


if __name__ == "__main__":
    main()
