"""What every picture of a history shares: which column to draw, which points, what each one is.

Knows neither Vega-Lite nor terminals.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import groupby
from typing import Final, Literal

from app.domain.history import Rows, concatenate, thin

Quantity = Literal["excess", "loss"]
Scale = Literal["log", "linear"]
Abscissa = Literal["step", "log"]

SMALLEST: Final = 5e-324
LARGEST: Final = 1.7976931348623157e308
_HAIR: Final = 1e-3
_STRIDES: Final = (1, 2, 3, 4, 5, 10, 20, 25, 50, 100, 200, 500, 1000)


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """The history of one run, as a picture needs it.

    Attributes:
        label: Name in the legend and at the line's end.
        rows: Any number of rows; already thinned ones are fine.
        color_index: Place in the palette, from 0; two curves of one picture should differ.
    """

    label: str
    rows: Rows
    color_index: int = 0


class Nature(StrEnum):
    """What a value is to an axis."""

    DRAWN = "drawn"
    ZERO = "exact 0"
    NONFINITE = "not finite"


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """The points of one curve that a picture shows.

    Attributes:
        label: Unique in its picture.
        color_index: Place in the palette.
        steps: Abscissae, rising.
        values: Ordinates, any float64.
        natures: One entry a point.
        num_steps: Steps that the run made, drawn or not.
    """

    label: str
    color_index: int
    steps: tuple[int, ...]
    values: tuple[float, ...]
    natures: tuple[Nature, ...]
    num_steps: int

    def stretches(self) -> tuple[tuple[Nature, int, int], ...]:
        """Return the maximal stretches of one nature as (nature, first, last position)."""
        found: list[tuple[Nature, int, int]] = []
        for nature, group in groupby(range(len(self.steps)), key=lambda i: self.natures[i]):
            positions = list(group)
            found.append((nature, positions[0], positions[-1]))
        return tuple(found)


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """All series of one picture and the quantity that they show.

    Attributes:
        quantity: What is really drawn: "loss" as soon as one curve has no excess loss.
        scale: Of the ordinate.
        series: One entry a curve, in the order given.
    """

    quantity: Quantity
    scale: Scale
    series: tuple[Series, ...]

    def drawn(self) -> Iterable[float]:
        """Yield every value that has a place on the axis."""
        for series in self.series:
            for value, nature in zip(series.values, series.natures, strict=True):
                if nature is Nature.DRAWN:
                    yield value

    def has(self, nature: Nature) -> bool:
        """Tell whether any point is of this nature."""
        return any(nature in series.natures for series in self.series)

    @property
    def last_step(self) -> int:
        """The largest step of all series, 0 when there is none."""
        return max((series.steps[-1] for series in self.series if series.steps), default=0)


def nature_of(value: float, *, scale: Scale) -> Nature:
    """Tell whether a value has a place on the axis; a log axis has none for zero and below."""
    if not math.isfinite(value):
        return Nature.NONFINITE
    return Nature.ZERO if scale == "log" and value <= 0 else Nature.DRAWN


def make_picture(
    curves: Sequence[Curve],
    *,
    y: Quantity,
    scale: Scale,
    points: int,
    x: Abscissa = "step",
) -> Picture:
    """Choose column and points.

    Args:
        curves: What to draw.
        y: "excess" falls back to "loss" when a curve has no excess loss: one axis, one quantity.
        scale: Of the ordinate.
        points: Most points a curve, at least 8; extremes survive.
        x: "log" keeps all early rows, which a log axis spreads out.
    """
    has_excess = all(curve.rows.excess_loss is not None for curve in curves)
    quantity: Quantity = "excess" if y == "excess" and has_excess else "loss"
    labels = _unique([curve.label for curve in curves])
    return Picture(
        quantity=quantity,
        scale=scale,
        series=tuple(
            _make_series(curve, label=label, quantity=quantity, scale=scale, points=points, x=x)
            for curve, label in zip(curves, labels, strict=True)
        ),
    )


def _make_series(
    curve: Curve, *, label: str, quantity: Quantity, scale: Scale, points: int, x: Abscissa
) -> Series:
    rows = _thin(curve.rows, points=points, x=x)
    column = rows.excess_loss if quantity == "excess" else rows.loss
    values = tuple(column or ())
    return Series(
        label=label,
        color_index=curve.color_index,
        steps=tuple(rows.step),
        values=values,
        natures=tuple(nature_of(value, scale=scale) for value in values),
        num_steps=curve.rows.step[-1] if len(curve.rows) else 0,
    )


def _thin(rows: Rows, *, points: int, x: Abscissa) -> Rows:
    if x == "step" or len(rows) <= points:
        return thin(rows, points)
    early = points // 2
    return concatenate(
        [rows.select(range(early)), thin(rows.select(range(early, len(rows))), points - early)]
    )


def _unique(labels: Sequence[str]) -> list[str]:
    seen: dict[str, int] = {}
    unique: list[str] = []
    for label in labels:
        seen[label] = seen.get(label, 0) + 1
        unique.append(label if seen[label] == 1 else f"{label} ({seen[label]})")
    return unique


def decades(low: float, high: float) -> tuple[int, int]:
    """Return the exponents of the powers of ten around two positive numbers, at least one apart.

    A number that misses a power of ten by less than a pixel does not open another decade.
    """
    bottom = math.floor(math.log10(low) + _HAIR)
    top = math.ceil(math.log10(high) - _HAIR)
    return bottom, max(top, bottom + 1)


def power(exponent: int) -> float:
    """Return 10**exponent, or the nearest positive float64 where that has none."""
    if exponent > 308:  # noqa: PLR2004  # the largest decimal exponent of a float64
        return LARGEST
    return max(float(f"1e{exponent}"), SMALLEST)


def major_exponents(bottom: int, top: int, *, most: int) -> range:
    """Return evenly spaced exponents within bottom to top, at most `most` of them."""
    span = top - bottom
    stride = next(stride for stride in _STRIDES if span // stride < most)
    first = -(-bottom // stride) * stride
    return range(first, top + 1, stride)


def format_value(value: float) -> str:
    """Return a number as legends show it: "exact 0", "not finite", "9.98e-09"."""
    nature = nature_of(value, scale="log")
    if nature is Nature.NONFINITE:
        return nature.value
    return nature.value if value == 0 else f"{value:.3g}"


def nice_stride(last: int, *, parts: int) -> int:
    """Return 1, 2 or 5 times a power of ten that divides 0 to `last` into at most `parts` parts."""
    least = max(1, -(-last // parts))
    magnitude = int(10 ** (len(str(least)) - 1))
    return next(m * magnitude for m in (1, 2, 5, 10) if m * magnitude >= least)
