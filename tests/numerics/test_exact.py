"""Exact least squares against published values and against exact rational arithmetic."""

import math
from fractions import Fraction

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from worker.engine.exact import Bowl, describe, solve

# NIST Statistical Reference Datasets, linear regression, "Norris" (lower difficulty):
# y and x, then the certified values.
NORRIS_Y = [
    *(0.1, 338.8, 118.1, 888.0, 9.2, 228.1, 668.5, 998.5, 449.1, 778.9, 559.2, 0.3, 0.1, 778.1),
    *(668.8, 339.3, 448.9, 10.8, 557.7, 228.3, 998.0, 888.8, 119.6, 0.3, 0.6, 557.6, 339.3, 888.0),
    *(998.5, 778.9, 10.2, 117.6, 228.9, 668.4, 449.2, 0.2),
]
NORRIS_X = [
    *(0.2, 337.4, 118.2, 884.6, 10.1, 226.5, 666.3, 996.3, 448.6, 777.0, 558.2, 0.4, 0.6, 775.5),
    *(666.9, 338.0, 447.5, 11.6, 556.0, 228.1, 995.8, 887.6, 120.2, 0.3, 0.3, 556.8, 339.1, 887.2),
    *(999.0, 779.0, 11.1, 118.3, 229.2, 669.1, 448.9, 0.5),
]
ANSCOMBE_X = [10.0, 8.0, 13.0, 9.0, 11.0, 14.0, 6.0, 4.0, 12.0, 7.0, 5.0]
# F. J. Anscombe, "Graphs in Statistical Analysis", 1973.
ANSCOMBE = {
    "I": (ANSCOMBE_X, [8.04, 6.95, 7.58, 8.81, 8.33, 9.96, 7.24, 4.26, 10.84, 4.82, 5.68]),
    "II": (ANSCOMBE_X, [9.14, 8.14, 8.74, 8.77, 9.26, 8.10, 6.13, 3.10, 9.13, 7.26, 4.74]),
    "III": (ANSCOMBE_X, [7.46, 6.77, 12.74, 7.11, 7.81, 8.84, 6.08, 5.39, 8.15, 6.42, 5.73]),
    "IV": (
        [8.0] * 7 + [19.0] + [8.0] * 3,
        [6.58, 5.76, 7.71, 8.84, 8.47, 7.04, 5.25, 12.50, 5.56, 7.91, 6.89],
    ),
}


def bowl_of(x: list[float], y: list[float]) -> Bowl:
    return solve(torch.tensor(x, dtype=torch.float64), torch.tensor(y, dtype=torch.float64))


def by_fractions(x: list[float], y: list[float]) -> tuple[Fraction, Fraction, Fraction]:
    """Return slope, intercept and mean squared error without any rounding."""
    xs, ys, n = [Fraction(v) for v in x], [Fraction(v) for v in y], len(x)
    mean_x, mean_y = sum(xs) / n, sum(ys) / n
    sxx = sum((v - mean_x) ** 2 for v in xs)
    sxy = sum((v - mean_x) * (w - mean_y) for v, w in zip(xs, ys, strict=True))
    a = sxy / sxx
    b = mean_y - a * mean_x
    loss = sum((w - a * v - b) ** 2 for v, w in zip(xs, ys, strict=True)) / n
    return a, Fraction(b), Fraction(loss)


def digits(value: float, reference: Fraction | float) -> float:
    """Return how many leading digits agree; 17 when all do."""
    wanted = Fraction(reference)
    if Fraction(value) == wanted:
        return 17.0
    return -math.log10(abs((Fraction(value) - wanted) / wanted)) if wanted else 0.0


def test_norris_agrees_with_the_certified_values() -> None:
    exact = bowl_of(NORRIS_X, NORRIS_Y).exact

    assert digits(exact.b, -0.262323073774029) >= 13
    assert digits(exact.a, 1.00211681802045) >= 13
    assert exact.standard_errors is not None
    assert digits(exact.standard_errors.b, 0.232818234301152) >= 13
    assert digits(exact.standard_errors.a, 0.429796848199937e-03) >= 13
    assert exact.r2 is not None
    assert digits(exact.r2, 0.999993745883712) >= 13
    residual_deviation = math.sqrt(exact.loss * 36 / 34)
    assert digits(residual_deviation, 0.884796396144373) >= 13


