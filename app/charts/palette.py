"""Colours and dashes that people with any colour vision can tell apart."""

from typing import Final

# Okabe and Ito, "Color Universal Design", 2008; ordered by contrast on white, yellow last.
COLORS: Final = (
    "#0072B2",
    "#D55E00",
    "#009E73",
    "#CC79A7",
    "#E69F00",
    "#56B4E9",
    "#000000",
    "#F0E442",
)
DASHES: Final[tuple[tuple[int, ...], ...]] = (
    (1, 0),
    (7, 3),
    (2, 3),
    (9, 3, 2, 3),
    (12, 4),
    (4, 4),
    (9, 3, 2, 3, 2, 3),
    (16, 2),
)
"""Lengths of strokes and gaps in pixels; the first is a solid line."""


def color_of(index: int) -> str:
    """Return the colour of a curve."""
    return COLORS[index % len(COLORS)]


def dash_of(index: int) -> tuple[int, ...]:
    """Return the dash of a curve; 64 curves get 64 different pairs of colour and dash."""
    return DASHES[(index + index // len(COLORS)) % len(DASHES)]
