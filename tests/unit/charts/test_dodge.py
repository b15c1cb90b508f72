"""Labels move apart, in order and no further than they must."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from app.charts.dodge import dodge


@given(
    st.lists(st.floats(0, 380), max_size=40),
    st.floats(1, 20),
)
def test_dodge_keeps_order_and_distance(wanted: list[float], gap: float) -> None:
    places = dodge(wanted, gap=gap, length=380.0)
    order = sorted(range(len(wanted)), key=lambda i: wanted[i])
    moved = [places[i] for i in order]

    assert all(b - a >= gap - 1e-6 for a, b in pairwise(moved))
    assert all(place >= -1e-9 for place in places)
    if gap * (len(wanted) - 1) <= 380:
        assert all(place <= 380 + 1e-6 for place in places)


def test_dodge_leaves_what_does_not_collide() -> None:
    assert dodge([300.0, 10.0, 100.0], gap=16, length=380) == [300.0, 10.0, 100.0]


def test_dodge_spreads_a_cluster_around_its_middle() -> None:
    assert dodge([100.0, 100.0, 100.0], gap=10, length=380) == [90.0, 100.0, 110.0]