@pytest.mark.parametrize("name", ANSCOMBE)
def test_anscombe_agrees_with_rational_arithmetic(name: str) -> None:
    x, y = ANSCOMBE[name]
    exact = bowl_of(x, y).exact
    a, b, loss = by_fractions(x, y)

    assert (exact.a, exact.b) == (float(a), float(b))
    assert digits(exact.loss, loss) >= 14
    assert exact.a == pytest.approx(0.5, abs=1e-3)
    assert exact.b == pytest.approx(3.0, abs=3e-3)


def test_x_far_from_zero_keeps_its_digits() -> None:
    generator = torch.Generator().manual_seed(0)
    x = 1e6 + torch.randn(1000, dtype=torch.float64, generator=generator)
    y = 2 * x + 1 + 0.1 * torch.randn(1000, dtype=torch.float64, generator=generator)
    bowl = solve(x, y)
    a, b, loss = by_fractions(x.tolist(), y.tolist())

    assert digits(bowl.exact.a, a) >= 15
    assert digits(bowl.exact.b, b) >= 15
    assert digits(bowl.exact.loss, loss) >= 13
    larger, smaller = bowl.problem.hessian_eigenvalues
    assert larger * smaller == pytest.approx(4 * bowl.problem.variance_x, rel=1e-12)
    assert bowl.problem.condition_number == pytest.approx(1e24, rel=0.2)


def test_neighbouring_floats_still_have_a_line() -> None:
    x = [1e6, math.nextafter(1e6, 2e6), math.nextafter(math.nextafter(1e6, 2e6), 2e6)]
    exact = bowl_of(x, [0.0, 1.0, 2.0]).exact

    assert exact.unique
    assert digits(exact.a, by_fractions(x, [0.0, 1.0, 2.0])[0]) >= 15


@pytest.mark.parametrize("x_scale", [1e-150, 1e-20, 1.0, 1e20, 1e150])
@pytest.mark.parametrize("y_scale", [1e-150, 1.0, 1e150])
def test_wide_scales_neither_overflow_nor_lose_digits(x_scale: float, y_scale: float) -> None:
    x = [x_scale * v for v in (-1.0, -0.5, 0.25, 0.7, 1.0)]
    y = [y_scale * v for v in (0.3, -0.2, 0.9, 0.1, 1.0)]
    bowl = bowl_of(x, y)
    a, b, loss = by_fractions(x, y)

    assert digits(bowl.exact.a, a) >= 14
    assert digits(bowl.exact.b, b) >= 14
    assert bowl.exact.loss == pytest.approx(float(loss), rel=1e-12, abs=1e-300)
    assert bowl.exact.r2 == pytest.approx(bowl_of([v / x_scale for v in x], y).exact.r2)


def test_slope_beyond_the_floats_counts_as_constant_x() -> None:
    exact = bowl_of([0.0, 5e-324], [0.0, 1e150]).exact

    assert not exact.unique
    assert exact.b == pytest.approx(5e149)


def test_constant_x_gives_the_shortest_line() -> None:
    bowl = bowl_of([2.0, 2.0, 2.0], [1.0, 2.0, 6.0])
    exact = bowl.exact

    assert not exact.unique
    assert exact.standard_errors is None
    assert (exact.a, exact.b) == (pytest.approx(6 / 5), pytest.approx(3 / 5))
    assert exact.loss == pytest.approx(14 / 3)
    assert exact.r2 == 0.0
    assert bowl.problem.hessian_eigenvalues == (10.0, 0.0)
    assert bowl.problem.condition_number is None
    assert bowl.problem.best_sgd_lr == 0.1
    # Any line through (2, 3) is as good.
    assert bowl.excess(0.0, 3.0) == pytest.approx(0.0, abs=1e-30)
    assert bowl.excess(1.0, 2.0) == pytest.approx(1.0)


def test_one_point_has_a_line_through_it() -> None:
    bowl = bowl_of([3.0], [5.0])

    assert not bowl.exact.unique
    assert (bowl.exact.a, bowl.exact.b) == (pytest.approx(1.5), pytest.approx(0.5))
    assert bowl.exact.loss == 0.0
    assert bowl.exact.r2 is None
    assert bowl.r2(1.0, 1.0) is None


