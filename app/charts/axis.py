"""Axes with explicit domains, so that pixels can be computed here as Vega will compute them."""

import math
from dataclasses import dataclass
from typing import Any, Final

from app.charts.series import (
    Abscissa,
    Nature,
    Picture,
    decades,
    major_exponents,
    nice_stride,
    power,
)

Json = dict[str, Any]

_MOST_LABELS: Final = 9
_MINOR_UP_TO: Final = 5
"""Decades up to which the lines at 2, 3, ... 9 times a power of ten still help the eye."""
_HALVES_UP_TO: Final = 2
"""Decades up to which 2 and 5 times a power of ten are labelled too."""
_NAME_HEIGHT: Final = 18
"""Pixels that a label needs for itself."""
_STEP_PARTS: Final = 6
_INK: Final = "#5B6270"
_GRID: Final = "#E4E7EC"
_FAINT_GRID: Final = "#F1F3F6"


@dataclass(frozen=True, slots=True, kw_only=True)
class Axis:
    """One axis as Vega-Lite takes it, and the pixel of every value on it.

    Attributes:
        scale: The `scale` of the encoding, with its whole domain.
        axis: The `axis` of the encoding.
        low: First value of the domain.
        high: Last value of the domain.
        form: "log", "linear" or "symlog" (log10(1 + value)).
        length: Pixels.
    """

    scale: Json
    axis: Json
    low: float
    high: float
    form: str
    length: int

    def position(self, value: float) -> float:
        """Return the pixels between the low end and a value."""
        low, high, at = (self._stretch(v) for v in (self.low, self.high, value))
        return self.length * (at - low) / (high - low)

    def _stretch(self, value: float) -> float:
        match self.form:
            case "log":
                return math.log10(value)
            case "symlog":
                return math.log10(1 + value)
            case _:
                # Half of a float64's range each, so that the difference cannot overflow.
                return value / 2


def make_y(picture: Picture, *, title: str, length: int) -> Axis:
    """Return the ordinate; a log one always ends at powers of ten."""
    if picture.scale == "log":
        return _log_y(picture, title=title, length=length)
    values = list(picture.drawn()) or [0.0, 1.0]
    low, high = min(0.0, *values), max(values)
    if low == high:
        low, high = low - 1.0 if low else 0.0, high + 1.0
    return Axis(
        scale={"type": "linear", "domain": [low, high], "nice": False, "zero": False},
        axis={"title": title, "format": "~g", "tickCount": 6, **_style()},
        low=low,
        high=high,
        form="linear",
        length=length,
    )


def _log_y(picture: Picture, *, title: str, length: int) -> Axis:
    bottom, top = log_decades(picture)
    low, high = power(bottom), power(top)
    majors = major_exponents(bottom, top, most=_MOST_LABELS)
    # Where zeros stand on the floor or infinities on the ceiling, these have names of their own.
    margin = _NAME_HEIGHT * (top - bottom) / length
    least = bottom + margin if picture.has(Nature.ZERO) else bottom
    most = top - margin if picture.has(Nature.NONFINITE) else top
    ticks = [power(exponent) for exponent in majors if least <= exponent <= most]
    if top - bottom <= _MINOR_UP_TO:
        ticks += [m * power(e) for e in range(bottom, top) for m in range(2, 10)]
    exponent = "log(datum.value) / LN10"
    is_major = f"abs({exponent} - round({exponent})) < 1e-6"
    is_half = "indexof(['2', '5'], slice(datum.label, 0, 1)) >= 0"
    is_named = f"{is_major} || {is_half}" if top - bottom <= _HALVES_UP_TO else is_major
    axis = {
        "title": title,
        "values": sorted(ticks),
        "format": ".0e",
        "labelExpr": f"{is_named} ? datum.label : ''",
        "labelOverlap": False,
        **_style(),
        "gridColor": {"condition": {"test": is_major, "value": _GRID}, "value": _FAINT_GRID},
    }
    return Axis(
        scale={"type": "log", "base": 10, "domain": [low, high], "nice": False},
        axis=axis,
        low=low,
        high=high,
        form="log",
        length=length,
    )


def log_decades(picture: Picture) -> tuple[int, int]:
    """Return the exponents at both ends of a log axis; room for the floor when zeros are drawn."""
    values = list(picture.drawn())
    if not values:
        return -1, 0
    bottom, top = decades(min(values), max(values))
    # Nothing that has a value may touch the floor, where the zeros stand, or the ceiling.
    room = max(1, math.ceil((top - bottom) / 12))
    bottom -= room if picture.has(Nature.ZERO) else 0
    top += room if picture.has(Nature.NONFINITE) else 0
    return max(bottom, -324), min(top, 309)


def make_x(picture: Picture, *, x: Abscissa, length: int) -> Axis:
    """Return the abscissa: steps from 0; a log one is log(1 + step), so that 0 has its place."""
    last = max(picture.last_step, 1)
    if x == "log":
        powers = [0, *(10**k for k in range(len(str(last))))]
        return Axis(
            scale={"type": "symlog", "constant": 1, "domain": [0, last], "nice": False},
            axis={"title": "step, log(1 + step)", "values": powers, **_x_style()},
            low=0,
            high=last,
            form="symlog",
            length=length,
        )
    ticks = list(range(0, last + 1, nice_stride(last, parts=_STEP_PARTS)))
    return Axis(
        scale={"type": "linear", "domain": [0, last], "nice": False},
        axis={"title": "step", "values": ticks, **_x_style()},
        low=0,
        high=last,
        form="linear",
        length=length,
    )


def _style() -> Json:
    return {
        "labelColor": _INK,
        "titleColor": _INK,
        "titleFontWeight": "normal",
        "titlePadding": 12,
        "labelPadding": 7,
        "gridColor": _GRID,
        "domain": False,
        "ticks": False,
    }


def _x_style() -> Json:
    return {
        **_style(),
        "format": ",d",
        "grid": False,
        "domain": True,
        "domainColor": "#AEB4BF",
        "ticks": True,
        "tickColor": "#AEB4BF",
        "tickSize": 4,
        "labelPadding": 5,
        "titlePadding": 8,
        "labelFlush": False,
    }
