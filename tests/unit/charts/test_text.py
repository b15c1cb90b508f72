"""Letters drawn for terminals are decoded back to the numbers that they stand for."""

import math
import re
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.charts.series import Curve, Scale
from app.charts.text import draw_curves, spark
from tests.unit.charts.make import Make

DOTS = {0x01: (0, 0), 0x02: (1, 0), 0x04: (2, 0), 0x40: (3, 0)} | {
    0x08: (0, 1),
    0x10: (1, 1),
    0x20: (2, 1),
    0x80: (3, 1),
}
MARGIN = 11


def plot_lines(text: str) -> list[str]:
    return [line for line in text.splitlines() if line[10:11] in {"┤", "│"}]


def dots_in(text: str) -> set[tuple[int, int]]:
    """Return every (column, row) of the plot's dots, rows from the top."""
    return {
        (2 * column + dx, 4 * row + dy)
        for row, line in enumerate(plot_lines(text))
        for column, cell in enumerate(line[MARGIN:])
        if 0x2800 < ord(cell) < 0x2900
        for bit, (dy, dx) in DOTS.items()
        if (ord(cell) - 0x2800) & bit
    }


def labels_in(text: str) -> dict[int, int]:
    """Return exponent by line number."""
    found = ((row, re.match(r" *1e([+-]\d+) ┤", line)) for row, line in enumerate(plot_lines(text)))
    return {row: int(match.group(1)) for row, match in found if match}


def test_exponential_decay_is_a_straight_line_from_corner_to_corner(
    make_curve: Make[Curve],
) -> None:
    text = draw_curves([make_curve([10.0 ** (-k / 10) for k in range(81)])])
    dots = dots_in(text)
    columns, rows = 2 * 61, 4 * 16

    assert (0, 0) in dots
    assert (columns - 1, rows - 1) in dots
    for column, row in dots:
        assert abs(row - column * (rows - 1) / (columns - 1)) <= 1.0


def test_falling_losses_fall_on_the_screen(make_curve: Make[Curve]) -> None:
    text = draw_curves([make_curve([10.0 ** (-k / 10) for k in range(81)])])
    lowest = {}
    for column, row in dots_in(text):
        lowest[column] = max(row, lowest.get(column, 0))

    assert all(lowest[a] <= lowest[b] for a, b in pairwise(sorted(lowest)))


def test_decade_labels_stand_where_their_values_are_drawn(make_curve: Make[Curve]) -> None:
    text = draw_curves([make_curve([1.0, 1e-4, 1e-4, 1e-8])])
    labels = labels_in(text)
    rows_of_middle = {row for column, row in dots_in(text) if 45 <= column <= 80}

    assert list(labels.values()) == sorted(labels.values(), reverse=True)
    assert labels[0] == 0
    assert labels[15] == -8
    assert {row // 4 for row in rows_of_middle} & {row for row, k in labels.items() if k == -4}


def test_step_labels_are_round_and_end_within_the_axis(make_curve: Make[Curve]) -> None:
    lines = draw_curves([make_curve([1.0 / (k + 1) for k in range(403)])]).splitlines()
    axis = next(i for i, line in enumerate(lines) if "└" in line)

    assert lines[axis + 1].split() == ["0", "100", "200", "300", "400", "step"]
    assert lines[axis].count("┬") == 5


def test_size_is_as_asked(make_curve: Make[Curve]) -> None:
    text = draw_curves([make_curve([1.0, 0.1])], width=50, height=7)

    assert len(plot_lines(text)) == 7
    assert max(map(len, plot_lines(text))) <= 50


def test_legend_names_each_curve_with_its_last_value(make_curve: Make[Curve]) -> None:
    curves = [make_curve([1.0, 2.5e-7]), make_curve([1.0, 0.0], label="SGD lr 0.1", color_index=1)]
    text = draw_curves(curves)

    assert re.search(r"● Adam +2\.5e-07 at step 1", text)
    assert re.search(r"▲ SGD lr 0\.1  exact 0 at step 1", text)


def test_each_curve_ends_in_its_own_glyph(make_curve: Make[Curve]) -> None:
    curves = [make_curve([1.0, 1e-2]), make_curve([1.0, 1e-4], label="SGD", color_index=1)]
    plot = "\n".join(plot_lines(draw_curves(curves)))

    assert plot.count("●") == plot.count("▲") == 1
    assert plot.index("●") < plot.index("▲")


def test_zeros_stand_on_the_floor_and_infinities_under_the_ceiling(make_curve: Make[Curve]) -> None:
    text = draw_curves([make_curve([1.0, 0.0, 0.0, 1.0, math.inf, math.nan])])
    plot = plot_lines(text)

    assert "▼" in plot[-1]
    assert "✕" in plot[0]
    assert "▼ exact 0   ✕ not finite" in text


def test_colour_is_written_only_when_asked_for(make_curve: Make[Curve]) -> None:
    curves = [make_curve([1.0, 0.1]), make_curve([1.0, 0.5], label="SGD", color_index=1)]
    colored = draw_curves(curves, color=True)

    assert "\x1b" not in draw_curves(curves)
    assert "\x1b[34m" in colored
    assert "\x1b[31m" in colored
    assert re.sub(r"\x1b\[\d+m", "", colored) == draw_curves(curves)


def test_linear_scale_is_labelled_with_plain_numbers(make_curve: Make[Curve]) -> None:
    text = draw_curves([make_curve([4.0, 2.0, 0.0])], scale="linear", height=9)
    labels = {row: line[:9].strip() for row, line in enumerate(plot_lines(text)) if "┤" in line}

    assert labels == {0: "4", 4: "2", 8: "0"}
    assert "linear scale" in text


def test_loss_stands_in_for_a_missing_excess_loss(make_curve: Make[Curve]) -> None:
    assert draw_curves([make_curve([1.0])]).startswith("excess loss")
    assert draw_curves([make_curve([1.0], with_excess=False)]).startswith("loss")


@pytest.mark.parametrize("scale", ["log", "linear"])
@pytest.mark.parametrize(
    "values",
    [
        [],
        [0.5],
        [0.0],
        [7.0] * 20,
        [math.nan, math.inf],
        [-1.0, -2.0],
        [5e-324, 1.0, 1.7e308],
        [-1.7e308, 1.7e308],
    ],
)
def test_every_history_gives_a_plot(
    make_curve: Make[Curve], values: list[float], scale: Scale
) -> None:
    text = draw_curves([make_curve(values)], scale=scale, height=3, width=30)

    assert len(plot_lines(text)) == 3
    assert "Adam" in text


def test_no_curve_gives_an_empty_frame() -> None:
    assert dots_in(draw_curves([])) == set()


def test_spark_is_one_glyph_a_value_by_the_logarithm() -> None:
    assert spark([10.0**-k for k in range(8)]) == "█▇▆▅▄▃▂▁"


def test_spark_names_what_has_no_height() -> None:
    assert spark([1.0, 1e-8, 0.0, math.nan, math.inf]) == "█▁_xx"


def test_spark_of_little_is_little() -> None:
    assert spark([]) == ""
    assert spark([0.3]) == "▁"
    assert spark([0.3, 0.3]) == "▁▁"


@given(st.lists(st.floats(), max_size=50))
def test_spark_keeps_the_order_of_any_values(values: list[float]) -> None:
    glyphs = spark(values)
    heights = {v: "▁▂▃▄▅▆▇█".index(g) for v, g in zip(values, glyphs, strict=True) if g not in "_x"}

    assert len(glyphs) == len(values)
    assert all(heights[a] <= heights[b] for a, b in pairwise(sorted(heights)))
