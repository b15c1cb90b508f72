"""Curves of one picture can be told apart without colour vision."""

from app.charts.palette import COLORS, color_of, dash_of


def test_palette_is_okabe_and_ito() -> None:
    assert set(COLORS) == {
        "#000000",
        "#E69F00",
        "#56B4E9",
        "#009E73",
        "#F0E442",
        "#0072B2",
        "#D55E00",
        "#CC79A7",
    }


def test_first_eight_curves_differ_in_dash_alone() -> None:
    assert len({dash_of(index) for index in range(8)}) == 8


def test_sixty_four_curves_differ_in_colour_or_dash() -> None:
    assert len({(color_of(index), dash_of(index)) for index in range(64)}) == 64
