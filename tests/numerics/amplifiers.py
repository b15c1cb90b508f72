"""Where the contract of fidelity does not hold as it stands: which optimizer, on what, and why.

All these runs make a rounding larger from step to step, and leave the contract when the plain loop
itself rounds to another side. So does each of the reasons: a test holds every row to it. What is
not named here keeps the contract at every step.
"""

from dataclasses import dataclass
from typing import Any

HUNTS = (
    "its averages forget within a few steps, and around the minimum it goes on in steps of full "
    "size: where it turns is decided by the last rounding of a gradient that is nearly zero"
)
RUNS_AWAY = (
    "the rate is too large for these points: the loss grows, and with it the roundings of all steps"
)
LEAPS = (
    "its first steps have the size of the learning rate, on points of another scale: a leap far "
    "away, from where each rounding is as large as the loss was"
)
SIGN_OF_NOISE = "only the sign of the gradient counts, also where it is rounding noise"


@dataclass(frozen=True, slots=True, kw_only=True)
class Amplifier:
    """Sets of options that amplify roundings on some data sets.

    Attributes:
        optimizer: Its class, and the options that make it so.
        data: Names of data sets.
        reason: Why.
    """

    optimizer: dict[str, Any]
    data: tuple[str, ...]
    reason: str

    def has(self, optimizer: dict[str, Any]) -> bool:
        """Tell whether a set of options is one of these."""
        return self.optimizer.items() <= optimizer.items()


_NEAR = ("seed", "noisy", "x=10+N", "x=1e3+N", "x=1e6+N")
_FEW = ("x constant", "one point", "two points")
_FAR = ("tiny", "small")

AMPLIFIERS = [
    Amplifier(
        optimizer={"name": "Adam", "betas": [0.3, 0.5]},
        data=(*_NEAR, *_FEW, "exact", "tiny x"),
        reason=HUNTS,
    ),
    Amplifier(
        optimizer={"name": "RMSprop", "alpha": 0.3},
        data=(*_NEAR, *_FEW, "exact", "outliers", "tiny x", "large"),
        reason=HUNTS,
    ),
    Amplifier(
        optimizer={"name": "Adadelta", "rho": 0.3},
        data=("x=1e3+N", "x=1e6+N", "x constant", "one point"),
        reason=HUNTS,
    ),
    Amplifier(
        optimizer={"name": "Adamax", "betas": [0.2, 0.3]}, data=("x constant",), reason=HUNTS
    ),
    Amplifier(optimizer={"name": "NAdam", "betas": [0.5, 0.9]}, data=("seed",), reason=HUNTS),
    Amplifier(
        optimizer={"name": "SparseAdam", "betas": [0.5, 0.9]}, data=("seed", "noisy"), reason=HUNTS
    ),
    Amplifier(
        optimizer={"name": "Adafactor", "d": 2.0},
        data=("noisy", "one point", "exact", "tiny x"),
        reason=HUNTS,
    ),
    Amplifier(optimizer={"name": "SGD", "nesterov": True}, data=("x=10+N",), reason=RUNS_AWAY),
    Amplifier(optimizer={"name": "ASGD"}, data=("x=10+N",), reason=RUNS_AWAY),
    Amplifier(optimizer={"name": "RAdam", "lr": 0.05}, data=("x=10+N",), reason=RUNS_AWAY),
    *(
        Amplifier(optimizer={"name": name}, data=_FAR, reason=LEAPS)
        for name in (
            *("Adam", "AdamW", "Adagrad", "RMSprop", "Adamax", "NAdam", "RAdam"),
            *("Adafactor", "SparseAdam"),
        )
    ),
    Amplifier(optimizer={"name": "Rprop"}, data=("two points",), reason=SIGN_OF_NOISE),
]


def amplifies(optimizer: dict[str, Any], data: str) -> bool:
    """Tell whether a run is known to amplify its roundings."""
    return any(each.has(optimizer) and data in each.data for each in AMPLIFIERS)
