"""The bowl that the peers run in: the five numbers of the data, without anything of the engine."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Moments:
    """All that a full-batch step needs to know of the points.

    Attributes:
        mean_x: Mean of x.
        variance_x: Mean squared deviation of x from it.
        a: Exact slope.
        b: Exact intercept.
        loss: Exact minimum of the mean squared error.
    """

    mean_x: float
    variance_x: float
    a: float
    b: float
    loss: float
