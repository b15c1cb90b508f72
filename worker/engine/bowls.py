"""The bowls of many runs as vectors, and what a line's place in its bowl says; exact.py has one."""

from dataclasses import dataclass, fields
from typing import Self

import numpy as np
import numpy.typing as npt

from app.domain.spec import Dtype

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Bowls:
    """One bowl a run, or one for all: every field has shape (runs,) or (1,), float64.

    Attributes:
        exact_a: Exact slope.
        exact_b: Exact intercept.
        rest_a: What a float64 cannot hold of the exact slope.
        rest_b: Likewise of the intercept.
        deviation: Root mean squared deviation of x from its mean.
        mean_x: Mean of x.
        floor: Exact loss.
        most: Largest loss that the plain loop can compute in the runs' type.
        still: Excess loss below which every residual of the plain loop rounds to zero.
    """

    exact_a: Floats
    exact_b: Floats
    rest_a: Floats
    rest_b: Floats
    deviation: Floats
    mean_x: Floats
    floor: Floats
    most: Floats
    still: Floats

    @classmethod
    def of_one(cls, bowl: tuple[float, ...]) -> Self:
        """Return the bowl of all runs from its nine numbers in loop.py's order."""
        names = (field.name for field in fields(cls))
        return cls(**{name: np.array([value]) for name, value in zip(names, bowl, strict=True)})

    @property
    def columns(self) -> tuple[Floats, ...]:
        """All fields, in loop.py's order."""
        return tuple(getattr(self, field.name) for field in fields(self))

    def take(self, runs: slice | Ints) -> "Bowls":
        """Return the bowls of some runs."""
        if len(self.exact_a) == 1:
            return self
        return Bowls(**{field.name: getattr(self, field.name)[runs] for field in fields(self)})

    def excess(self, a: Floats, b: Floats) -> Floats:
        """Return the excess losses of lines, shape (runs,); may be inf or NaN."""
        with np.errstate(all="ignore"):
            error_a = (a - self.exact_a) - self.rest_a
            tilt = self.deviation * error_a
            shift = error_a * self.mean_x + ((b - self.exact_b) - self.rest_b)
            found: Floats = tilt * tilt + shift * shift
            return found

    def loss(self, excess: Floats, *, number: Dtype) -> Floats:
        """Return losses as loop.losses does: in the runs' type, inf where squares overflow."""
        with np.errstate(all="ignore"):
            loss = (self.floor + excess).astype(number).astype(np.float64)
        loss = np.where(loss > self.most, np.inf, loss)
        found: Floats = np.where(excess < self.still, 0.0, loss)
        return found
