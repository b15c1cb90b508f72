"""The words that the rules are written in, as plain Python understands them for float64.

text.py gives the same words other meanings: float32, NumPy scalars, compiled code.
"""

import math
import struct

State = tuple[float, ...]
"""What a rule remembers of one parameter."""


def real(value: float) -> float:
    """Round to the run's number type."""
    return value


def wide(value: float) -> float:
    """Take a number of the run's type as a float64; loses nothing."""
    return value


def single(value: float) -> float:
    """Round to float32 whatever the run's type: torch keeps some counters so."""
    return float(struct.unpack("f", struct.pack("f", value))[0])


def root(value: float) -> float:
    """Return the square root in the run's type."""
    return math.sqrt(value)


def power(base: float, exponent: float) -> float:
    """Return a power in float64, inf where Python's own would raise."""
    try:
        return float(base**exponent)
    except OverflowError:
        return math.inf


def lerp(start: float, end: float, weight: float) -> float:
    """Return start + weight (end - start) as Tensor.lerp_ rounds it."""
    if weight < 0.5:  # noqa: PLR2004  # torch's own border, with both of its formulas
        return start + weight * (end - start)
    return end - (end - start) * (real(1.0) - weight)
