"""The bowl and the spacing of numbers, against the machine's own."""

import math
import struct

import pytest

from app.domain.diagnosis.bowl import Bowl, spacing_below


def float32_below(value: float) -> float:
    """The next float32 towards zero, by its bits."""
    (bits,) = struct.unpack("<i", struct.pack("<f", value))
    (below,) = struct.unpack("<f", struct.pack("<i", bits - 1))
    return float(below)


@pytest.mark.parametrize("value", [1.0, 1.5, 2.0, 0.3, 1e-3, 1e30, 1e-40, 1e-45])
def test_spacing_is_the_distance_to_the_next_number_towards_zero(value: float) -> None:
    (single,) = struct.unpack("<f", struct.pack("<f", value))

    assert spacing_below(value, "float64") == value - math.nextafter(value, 0.0)
    assert spacing_below(-value, "float64") == spacing_below(value, "float64")
    assert spacing_below(single, "float32") == single - float32_below(single)


def test_spacing_at_zero_is_the_smallest_number() -> None:
    assert spacing_below(0.0, "float64") == 5e-324
    assert spacing_below(0.0, "float32") == 2.0**-149


def test_parts_along_the_axes_have_the_excess_of_the_error() -> None:
    # x = 1, 2, 4: H = 2 [[7, 7/3], [7/3, 1]]
    steep, flat = 8 + math.hypot(6.0, 14 / 3), 8 - math.hypot(6.0, 14 / 3)
    bowl = Bowl(
        minimum=(1.0, 0.0),
        loss=0.0,
        mean_x=7 / 3,
        variance_x=7 - 49 / 9,
        curvatures=(steep, flat),
        mean_square_y=7.0,
    )
    error = (0.3, -1.2)
    by_points = sum((error[0] * x + error[1]) ** 2 for x in (1, 2, 4)) / 3

    assert bowl.excess(error) == pytest.approx(by_points)
    assert bowl.excess_on_axes(bowl.to_axes(error)) == pytest.approx(by_points)
    assert bowl.from_axes(bowl.to_axes(error)) == pytest.approx(error)
    gradient, parts = bowl.gradient(error), bowl.to_axes(error)
    assert bowl.to_axes(gradient) == pytest.approx((steep * parts[0], flat * parts[1]))
