"""A batch's series: every form that a client may write is the same columns."""

from array import array
from typing import Any

import pytest
from pydantic import TypeAdapter

from app.domain.batch import BatchSpec, fit_of_series
from app.domain.data import Columns, Generated
from app.domain.errors import InvalidSpec
from app.domain.kinds import Spec
from app.domain.parse import count_points, parse_spec
from app.domain.series import (
    HEADER_BYTES,
    SeriesColumns,
    StoredSeries,
    layout_of,
    series_from_bytes,
    store_series,
)


def batch_of(body: object) -> BatchSpec:
    spec = parse_spec(body, kind="batch").spec
    assert isinstance(spec, BatchSpec)
    return spec


def series_of(data: object) -> SeriesColumns:
    series = batch_of({"data": data}).data
    assert isinstance(series, SeriesColumns)
    return series


TWO = [{"name": "a", "x": [1, 2], "y": [3, 4]}, {"name": "b", "x": [5], "y": [6]}]


@pytest.mark.parametrize(
    "data",
    [
        TWO,
        {"series": ["a", "a", "b"], "x": [1, 2, 5], "y": [3, 4, 6]},
        {"series": ["a", "b", "a"], "x": [1, 5, 2], "y": [3, 6, 4]},
    ],
    ids=["list", "columns", "columns-apart"],
)
def test_named_forms_are_the_same_series(data: Any) -> None:
    series = series_of(data)

    assert (list(series.lengths), series.names) == ([2, 1], ("a", "b"))
    assert (list(series.x), list(series.y)) == ([1, 2, 5], [3, 4, 6])
    assert series.model_dump() == TWO


def test_pairs_are_series_without_names() -> None:
    series = series_of([[[1, 3], [2, 4]], [[5, 6]]])

    assert series.names is None
    assert series.model_dump() == [{"x": [1, 2], "y": [3, 4]}, {"x": [5], "y": [6]}]


def test_list_is_the_data_of_a_batch() -> None:
    assert batch_of([[[1, 3]]]).num_runs == 1


def test_numbers_name_series_too() -> None:
    assert series_of({"series": [7, 7, 8.5], "x": [1, 2, 3], "y": [1, 2, 3]}).names == ("7", "8.5")


def test_one_series_can_be_taken_out() -> None:
    series = series_of(TWO)

    assert list(series.each()) == [series.one(0), series.one(1)]
    assert series.one(1) == Columns(x=array("d", [5]), y=array("d", [6]))


@pytest.mark.parametrize("data", [TWO, [[[1, 3], [2, 4]], [[5, 6]]]], ids=["names", "none"])
def test_bytes_hold_everything(data: Any) -> None:
    series = series_of(data)
    raw = series.to_bytes()
    layout = layout_of(raw[:HEADER_BYTES])

    assert series_from_bytes(raw) == series
    # y of the last point stands at the end of its column.
    assert array("d", raw[layout.y + 16 : layout.names])[0] == 6
    assert store_series(series)[0] == StoredSeries(
        num_series=2, num_points=3, sha256=store_series(series)[0].sha256
    )


def test_spec_survives_json() -> None:
    adapter: TypeAdapter[Any] = TypeAdapter(Spec)
    for data in (TWO, {"generate": {"series": 5}}, {"job": "x"}):
        spec = batch_of({"data": data, "lr": 0.1})

        assert adapter.validate_json(spec.model_dump_json()) == spec


def test_empty_batch_draws_a_hundred_series() -> None:
    spec = batch_of({})

    assert (spec.num_runs, count_points(spec)) == (100, 10_000)


def test_drawn_series_has_the_seed_of_its_number() -> None:
    spec = batch_of({"seed": 3, "data": {"generate": {"series": 5, "n": 7}}})
    data = fit_of_series(spec, 4, None).data

    assert isinstance(data, Generated)
    assert (data.generate.seed, data.generate.n) == (7, 7)


def test_fit_of_a_series_has_its_points_and_the_batch_s_settings() -> None:
    spec = batch_of({"data": TWO, "optimizer": "sgd", "lr": 0.5, "steps": 9})
    fit = fit_of_series(spec, 1, None)

    assert fit.data == series_of(TWO).one(1)
    assert (fit.kind, fit.optimizer.name, fit.optimizer.lr, fit.steps) == ("fit", "SGD", 0.5, 9)
    assert parse_spec(fit.model_dump(mode="json")).spec == fit


def test_series_must_have_names_of_their_own() -> None:
    for names, code in ((("a", "a"), "repeated-name"), (("a", None), "missing")):
        data = [{"x": [1], "y": [1], **({"name": name} if name else {})} for name in names]
        with pytest.raises(InvalidSpec) as refused:
            batch_of({"data": data})

        assert [(flaw.pointer, flaw.code) for flaw in refused.value.flaws] == [
            ("/data/1/name", code)
        ]