def test_two_points_have_no_standard_errors() -> None:
    exact = bowl_of([0.0, 1.0], [1.0, 3.0]).exact

    assert (exact.a, exact.b, exact.loss) == (2.0, 1.0, 0.0)
    assert exact.unique
    assert exact.standard_errors is None


def test_flat_y_has_no_r2() -> None:
    exact = bowl_of([0.0, 1.0, 2.0], [4.0, 4.0, 4.0]).exact

    assert (exact.a, exact.b, exact.r2) == (0.0, 4.0, None)


def test_uncorrelated_y_has_r2_zero() -> None:
    assert bowl_of([-1.0, 0.0, 1.0], [1.0, 0.0, 1.0]).exact.r2 == 0.0


def test_standard_errors_beyond_the_floats_are_left_out() -> None:
    tiny = 1e-200
    exact = bowl_of([0.0, tiny, 2 * tiny], [1e149, -1e149, 1e149]).exact

    assert exact.standard_errors is None


def test_a_million_points_are_summed_without_drift() -> None:
    x = torch.arange(1_000_000, dtype=torch.float64) / 1024
    exact = solve(x, 3.0 * x - 7.0).exact

    assert (exact.a, exact.b, exact.loss, exact.r2) == (3.0, -7.0, 0.0, 1.0)


def test_excess_loss_is_the_loss_above_the_minimum() -> None:
    x, y = ANSCOMBE["I"]
    bowl = bowl_of(x, y)
    a, b = Fraction(0.3), Fraction(4.5)
    loss = sum((Fraction(w) - a * Fraction(v) - b) ** 2 for v, w in zip(x, y, strict=True)) / 11

    assert digits(bowl.excess(0.3, 4.5), loss - by_fractions(x, y)[2]) >= 14
    assert bowl.excess(bowl.exact.a, bowl.exact.b) < 1e-30
    assert bowl.r2(bowl.exact.a, bowl.exact.b) == pytest.approx(bowl.exact.r2)


def test_r2_beyond_the_floats_is_left_out() -> None:
    assert bowl_of([0.0, 1.0], [1.0, 3.0]).r2(1e200, 0.0) is None


def test_a_condition_number_beyond_the_floats_is_left_out() -> None:
    problem = describe(2, mean_x=1e150, mean_y=0.0, deviation=1e130)

    assert problem.condition_number is None
    assert problem.hessian_eigenvalues[1] > 0


def test_eigenvalues_are_those_of_the_hessian() -> None:
    x, y = ANSCOMBE["I"]
    values = torch.tensor(x, dtype=torch.float64)
    mean, square = values.mean(), values.square().mean()
    hessian = 2 * torch.stack([torch.stack([square, mean]), torch.stack([mean, torch.ones(())])])
    smaller, larger = torch.linalg.eigvalsh(hessian.double()).tolist()
    problem = bowl_of(x, y).problem

    assert problem.hessian_eigenvalues == pytest.approx((larger, smaller), rel=1e-12)
    assert problem.largest_stable_sgd_lr == pytest.approx(2 / larger)
    assert problem.best_sgd_lr == pytest.approx(2 / (larger + smaller))


values = st.floats(min_value=-1e6, max_value=1e6, allow_subnormal=False)


@settings(max_examples=80, deadline=None)
@given(st.lists(st.tuples(values, values), min_size=2, max_size=12))
def test_any_points_agree_with_rational_arithmetic(points: list[tuple[float, float]]) -> None:
    x, y = [point[0] for point in points], [point[1] for point in points]
    bowl = bowl_of(x, y)

    assert bowl.exact.unique == (min(x) < max(x))
    if bowl.exact.unique:
        a, b, loss = by_fractions(x, y)
        # What the sums may lose, in units of the slope that these data could have at most.
        steepest = (max(y) - min(y)) / bowl.deviation_x
        assert abs(Fraction(bowl.exact.a) - a) <= Fraction(2**-52) * abs(a) + Fraction(
            1e-25 * steepest
        )
        assert abs(Fraction(bowl.exact.b) - b) <= Fraction(2**-52) * abs(b) + Fraction(
            1e-25 * (steepest * max(map(abs, x)) + max(map(abs, y)))
        )
        assert bowl.exact.loss == pytest.approx(float(loss), rel=1e-9, abs=1e-18 * max(map(abs, y)))
