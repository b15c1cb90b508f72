"""Histories drawn with letters: a braille plot for terminals and a sparkline for one line of text.

Pure functions of history rows: knows no job and no terminal; the caller says whether colours go.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from app.charts.axis import log_decades
from app.charts.series import (
    Curve,
    Nature,
    Picture,
    Quantity,
    Scale,
    Series,
    format_value,
    major_exponents,
    make_picture,
    nature_of,
    nice_stride,
)

_BRAILLE: Final = 0x2800
_DOTS: Final = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))
"""Bit of the dot at [row][column] of a 2 x 4 braille cell."""
_BLOCKS: Final = "\u2581\u2582\u2583\u2584\u2585\u2586\u2587\u2588"
_GLYPHS: Final = "\u25cf\u25b2\u25a0\u25c6\u25cb\u25b3\u25a1\u25c7"
"""Stand at the ends of curves and in the legend."""
_ZERO: Final = "\u25bc"
_NONFINITE: Final = "\u2715"
# Terminal colours nearest to the palette's order; no yellow on white, no blue on black.
_ANSI: Final = (34, 31, 32, 35, 33, 36, 39, 93)
_LABEL_WIDTH: Final = 9
_X_LABELS: Final = 5
_NAMES: Final = {"excess": "excess loss", "loss": "loss"}


def spark(values: Sequence[float]) -> str:
    """Return one block a value, its height by the logarithm; low is good.

    A value that is exactly 0 (or below) is a blank lower edge "_", one that is not finite is "x".
    """
    drawn = [math.log10(v) for v in values if nature_of(v, scale="log") is Nature.DRAWN]
    low, high = min(drawn, default=0.0), max(drawn, default=0.0)
    return "".join(_block(value, low=low, high=high) for value in values)


def _block(value: float, *, low: float, high: float) -> str:
    nature = nature_of(value, scale="log")
    if nature is not Nature.DRAWN:
        return "_" if nature is Nature.ZERO else "x"
    if high == low:
        return _BLOCKS[0]
    share = (math.log10(value) - low) / (high - low)
    return _BLOCKS[round(share * (len(_BLOCKS) - 1))]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Frame:
    """The plot's size in braille dots and the values at its edges."""

    width: int
    height: int
    low: float
    high: float
    last_step: int
    scale: Scale

    def column(self, step: int) -> int:
        return round(step / max(1, self.last_step) * (2 * self.width - 1))

    def row(self, value: float) -> int:
        """Return the dot row of a value, 0 at the top."""
        height = math.log10(value) if self.scale == "log" else value
        # Halves, so that the distance of two large numbers cannot overflow.
        share = (height / 2 - self.low / 2) / (self.high / 2 - self.low / 2)
        return round((1 - min(1.0, max(0.0, share))) * (4 * self.height - 1))


