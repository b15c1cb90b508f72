"""Numbers that remember the largest operand they came from: at that size their roundings count.

torch's kernels fuse some multiplications with the addition that follows and the rules do not: where
such a sum cancels, both are right to a rounding of what was added, not of what is left.
"""

import math
from typing import Any, Final

import numpy as np

_RANGES: Final[dict[str, Any]] = {
    "float32": np.finfo(np.float32),
    "float64": np.finfo(np.float64),
}


class Sized:
    """A float64, and the size that the operands on the way to it had, in its own units.

    A sum passes on the larger of its operands' sizes, a product or quotient what both do to it. No
    size is below the smallest normal number: from there on roundings do not get smaller.

    Args:
        value: The number.
        size: Of what it came from; its own when nothing is said.
    """

    range = _RANGES["float64"]

    __slots__ = ("size", "value")

    def __init__(self, value: float, size: float = 0.0) -> None:
        self.value = float(self.range.dtype.type(value))
        known = max(abs(self.value), size, float(self.range.tiny))
        self.size = math.inf if math.isnan(self.value) or math.isnan(size) else known

    def __add__(self, other: "Sized") -> "Sized":
        return type(self)(self.value + other.value, max(self.size, other.size))

    def __sub__(self, other: "Sized") -> "Sized":
        return type(self)(self.value - other.value, max(self.size, other.size))

    def __mul__(self, other: "Sized") -> "Sized":
        grown = self.size * abs(other.value) + other.size * abs(self.value)
        # Of what has cancelled to 0, only the product of both roundings is left.
        both = self.size * float(self.range.eps) * other.size
        return type(self)(self.value * other.value, grown + both)

    def __truediv__(self, other: "Sized") -> "Sized":
        if other.value == 0.0:
            return type(self)(math.inf, math.inf)
        quotient, below = self.value / other.value, abs(other.value)
        return type(self)(quotient, self.size / below + abs(quotient) * (other.size / below))

    def __neg__(self) -> "Sized":
        return type(self)(-self.value, self.size)

    def __abs__(self) -> "Sized":
        return type(self)(abs(self.value), self.size)

    def __lt__(self, other: "Sized | float") -> bool:
        return self.value < float(other)

    def __gt__(self, other: "Sized | float") -> bool:
        return self.value > float(other)

    def __float__(self) -> float:
        return self.value

    def root(self) -> "Sized":
        """Return the square root; that of what has cancelled may be any up to its roundings'."""
        if self.value < 0.0:
            return type(self)(math.nan)
        value = math.sqrt(self.value)
        grown = self.size / (2.0 * value) if value else math.inf
        return type(self)(value, min(grown, math.sqrt(self.size / float(self.range.eps))))


class Sized32(Sized):
    """The same for a float32."""

    range = _RANGES["float32"]

    __slots__ = ()


def words_for(number: str) -> dict[str, Any]:
    """Return what the words of a rule mean for numbers with a size."""
    kind = Sized32 if number == "float32" else Sized
    return {
        "math": math,
        "real": lambda value: kind(float(value)),
        "wide": float,
        "power": math.pow,
        "single": lambda value: float(np.float32(value)),
        "root": lambda value: value.root(),
        # Whichever is chosen, the other may have been by a rounding.
        "max": lambda one, other: kind(max(one.value, other.value), max(one.size, other.size)),
    }
