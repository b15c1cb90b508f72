"""A resolved spec survives JSON to the letter, and a comparison falls apart into fits."""

import json
import math
from typing import Any, get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from app.domain.batch import BatchSpec
from app.domain.catalogue import OPTIMIZERS
from app.domain.data import Columns, Generated, Generator, JobData, Preset, StoredColumns
from app.domain.kinds import Spec
from app.domain.parse import parse_spec
from app.domain.presets import COMPARISON_PRESETS
from app.domain.spec import ComparisonSpec, FitSpec, Start, fits_float32, run_specs
from app.domain.sweep import SweepSpec

SPEC: TypeAdapter[Any] = TypeAdapter(Spec)

NUMBER = st.floats(-1e100, 1e100)
SEED = st.integers(0, 2**63 - 1)
DATA = st.one_of(
    st.sampled_from(["classic", "noisy", "far", "outliers"]),
    st.lists(st.lists(NUMBER, min_size=2, max_size=2), min_size=1, max_size=5),
    st.fixed_dictionaries(
        {"preset": st.just("noisy")}, optional={"points": st.integers(1, 1000), "seed": SEED}
    ),
    st.fixed_dictionaries(
        {
            "generate": st.fixed_dictionaries(
                {},
                optional={
                    "a": st.floats(-1e9, 1e9),
                    "b": NUMBER,
                    "n": st.integers(1, 10**6),
                    "noise": st.floats(0, 1e9),
                    "x": st.just("normal") | st.just([-1.5, 2]),
                    "seed": SEED,
                },
            )
        }
    ),
    st.fixed_dictionaries({"job": st.text("abc", min_size=1, max_size=9)}),
)
OPTIMIZER = st.sampled_from(sorted(OPTIMIZERS)).flatmap(
    lambda name: st.fixed_dictionaries({"name": st.just(name)}, optional={"lr": st.floats(0.1, 9)})
)
SHARED: dict[str, st.SearchStrategy[Any]] = {
    "data": DATA,
    "scheduler": st.sampled_from(
        [
            None,
            {"name": "StepLR", "step_size": 3},
            {"name": "MultiStepLR", "milestones": [1, 5]},
            {"name": "ExponentialLR", "gamma": 1},
            "LinearLR",
        ]
    ),
    # With a row a step, the five contenders of a comparison may have a million rows in all.
    "steps": st.integers(1, 10**6 // 5),
    "zero_grad": st.booleans(),
    "batch_size": st.none() | st.integers(1, 10**6),
    "loss": st.sampled_from(["mse", "l1", "huber", "smooth_l1"]),
    "device": st.sampled_from(["auto", "cpu", "cuda", "cuda:7"]),
    "init": st.just("torch") | st.fixed_dictionaries({"a": st.floats(-9, 9), "b": st.just(1)}),
    "seed": SEED,
    "stop": st.fixed_dictionaries(
        {},
        optional={
            "loss_below": st.none() | st.floats(1e-300, 1),
            "gradient_below": st.floats(1e-300, 1),
            "patience": st.integers(1, 100),
        },
    ),
    "tolerance": st.floats(1e-300, 0.5),
    "record_every": st.just("auto") | st.integers(1, 1000),
    "timeout_seconds": st.integers(1, 86_400) | st.floats(0.001, 86_400),
    "name": st.none() | st.text("aé \n\u2028", max_size=20),
    "tags": st.dictionaries(
        st.text("aZ_.-", min_size=1, max_size=9), st.text("b", max_size=3), max_size=5
    ),
}
FIT = st.fixed_dictionaries({}, optional={**SHARED, "optimizer": OPTIMIZER})
COMPARISON = st.fixed_dictionaries(
    {"kind": st.just("comparison")},
    optional={
        **SHARED,
        "optimizers": st.lists(OPTIMIZER, min_size=1, max_size=4, unique_by=lambda o: o["name"]),
    },
)


@settings(deadline=None)
@given(FIT | COMPARISON)
def test_every_spec_survives_json_to_the_letter(body: dict[str, Any]) -> None:
    spec = parse_spec(body).spec
    text = spec.model_dump_json()

    assert SPEC.validate_json(text) == spec
    assert SPEC.validate_json(text).model_dump_json() == text
    # What an answer shows can be posted again and is the same job.
    assert parse_spec(json.loads(text)).spec.model_dump_json() == text


@settings(deadline=None)
@given(COMPARISON)
def test_runs_of_a_comparison_are_the_fits_that_they_would_be_alone(body: dict[str, Any]) -> None:
    spec = parse_spec(body).spec
    assert isinstance(spec, ComparisonSpec)
    shared = json.loads(spec.model_dump_json(exclude={"kind", "preset", "optimizers", "rank_by"}))

    for (label, fit), contender in zip(run_specs(spec), spec.optimizers, strict=True):
        alone = parse_spec(
            {**shared, "optimizer": json.loads(contender.optimizer.model_dump_json())}
        )
        assert label == contender.label
        assert fit == alone.spec
        assert fit.model_dump_json() == alone.spec.model_dump_json()


def test_fit_is_its_only_run() -> None:
    spec = FitSpec()

    assert run_specs(spec) == (("Adam", spec),)


def test_run_of_a_default_comparison_is_a_whole_fit() -> None:
    runs = run_specs(ComparisonSpec())

    assert [label for label, _ in runs][:2] == ["Adam lr 0.001", "SGD lr 0.001"]
    assert {fit.kind for _, fit in runs} == {"fit"}
    assert all(
        fit.model_dump() == {**FitSpec().model_dump(), "optimizer": fit.optimizer.flatten()}
        for _, fit in runs
    )


def test_kind_stands_first() -> None:
    assert next(iter(FitSpec().model_dump())) == "kind"
    assert next(iter(ComparisonSpec().model_dump())) == "kind"


def test_defaults_are_those_of_the_contract() -> None:
    assert json.loads(FitSpec().model_dump_json()) == {
        "kind": "fit",
        "data": {"preset": "classic", "points": None, "seed": None},
        "scheduler": None,
        "steps": 10_000,
        "zero_grad": True,
        "batch_size": None,
        "loss": "mse",
        "dtype": "float64",
        "device": "auto",
        "if_unavailable": "fail",
        "engine": "auto",
        "init": "torch",
        "seed": 0,
        "stop": {"loss_below": 1e-8, "gradient_below": None, "patience": None},
        "tolerance": 1e-6,
        "record_every": "auto",
        "timeout_seconds": 600.0,
        "name": None,
        "tags": {},
        "webhook": None,
        "optimizer": {
            "name": "Adam",
            "lr": 0.001,
            "betas": [0.9, 0.999],
            "eps": 1e-8,
            "weight_decay": 0.0,
            "amsgrad": False,
            "decoupled_weight_decay": False,
        },
    }


@pytest.mark.parametrize("spec", [FitSpec(), ComparisonSpec()], ids=["fit", "comparison"])
def test_spec_cannot_be_changed(spec: FitSpec | ComparisonSpec) -> None:
    with pytest.raises(ValidationError):
        spec.steps = 1  # type: ignore[misc]


@pytest.mark.parametrize("kind", [FitSpec, ComparisonSpec])
def test_schema_names_every_field(kind: type[FitSpec | ComparisonSpec]) -> None:
    schema = kind.model_json_schema(mode="serialization")

    assert set(schema["properties"]) == set(kind.model_fields)
    assert schema["additionalProperties"] is False


@pytest.mark.parametrize("preset", sorted(COMPARISON_PRESETS))
def test_comparison_presets_are_specs(preset: str) -> None:
    spec = parse_spec({"preset": preset}).spec
    assert isinstance(spec, ComparisonSpec)

    assert [contender.label for contender in spec.optimizers] == ["Adam", "SGD", "Adagrad", "ASGD"]
    assert (spec.dtype, spec.stop.loss_below) == ("float32", None)


def test_float32_range_is_checked_where_the_numbers_are_known() -> None:
    assert fits_float32(Columns.model_validate({"x": [1], "y": [3e38]}))
    assert not fits_float32(Columns.model_validate({"x": [1e39], "y": [0]}))
    assert not fits_float32(Generated(generate=Generator(noise=1e38)))
    assert fits_float32(Generated(generate=Generator(x=(-1e30, 1e30), a=1e8)))
    assert fits_float32(Preset(preset="far"))
    assert fits_float32(JobData(job="x"))
    assert fits_float32(StoredColumns(num_points=1, sha256="0"))


def test_start_is_bounded() -> None:
    assert Start(a=1e30, b=-1e30)
    with pytest.raises(ValidationError):
        Start(a=math.nan, b=0)
    with pytest.raises(ValidationError):
        Start(a=0, b=1.1e30)


def test_spec_union_holds_every_kind() -> None:
    assert set(get_args(get_args(Spec)[0])) == {FitSpec, ComparisonSpec, SweepSpec, BatchSpec}


def test_rows_of_all_runs_count_together() -> None:
    fields = {"steps": 600_000, "record_every": 1}

    assert FitSpec.model_validate(fields).num_runs == 1
    with pytest.raises(ValidationError, match="1200000 rows in all"):
        ComparisonSpec.model_validate({**fields, "optimizers": ["Adam", "SGD"]})