class _Canvas:
    """Cells of braille dots, letters above them, and the curve that each cell belongs to."""

    def __init__(self, *, width: int, height: int) -> None:
        self.width = width
        self.height = height
        self._dots = [[0] * width for _ in range(height)]
        self._letters: dict[tuple[int, int], str] = {}
        self._owners: dict[tuple[int, int], int] = {}

    def dot(self, column: int, row: int, *, owner: int) -> None:
        self._dots[row // 4][column // 2] |= _DOTS[row % 4][column % 2]
        self._owners[row // 4, column // 2] = owner

    def line(self, start: tuple[int, int], end: tuple[int, int], *, owner: int) -> None:
        """Set the dots between two points, both included."""
        (x0, y0), (x1, y1) = start, end
        count = max(abs(x1 - x0), abs(y1 - y0), 1)
        for k in range(count + 1):
            self.dot(
                round(x0 + (x1 - x0) * k / count), round(y0 + (y1 - y0) * k / count), owner=owner
            )

    def letter(self, column: int, row: int, glyph: str, *, owner: int) -> None:
        cell = (row // 4, column // 2)
        self._letters[cell] = glyph
        self._owners[cell] = owner

    def text(self, row: int, *, ansi: Sequence[int] | None) -> str:
        """Return one line of cells, coloured when `ansi` gives each owner's colour."""
        cells: list[str] = []
        for column, bits in enumerate(self._dots[row]):
            glyph = self._letters.get((row, column)) or (chr(_BRAILLE + bits) if bits else " ")
            owner = self._owners.get((row, column))
            cells.append(glyph if ansi is None or owner is None else _paint(glyph, ansi[owner]))
        return "".join(cells).rstrip()


def _paint(text: str, ansi: int) -> str:
    return f"\x1b[{ansi}m{text}\x1b[0m"


def draw_curves(
    curves: Sequence[Curve],
    *,
    width: int = 72,
    height: int = 16,
    y: Quantity = "excess",
    scale: Scale = "log",
    color: bool = False,
) -> str:
    """Return a plot of some histories for a terminal, with axes and a legend of last values.

    Args:
        curves: One entry a run; may be empty, or hold no rows yet.
        width: Columns of the whole plot, at least 24.
        height: Lines of the plot without the step axis and the legend, at least 3.
        y: "excess" falls back to "loss" when a curve has none.
        scale: Of the ordinate; log marks exact zeros on the floor.
        color: Write ANSI colours.
    """
    inner = max(24, width) - _LABEL_WIDTH - 2
    height = max(3, height)
    picture = make_picture(curves, y=y, scale=scale, points=max(8, 4 * inner))
    frame = _make_frame(picture, width=inner, height=height)
    canvas = _Canvas(width=inner, height=height)
    for owner, series in enumerate(picture.series):
        _draw(series, canvas, frame, owner=owner)
    if len(picture.series) > 1:
        for owner, series in enumerate(picture.series):
            _mark_end(series, canvas, frame, owner=owner)
    ansi = [_ANSI[series.color_index % len(_ANSI)] for series in picture.series] if color else None
    labels = _y_labels(frame)
    lines = [f"{_NAMES[picture.quantity]}, {scale} scale"]
    for row in range(height):
        edge = "\u2524" if row in labels else "\u2502"
        lines.append(f"{labels.get(row, ''):>{_LABEL_WIDTH}} {edge}{canvas.text(row, ansi=ansi)}")
    lines += [*_x_axis(frame), *_legend(picture, ansi=ansi)]
    return "\n".join(line.rstrip() for line in lines)


def _make_frame(picture: Picture, *, width: int, height: int) -> _Frame:
    low: float
    high: float
    if picture.scale == "log":
        low, high = log_decades(picture)
    else:
        values = list(picture.drawn()) or [0.0]
        low, high = min(0.0, *values), max(values)
        high = high if high > low else low + 1.0
    return _Frame(
        width=width,
        height=height,
        low=low,
        high=high,
        last_step=picture.last_step,
        scale=picture.scale,
    )


def _draw(series: Series, canvas: _Canvas, frame: _Frame, *, owner: int) -> None:
    floor, ceiling = 4 * frame.height - 1, 0
    for nature, first, last in series.stretches():
        if nature is Nature.DRAWN:
            spots = [
                (frame.column(series.steps[i]), frame.row(series.values[i]))
                for i in range(first, last + 1)
            ]
            for start, end in zip(spots, spots[1:] or spots, strict=False):
                canvas.line(start, end, owner=owner)
            continue
        row = floor if nature is Nature.ZERO else ceiling
        left, right = frame.column(series.steps[first]), frame.column(series.steps[last])
        canvas.line((left, row), (right, row), owner=owner)
        glyph = _ZERO if nature is Nature.ZERO else _NONFINITE
        canvas.letter(left, row, glyph, owner=owner)
        canvas.letter(right, row, glyph, owner=owner)


def _mark_end(series: Series, canvas: _Canvas, frame: _Frame, *, owner: int) -> None:
    if not series.steps or series.natures[-1] is not Nature.DRAWN:
        return
    spot = frame.column(series.steps[-1]), frame.row(series.values[-1])
    canvas.letter(*spot, _GLYPHS[owner % len(_GLYPHS)], owner=owner)


def _y_labels(frame: _Frame) -> dict[int, str]:
    """Return the label of each line that has one."""
    if frame.scale == "linear":
        middle = frame.low / 2 + frame.high / 2
        ticks = {
            frame.high: f"{frame.high:.3g}",
            middle: f"{middle:.3g}",
            frame.low: f"{frame.low:.3g}",
        }
        return {frame.row(value) // 4: text for value, text in ticks.items()}
    bottom, top = int(frame.low), int(frame.high)
    exponents = major_exponents(bottom, top, most=max(2, frame.height // 2))
    span = 4 * frame.height - 1
    return {
        round((top - exponent) / (top - bottom) * span) // 4: f"1e{exponent:+d}"
        for exponent in exponents
    }


def _x_axis(frame: _Frame) -> list[str]:
    """Return the axis line and the line of step labels."""
    line, labels = ["\u2500"] * frame.width, [" "] * (frame.width + _LABEL_WIDTH)
    taken = -1
    for step in range(0, frame.last_step + 1, nice_stride(frame.last_step, parts=_X_LABELS)):
        column = frame.column(step) // 2
        text = f"{step:,}"
        start = min(max(0, column - len(text) // 2), frame.width - len(text))
        if start <= taken:
            continue
        line[column] = "\u252c"
        labels[start : start + len(text)] = text
        taken = start + len(text)
    margin = " " * (_LABEL_WIDTH + 1)
    return [f"{margin}\u2514{''.join(line)}", f"{margin} {''.join(labels).rstrip()} step"]


def _legend(picture: Picture, *, ansi: Sequence[int] | None) -> list[str]:
    several = len(picture.series) > 1
    width = max((len(series.label) for series in picture.series), default=0)
    lines: list[str] = []
    for owner, series in enumerate(picture.series):
        glyph = _GLYPHS[owner % len(_GLYPHS)] if several else "\u2500"
        glyph = glyph if ansi is None else _paint(glyph, ansi[owner])
        last = format_value(series.values[-1]) if series.values else "no step yet"
        at = f" at step {series.steps[-1]:,}" if series.steps else ""
        lines.append(f"{'':{_LABEL_WIDTH + 2}}{glyph} {series.label:<{width}}  {last}{at}")
    keys = [
        f"{glyph} {nature.value}"
        for nature, glyph in ((Nature.ZERO, _ZERO), (Nature.NONFINITE, _NONFINITE))
        if picture.has(nature)
    ]
    return [*lines, f"{'':{_LABEL_WIDTH + 2}}{'   '.join(keys)}"] if keys else lines
