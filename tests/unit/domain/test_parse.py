"""Bodies as people type them become the spec that they meant."""

from typing import Any

import pytest

from app.domain.data import Columns, JobData, Preset
from app.domain.errors import InvalidSpec
from app.domain.parse import ParsedSpec, count_points, parse_spec
from app.domain.spec import ComparisonSpec, FitSpec


def fit_of(body: object, **given: Any) -> FitSpec:
    spec = parse_spec(body, **given).spec
    assert isinstance(spec, FitSpec)
    return spec


def codes_of(parsed: ParsedSpec) -> list[str]:
    return [warning.code for warning in parsed.warnings]


def test_empty_body_is_the_classic_fit() -> None:
    parsed = parse_spec({})

    assert parsed.spec == FitSpec()
    assert parsed.warnings == ()
    assert set(parsed.defaulted) == set(FitSpec.model_fields) - {"kind"}


def test_list_is_the_data() -> None:
    assert isinstance(fit_of([[0, 1], [1, 3]]).data, Columns)


def test_body_is_left_as_it_was() -> None:
    body = {"lr": 0.1, "optimizer": "sgd", "kind": "fit"}
    parse_spec(body)

    assert body == {"lr": 0.1, "optimizer": "sgd", "kind": "fit"}


@pytest.mark.parametrize(
    "body",
    [
        {"optimizer": {"name": "SGD", "lr": 0.1}},
        {"optimizer": "sgd", "lr": 0.1},
        {"optimizer": {"name": "sgd"}, "learning_rate": 0.1},
    ],
    ids=str,
)
def test_learning_rate_may_stand_at_the_top(body: dict[str, Any]) -> None:
    optimizer = fit_of(body).optimizer

    assert (optimizer.name, optimizer.lr) == ("SGD", 0.1)


def test_learning_rate_alone_is_for_the_default_optimizer() -> None:
    assert fit_of({"lr": 0.1}).optimizer.name == "Adam"
    assert fit_of({"optimizer": {"lr": 0.1}}).optimizer.name == "Adam"


def test_defaulted_names_what_the_body_left_out() -> None:
    defaulted = parse_spec({"steps": 5, "lr": 0.1}).defaulted

    assert "steps" not in defaulted
    assert "optimizer" not in defaulted
    assert defaulted[0] == "data"


def test_path_and_body_agree_on_the_kind() -> None:
    assert parse_spec({}, kind="comparison").spec.kind == "comparison"
    assert parse_spec({"kind": "comparison"}, kind="comparison").spec.kind == "comparison"
    with pytest.raises(InvalidSpec, match="This path runs"):
        parse_spec({"kind": "comparison"}, kind="fit")


def test_preset_of_a_comparison_names_the_kind() -> None:
    spec = parse_spec({"preset": "weak-optimizers"}).spec
    assert isinstance(spec, ComparisonSpec)

    assert (spec.preset, spec.steps, spec.zero_grad) == ("weak-optimizers", 500, False)
    assert spec.data == Preset(preset="classic", points=1)


def test_body_wins_over_its_preset() -> None:
    assert parse_spec({"preset": "weak-optimizers", "steps": 7}).spec.steps == 7


def test_preset_is_no_field_of_a_fit() -> None:
    with pytest.raises(InvalidSpec, match='no field "preset"'):
        parse_spec({"preset": "weak-optimizers"}, kind="fit")


def test_refusal_counts_the_other_flaws() -> None:
    with pytest.raises(InvalidSpec, match=r"at /steps \(and 1 more\)"):
        parse_spec({"steps": 0, "tolerance": 2})


@pytest.mark.parametrize(
    ("data", "points"),
    [
        ([[1, 2]], 1),
        ("classic", 1000),
        ("outliers", 100),
        ({"preset": "classic", "points": 10}, 10),
        ({"preset": "outliers", "points": 100}, 100),
        ({"generate": {"n": 7}}, 7),
        ({"job": "job_1"}, None),
    ],
    ids=str,
)
def test_points_are_counted_before_they_are_drawn(data: object, points: int | None) -> None:
    assert count_points(parse_spec({"data": data}).spec) == points


def test_more_points_than_a_preset_has_are_refused() -> None:
    with pytest.raises(InvalidSpec, match=r'Preset "outliers" has 100 points: .* at /data/points'):
        parse_spec({"data": {"preset": "outliers", "points": 101}})


def test_job_data_is_a_reference() -> None:
    assert fit_of({"data": {"job": "job_1"}}).data == JobData(job="job_1")


def test_full_batch_and_unzeroed_gradient_are_remarked_on() -> None:
    assert codes_of(parse_spec({"batch_size": 1000})) == ["batch-is-everything"]
    assert codes_of(parse_spec({"batch_size": 999})) == []
    assert codes_of(parse_spec({"batch_size": 5, "data": {"job": "x"}})) == []
    assert codes_of(parse_spec({"zero_grad": False})) == ["gradient-never-zeroed"]
