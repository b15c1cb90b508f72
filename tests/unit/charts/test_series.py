"""Which points a picture shows, and what each of them is to its axis."""

import math
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.charts.series import (
    Curve,
    Nature,
    decades,
    format_value,
    major_exponents,
    make_picture,
    nature_of,
    nice_stride,
    power,
)
from app.domain.history import make_empty
from tests.unit.charts.make import Make


def test_excess_loss_is_drawn_when_every_curve_has_it(make_curve: Make[Curve]) -> None:
    picture = make_picture([make_curve([3.0, 1.0])], y="excess", scale="log", points=100)

    assert picture.quantity == "excess"
    assert picture.series[0].values == (3.0, 1.0)


def test_one_curve_without_excess_loss_turns_the_whole_picture_to_loss(
    make_curve: Make[Curve],
) -> None:
    curves = [make_curve([3.0]), make_curve([5.0], with_excess=False, label="SGD")]
    picture = make_picture(curves, y="excess", scale="log", points=100)

    assert picture.quantity == "loss"
    assert [series.values for series in picture.series] == [(4.0,), (5.0,)]


def test_loss_can_be_asked_for(make_curve: Make[Curve]) -> None:
    picture = make_picture([make_curve([3.0])], y="loss", scale="log", points=100)

    assert (picture.quantity, picture.series[0].values) == ("loss", (4.0,))


@pytest.mark.parametrize(
    ("value", "on_log", "on_linear"),
    [
        (1.0, Nature.DRAWN, Nature.DRAWN),
        (5e-324, Nature.DRAWN, Nature.DRAWN),
        (0.0, Nature.ZERO, Nature.DRAWN),
        (-1.0, Nature.ZERO, Nature.DRAWN),
        (math.inf, Nature.NONFINITE, Nature.NONFINITE),
        (-math.inf, Nature.NONFINITE, Nature.NONFINITE),
        (math.nan, Nature.NONFINITE, Nature.NONFINITE),
    ],
)
def test_only_a_log_axis_has_no_place_for_zero(
    value: float, on_log: Nature, on_linear: Nature
) -> None:
    assert nature_of(value, scale="log") is on_log
    assert nature_of(value, scale="linear") is on_linear


def test_stretches_name_each_run_of_one_nature(make_curve: Make[Curve]) -> None:
    curve = make_curve([1.0, 0.0, 0.0, 2.0, math.nan, math.inf])
    series = make_picture([curve], y="excess", scale="log", points=100).series[0]

    assert series.stretches() == (
        (Nature.DRAWN, 0, 0),
        (Nature.ZERO, 1, 2),
        (Nature.DRAWN, 3, 3),
        (Nature.NONFINITE, 4, 5),
    )


def test_thinning_keeps_ends_spike_and_best(make_curve: Make[Curve]) -> None:
    values = [1.0 + 0.001 * (i % 7) for i in range(5_000)]
    values[1234], values[3210] = 900.0, 1e-9
    picture = make_picture([make_curve(values)], y="excess", scale="log", points=200)
    series = picture.series[0]

    assert len(series.steps) <= 200
    assert {0, 1234, 3210, 4999} <= set(series.steps)
    assert series.num_steps == 4999


def test_log_abscissa_keeps_every_early_row(make_curve: Make[Curve]) -> None:
    curve = make_curve([1.0 / (i + 1) for i in range(5_000)])
    picture = make_picture([curve], y="excess", scale="log", points=200, x="log")
    steps = picture.series[0].steps

    assert steps[:100] == tuple(range(100))
    assert len(steps) <= 200
    assert steps[-1] == 4999


def test_equal_labels_are_told_apart(make_curve: Make[Curve]) -> None:
    curves = [make_curve([1.0]), make_curve([2.0]), make_curve([3.0], label="SGD")]
    picture = make_picture(curves, y="excess", scale="log", points=100)

    assert [series.label for series in picture.series] == ["Adam", "Adam (2)", "SGD"]


def test_a_curve_without_rows_is_no_error(make_curve: Make[Curve]) -> None:
    curve = make_curve([])
    picture = make_picture([curve], y="excess", scale="log", points=100)

    assert len(curve.rows) == len(make_empty())
    assert picture.last_step == 0
    assert list(picture.drawn()) == []


@given(st.floats(min_value=5e-324, allow_infinity=False), st.floats(0, 300))
def test_decades_enclose_the_values_to_a_hair(low: float, distance: float) -> None:
    high = min(low * 10**distance, 1.7e308)
    bottom, top = decades(low, high)

    assert bottom <= math.log10(low) + 1e-3
    assert top >= math.log10(high) - 1e-3
    assert top > bottom


@given(st.integers(-324, 300), st.integers(1, 632), st.integers(2, 12))
def test_major_exponents_are_few_even_and_inside(bottom: int, span: int, most: int) -> None:
    majors = list(major_exponents(bottom, bottom + span, most=most))

    assert len(majors) <= most
    assert all(bottom <= exponent <= bottom + span for exponent in majors)
    assert len({b - a for a, b in pairwise(majors)}) <= 1


@given(st.integers(1, 10_000_000))
def test_nice_stride_is_round_and_makes_few_parts(last: int) -> None:
    stride = nice_stride(last, parts=6)

    assert last / stride <= 6
    assert str(stride).rstrip("0") in {"1", "2", "5"}


def test_powers_stay_positive_and_finite_at_both_ends_of_float64() -> None:
    assert power(-8) == 1e-8
    assert power(-324) == 5e-324
    assert power(309) == 1.7976931348623157e308


def test_values_are_written_short_and_zero_is_named() -> None:
    assert format_value(9.9812e-9) == "9.98e-09"
    assert format_value(0.0) == "exact 0"
    assert format_value(-1e-20) == "-1e-20"
    assert format_value(math.nan) == "not finite"
