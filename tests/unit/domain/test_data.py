"""Points in every form that a spec can give them."""

import math
import sys
from array import array
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from app.domain.data import (
    LARGEST,
    MAX_POINTS,
    Columns,
    Generated,
    Generator,
    columns_from_bytes,
    store_columns,
)
from app.domain.parse import parse_spec

NUMBER = st.floats(-LARGEST, LARGEST) | st.integers(-(10**20), 10**20)


def columns_of(data: Any) -> Columns:
    found = parse_spec({"data": data}).spec.data
    assert isinstance(found, Columns)
    return found


@given(st.lists(st.tuples(NUMBER, NUMBER), min_size=1, max_size=50))
def test_pairs_and_columns_are_the_same_points(pairs: list[tuple[float, float]]) -> None:
    from_pairs = columns_of([list(pair) for pair in pairs])
    from_columns = columns_of({"x": [x for x, _ in pairs], "y": [y for _, y in pairs]})

    assert from_pairs == from_columns
    assert list(from_pairs.x) == [float(x) for x, _ in pairs]


@given(st.lists(st.tuples(NUMBER, NUMBER), min_size=1, max_size=50))
def test_stored_points_come_back_to_the_bit(pairs: list[tuple[float, float]]) -> None:
    columns = columns_of([list(pair) for pair in pairs])
    stored, raw = store_columns(columns)

    assert columns_from_bytes(raw) == columns
    assert (stored.num_points, len(raw)) == (len(pairs), 16 * len(pairs))
    assert store_columns(columns)[0] == stored


def test_stored_points_are_the_same_bytes_on_every_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    columns = columns_of([[1, 2]])
    little = columns.to_bytes()
    monkeypatch.setattr(sys, "byteorder", "big" if sys.byteorder == "little" else "little")

    assert columns.to_bytes() == little[7::-1] + little[:7:-1]
    assert columns_from_bytes(columns.to_bytes()) == columns


def test_hash_tells_points_apart() -> None:
    one, two = columns_of([[0, 1], [1, 2]]), columns_of([[0, 1], [1, 3]])

    assert store_columns(one)[0].sha256 != store_columns(two)[0].sha256


def test_most_points_are_a_million() -> None:
    column = array("d", [0.0]) * (MAX_POINTS + 1)

    assert len(Columns(x=column[1:], y=column[1:]).x) == MAX_POINTS
    with pytest.raises(ValidationError, match=r"1,000,000"):
        Columns(x=column, y=column)


def test_reach_is_the_largest_size() -> None:
    assert columns_of([[1, -5], [2, 3]]).reach() == 5
    assert Generator(a=-2, b=3, noise=0.5, x=(-4, 1)).reach() == 16
    assert Generator(a=0, b=0, noise=0).reach() == 10


@pytest.mark.parametrize(
    "refused",
    [
        {"n": 0},
        {"n": MAX_POINTS + 1},
        {"noise": -1},
        {"a": math.nan},
        {"x": "uniform"},
        {"x": (1, 2, 3)},
        {"x": (1,)},
        {"x": (0, math.inf)},
        {"seed": -1},
        {"a": 1e150},
    ],
    ids=str,
)
def test_generator_refuses_what_cannot_be_drawn(refused: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Generator(**refused)


def test_interval_of_one_value_is_allowed() -> None:
    spec = parse_spec({"data": {"generate": {"x": [3, 3]}}}).spec

    assert isinstance(spec.data, Generated)
    assert spec.data.generate.x == (3.0, 3.0)
