"""Histories as columns, CSV and NDJSON."""

import csv
import io
import math
from array import array

import orjson
import pytest

from app.api.columns import best_point, pairs_to_csv, shorten, to_columns, to_csv, to_ndjson
from app.domain.history import Rows, make_empty

INF, NAN = math.inf, math.nan


def make_rows(*losses: float, first: int = 0, batches: list[float] | None = None) -> Rows:
    column = array("d", losses)
    return Rows(
        step=array("q", range(first, first + len(losses))),
        loss=column,
        a=array("d", [1.0] * len(losses)),
        b=array("d", [0.0] * len(losses)),
        excess_loss=column,
        batch_loss=None if batches is None else array("d", batches),
    )


def test_columns_stand_in_the_order_of_the_contract() -> None:
    shown = to_columns(make_rows(2.0, 1.0, batches=[NAN, 3.0]))

    assert list(shown) == ["step", "loss", "excess_loss", "a", "b", "batch_loss", "nonfinite"]
    assert shown["step"] == [0, 1]
    assert shown["loss"] == [2.0, 1.0]


def test_number_that_is_not_finite_is_null_and_named() -> None:
    shown = to_columns(make_rows(1.0, INF, -INF, NAN, first=5))

    assert shown["loss"] == [1.0, None, None, None]
    assert shown["a"] == [1.0] * 4
    nonfinite = shown["nonfinite"]
    assert isinstance(nonfinite, list)
    assert [entry for entry in nonfinite if entry["column"] == "loss"] == [
        {"row": 1, "step": 6, "column": "loss", "value": "inf"},
        {"row": 2, "step": 7, "column": "loss", "value": "-inf"},
        {"row": 3, "step": 8, "column": "loss", "value": "nan"},
    ]
    assert {entry["column"] for entry in nonfinite} == {"loss", "excess_loss"}


def test_start_has_no_batch_loss_and_that_is_no_accident() -> None:
    rows = make_rows(2.0, 1.0, batches=[NAN, 3.0])

    assert to_columns(rows)["batch_loss"] == [None, 3.0]
    assert to_columns(rows)["nonfinite"] == []
    assert to_csv(rows).decode().splitlines()[1].endswith(",")
    assert "nonfinite" not in to_ndjson(rows).decode()


def test_batch_loss_that_diverged_is_named() -> None:
    shown = to_columns(make_rows(2.0, 1.0, batches=[NAN, INF]))

    assert shown["nonfinite"] == [{"row": 1, "step": 1, "column": "batch_loss", "value": "inf"}]


def test_sum_that_overflows_hides_no_finite_number() -> None:
    shown = to_columns(make_rows(1e308, 1e308))

    assert shown["loss"] == [1e308, 1e308]
    assert shown["nonfinite"] == []


@pytest.mark.parametrize("losses", [(0.1, 1e-9, 3e300), (0.1, INF, -INF)])
def test_csv_reads_back_bit_for_bit(losses: tuple[float, ...]) -> None:
    lines = list(csv.DictReader(io.StringIO(to_csv(make_rows(*losses)).decode())))

    assert list(lines[0]) == ["step", "loss", "excess_loss", "a", "b"]
    assert [float(line["loss"]) for line in lines] == list(losses)
    assert [int(line["step"]) for line in lines] == [0, 1, 2]


def test_csv_writes_nan_as_a_word() -> None:
    assert to_csv(make_rows(1.0, NAN)).decode().splitlines()[2] == "1,nan,nan,1.0,0.0"


def test_csv_of_nothing_is_a_header() -> None:
    assert to_csv(make_empty()) == b"step,loss,excess_loss,a,b\n"
    assert pairs_to_csv([], []) == b"x,y\n"


def test_ndjson_is_one_object_a_line() -> None:
    lines = to_ndjson(make_rows(0.5, INF)).splitlines()

    assert orjson.loads(lines[0]) == {"step": 0, "loss": 0.5, "excess_loss": 0.5, "a": 1, "b": 0}
    second = orjson.loads(lines[1])
    assert second["loss"] is None
    assert second["nonfinite"] == {"loss": "inf", "excess_loss": "inf"}
    assert to_ndjson(make_empty()) == b""
    assert to_ndjson(make_rows(INF, INF, 1.0)).count(b"\n") == 3


def test_pairs_are_written_as_they_are() -> None:
    assert pairs_to_csv([0.1, 1e150], [2.0, -3.0]) == b"x,y\n0.1,2.0\n1e+150,-3.0\n"


@pytest.mark.parametrize(
    ("points", "steps"),
    [(None, 9), (9, 9), (3, [0, 4, 8]), (2, [0, 8]), (1, [8]), (5, 4)],
)
def test_short_histories_keep_last_first_and_best(
    points: int | None, steps: int | list[int]
) -> None:
    rows = make_rows(9.0, 8.0, 7.0, 6.0, 1.0, 5.0, 6.0, 7.0, 8.0)

    kept = list(shorten(rows, points).step)

    if isinstance(steps, list):
        assert kept == steps
    else:
        assert len(kept) == steps
        assert {0, 4, 8} <= set(kept)


def test_history_without_a_finite_loss_is_cut_to_its_ends() -> None:
    rows = make_rows(NAN, NAN, NAN, INF, NAN)

    assert list(shorten(rows, 3).step) == [0, 4]
    assert best_point(rows) is None


def test_best_point_is_the_lowest_finite_row() -> None:
    rows = make_rows(NAN, 3.0, 2.0, INF)
    without_excess = Rows(step=rows.step, loss=rows.loss, a=rows.a, b=array("d", [INF] * 4))

    assert best_point(make_empty()) is None
    point = best_point(rows)
    assert point is not None
    assert (point.step, point.loss, point.excess_loss, point.a) == (2, 2.0, 2.0, 1.0)
    point = best_point(without_excess)
    assert point is not None
    assert (point.excess_loss, point.b) == (None, None)
