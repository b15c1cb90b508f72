"""Histories are joined whole and thinned without hiding an extreme."""

import math
from array import array

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.history import Rows, concatenate, make_empty, stride_for, thin

LOSSES = st.lists(
    st.floats(0, 1e12) | st.sampled_from([math.inf, math.nan]), min_size=1, max_size=300
)


def rows_of(losses: list[float], *, with_batch: bool = False) -> Rows:
    column = array("d", losses)
    return Rows(
        step=array("q", range(len(losses))),
        loss=column,
        a=column,
        b=column,
        excess_loss=column,
        batch_loss=column if with_batch else None,
    )


@given(LOSSES, st.integers(4, 60))
def test_thinned_history_keeps_ends_and_extremes(losses: list[float], points: int) -> None:
    rows = rows_of(losses)
    kept = thin(rows, points)

    assert len(kept) == len(rows) if len(rows) <= points else len(kept) <= points
    assert kept.step[0] == 0
    assert kept.step[-1] == len(losses) - 1
    assert list(kept.step) == sorted(set(kept.step))
    finite = [loss for loss in losses if math.isfinite(loss)]
    if finite:
        assert min(finite) in kept.loss
    if finite and len(finite) == len(losses):
        assert max(finite) in kept.loss
    if len(finite) < len(losses):
        assert not all(map(math.isfinite, kept.loss))


@given(LOSSES, st.integers(4, 60))
def test_thinned_rows_stay_whole(losses: list[float], points: int) -> None:
    kept = thin(rows_of(losses, with_batch=True), points)

    for name, column in kept.columns().items():
        if name != "step":
            assert [repr(value) for value in column] == [repr(losses[k]) for k in kept.step]


def test_short_history_is_left_alone() -> None:
    rows = rows_of([3.0, 2.0, 1.0])

    assert thin(rows, 4) is rows


def test_spike_and_dip_survive_thinning() -> None:
    losses = [1.0] * 10_000
    losses[1234], losses[7777] = 1e9, 1e-9
    kept = thin(rows_of(losses), 50)

    assert {1234, 7777} <= set(kept.step)
    assert len(kept) <= 50


def test_blocks_join_in_order() -> None:
    whole = rows_of([5.0, 4.0, 3.0, 2.0], with_batch=True)
    joined = concatenate([whole.select([0, 1]), whole.select([2, 3])])

    assert joined == whole


def test_no_blocks_join_to_no_rows() -> None:
    assert concatenate([]) == make_empty()
    assert len(make_empty()) == 0


def test_columns_are_those_that_exist() -> None:
    assert list(make_empty().columns()) == ["step", "loss", "excess_loss", "a", "b"]
    assert list(make_empty(with_excess=False).columns()) == ["step", "loss", "a", "b"]
    assert list(make_empty(with_batch=True).columns())[-1] == "batch_loss"


@pytest.mark.parametrize(
    ("record_every", "steps", "stride"),
    [
        ("auto", 1, 1),
        ("auto", 10_000, 1),
        ("auto", 10_001, 2),
        ("auto", 10_000_000, 1000),
        (7, 10_000_000, 7),
    ],
)
def test_stride_is_even(record_every: int | str, steps: int, stride: int) -> None:
    assert stride_for(record_every, steps=steps) == stride
