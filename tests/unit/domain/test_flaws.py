"""Every mistake in a body is named once, at its place, with the word that was probably meant."""

import json
import math
import time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.domain.errors import Flaw, InvalidSpec
from app.domain.flaws import MAX_ALLOWED, MAX_FLAWS, nearest
from app.domain.parse import parse_spec

ONE_FLAW: list[tuple[Any, str, str]] = [
    # The body and its kind.
    (5, "", "wrong-type"),
    (None, "", "wrong-type"),
    ("fit", "", "wrong-type"),
    ({"kind": "swep"}, "/kind", "unknown-kind"),
    ({"kind": "fitt"}, "/kind", "unknown-kind"),
    ({"kind": []}, "/kind", "unknown-kind"),
    ({"preset": []}, "/preset", "unknown-field"),
    ({"kind": "comparison", "preset": "weak"}, "/preset", "unknown-name"),
    ({"kind": "comparison", "preset": ["weak"]}, "/preset", "unknown-name"),
    # Fields that do not exist.
    ({"optimiser": "adam"}, "/optimiser", "unknown-field"),
    ({"a/b~c": 1}, "/a~1b~0c", "unknown-field"),
    ({"stop": {"loss_belw": 1}}, "/stop/loss_belw", "unknown-field"),
    ({"init": {"a": 1, "b": 0, "c": 2}}, "/init/c", "unknown-field"),
    ({"data": {"generate": {"slope": 2}}}, "/data/generate/slope", "unknown-field"),
    ({"data": {"preset": "classic", "n": 5}}, "/data/n", "unknown-field"),
    ({"optimizer": {"name": "adam", "momentum": 0.9}}, "/optimizer/momentum", "unknown-field"),
    ({"scheduler": {"name": "StepLR", "step_size": 2, "x": 1}}, "/scheduler/x", "unknown-field"),
    ({"kind": "comparison", "lr": 0.1}, "/lr", "unknown-field"),
    # Sweeps.
    ({"kind": "sweep", "lr": "auto"}, "/lr", "wrong-type"),
    ({"kind": "sweep", "lr": []}, "/lr", "too-short"),
    ({"kind": "sweep", "lr": [0.1, "x"]}, "/lr/1", "float-type"),
    ({"kind": "sweep", "lr": [0.1, 0]}, "/lr/1", "greater-than"),
    ({"kind": "sweep", "lr": 0}, "/lr", "greater-than"),
    ({"kind": "sweep", "learning_rate": {"num": 0}}, "/learning_rate/num", "greater-than-equal"),
    ({"kind": "sweep", "lr": {"low": 1e-3}}, "/lr/low", "unknown-field"),
    ({"kind": "sweep", "lr": {"min": 1, "max": 0.1}}, "/lr/max", "out-of-range"),
    ({"kind": "sweep", "lr": {"scale": "lin"}}, "/lr/scale", "literal-error"),
    ({"kind": "sweep", "lr": {"num": 10_001}, "seeds": 100}, "/lr", "too-many-runs"),
    ({"kind": "sweep", "lr": 1, "learning_rate": 1}, "/learning_rate", "given-twice"),
    ({"kind": "sweep", "optimizer": "adm"}, "/optimizer", "unknown-name"),
    ({"kind": "sweep", "optimizers": ["adam", "adam"]}, "/optimizers", "repeated-label"),
    ({"kind": "sweep", "seeds": 2, "seed": 2**63 - 1}, "/seeds", "out-of-range"),
    ({"kind": "sweep", "engine": "rules", "optimizer": "lbfgs"}, "/engine", "engine-cannot"),
    # Batches.
    ({"kind": "batch", "data": 5}, "/data", "wrong-type"),
    ({"kind": "batch", "data": "classic"}, "/data", "wrong-type"),
    ({"kind": "batch", "data": []}, "/data", "too-short"),
    ({"kind": "batch", "data": [5]}, "/data/0", "wrong-type"),
    ({"kind": "batch", "data": [[[0, 1]], [[0]]]}, "/data/1", "not-a-pair"),
    ({"kind": "batch", "data": [[[0, 1]], [[0, "1"]]]}, "/data/1", "not-a-number"),
    ({"kind": "batch", "data": [{"x": [1], "y": [True]}]}, "/data/0/y", "not-a-number"),
    ({"kind": "batch", "data": [{"x": [1], "y": [1, 2]}]}, "/data/0", "length-mismatch"),
    ({"kind": "batch", "data": [{"x": [], "y": []}]}, "/data/0", "too-short"),
    ({"kind": "batch", "data": [{"x": [1]}]}, "/data/0", "wrong-type"),
    (
        {"kind": "batch", "data": [{"x": [1], "y": [1], "label": "a"}]},
        "/data/0/label",
        "unknown-field",
    ),
    ({"kind": "batch", "data": {"series": [1], "x": [1]}}, "/data", "wrong-type"),
    ({"kind": "batch", "data": {"series": [1], "x": [1], "y": []}}, "/data", "length-mismatch"),
    ({"kind": "batch", "data": {"series": [""], "x": [1], "y": [1]}}, "/data/series/0", "bad-name"),
    ({"kind": "batch", "data": {"x": [1], "y": [1]}}, "/data", "wrong-type"),
    (
        {"kind": "batch", "data": {"generate": {"serie": 5}}},
        "/data/generate/serie",
        "unknown-field",
    ),
    (
        {"kind": "batch", "data": {"generate": {"series": 10**6, "n": 10**4}}},
        "/data/generate",
        "out-of-range",
    ),
    ({"kind": "batch", "dtype": "float32", "data": [[[1e39, 1]]]}, "/data", "out-of-range"),
    # Numbers.
    ({"steps": "10"}, "/steps", "int-type"),
    ({"steps": 1.0}, "/steps", "int-type"),
    ({"steps": True}, "/steps", "int-type"),
    ({"steps": 0}, "/steps", "greater-than-equal"),
    ({"steps": -(10**400)}, "/steps", "greater-than-equal"),
    ({"steps": 10**400}, "/steps", "less-than-equal"),
    ({"seed": 2**63}, "/seed", "less-than"),
    ({"timeout_seconds": 0}, "/timeout_seconds", "greater-than"),
    ({"lr": "0.1"}, "/lr", "float-type"),
    ({"lr": math.nan}, "/lr", "finite-number"),
    ({"lr": -math.inf}, "/lr", "finite-number"),
    ({"lr": 1e308}, "/lr", "less-than-equal"),
    ({"lr": 10**400}, "/lr", "float-type"),
    ({"learning_rate": -1}, "/learning_rate", "greater-than-equal"),
    ({"optimizer": {"name": "adam", "lr": -1}}, "/optimizer/lr", "greater-than-equal"),
    ({"optimizer": {"name": "adam", "betas": [0.9]}}, "/optimizer/betas/1", "missing"),
    ({"optimizer": {"name": "adam", "betas": [0.9, 1]}}, "/optimizer/betas/1", "less-than"),
    ({"optimizer": {"name": "adam", "betas": "x"}}, "/optimizer/betas", "tuple-type"),
    ({"optimizer": {"name": "adam", "amsgrad": 1}}, "/optimizer/amsgrad", "bool-type"),
    # Names and choices.
    ({"optimizer": "adm"}, "/optimizer", "unknown-name"),
    ({"optimizer": "adm", "lr": 0.1}, "/optimizer", "unknown-name"),
    ({"optimizer": {"name": "adm"}}, "/optimizer/name", "unknown-name"),
    ({"optimizer": {"name": 5}}, "/optimizer/name", "unknown-name"),
    ({"optimizer": 5, "lr": 0.1}, "/optimizer", "wrong-type"),
    ({"optimizer": None}, "/optimizer", "wrong-type"),
    ({"scheduler": {}}, "/scheduler/name", "unknown-name"),
    ({"scheduler": "StepLR"}, "/scheduler/step_size", "missing"),
    ({"loss": "MSE"}, "/loss", "literal-error"),
    ({"init": "zeros"}, "/init", "literal-error"),
    ({"record_every": "all"}, "/record_every", "literal-error"),
    ({"device": "gpu"}, "/device", "string-pattern-mismatch"),
    ({"device": "cuda:0\n"}, "/device", "string-pattern-mismatch"),
    ({"webhook": "https://example.org"}, "/webhook", "none-required"),
    # Rules of torch between fields.
    ({"optimizer": {"name": "sgd", "nesterov": True}}, "/optimizer/nesterov", "torch-rule"),
    (
        {"optimizer": {"name": "sgd", "lr": "auto", "weight_decay": 0.1}},
        "/optimizer/lr",
        "no-theory",
    ),
    (
        {"scheduler": {"name": "CyclicLR", "base_lr": 1, "max_lr": 0.5}},
        "/scheduler/max_lr",
        "torch-rule",
    ),
    (
        {"optimizer": "adagrad", "scheduler": {"name": "OneCycleLR", "max_lr": 1}},
        "/scheduler",
        "torch-rule",
    ),
    (
        {"steps": 10, "scheduler": {"name": "OneCycleLR", "max_lr": 1, "total_steps": 9}},
        "/scheduler",
        "torch-rule",
    ),
    ({"lr": 1, "learning_rate": 1}, "/lr", "given-twice"),
    ({"lr": 1, "optimizer": {"name": "adam", "lr": 1}}, "/lr", "given-twice"),
    ({"steps": 10_000_000, "record_every": 1}, "/record_every", "too-many-rows"),
    # Comparisons.
    ({"kind": "comparison", "optimizers": []}, "/optimizers", "too-short"),
    ({"kind": "comparison", "optimizers": ["adam"] * 65}, "/optimizers", "too-long"),
    ({"kind": "comparison", "optimizers": ["adam", "adam"]}, "/optimizers", "repeated-label"),
    ({"kind": "comparison", "optimizers": ["adam", "nope"]}, "/optimizers/1", "unknown-name"),
    (
        {"kind": "comparison", "optimizers": [{"name": "sgd", "label": ""}]},
        "/optimizers/0/label",
        "string-too-short",
    ),
    (
        {"kind": "comparison", "optimizers": [{"name": "sgd", "momentun": 0}]},
        "/optimizers/0/momentun",
        "unknown-field",
    ),
    (
        {"kind": "comparison", "optimizers": [{"name": "sgd", "label": "a\u202eb"}]},
        "/optimizers/0/label",
        "not-printable",
    ),
    # Phases of one cycle that end where they begin.
    (
        {"steps": 10, "scheduler": {"name": "OneCycleLR", "max_lr": 1, "pct_start": 0.1}},
        "/scheduler",
        "torch-rule",
    ),
    (
        {
            "steps": 11,
            "scheduler": {
                "name": "OneCycleLR",
                "max_lr": 1,
                "pct_start": 0.5,
                "three_phase": True,
                "total_steps": 10,
            },
        },
        "/scheduler",
        "torch-rule",
    ),
    # Text.
    ({"name": "a\x00"}, "/name", "string-pattern-mismatch"),
    ({"name": "x" * 201}, "/name", "string-too-long"),
    ({"name": "\ud800"}, "/name", "string-unicode"),
    ({"\ud800": 1}, "", "string-unicode"),
    ({"tags": {"a b": "x"}}, "/tags/a b", "string-pattern-mismatch"),
    ({"tags": {"\ud800": "x"}}, "/tags", "string-unicode"),
    ({"tags": {f"t{i}": "" for i in range(17)}}, "/tags", "too-long"),
    # Points.
    ({"data": 5}, "/data", "wrong-type"),
    ([], "/data", "too-short"),
    ([[1, 2], [3]], "/data", "not-a-pair"),
    ([[1, 2], 3], "/data", "not-a-pair"),
    ([[1, "2"]], "/data", "not-a-number"),
    ({"data": {"x": [1, math.nan], "y": [1, 2]}}, "/data/x", "not-a-number"),
    ({"data": {"x": [math.nan, 1], "y": [1, 2]}}, "/data/x", "not-a-number"),
    ({"data": {"x": [1, True], "y": [1, 2]}}, "/data/x", "not-a-number"),
    ({"data": {"x": [1, 1e151], "y": [1, 2]}}, "/data/x", "out-of-range"),
    ({"data": {"x": [10**400], "y": [1]}}, "/data/x", "out-of-range"),
    ({"data": {"x": 1, "y": [1]}}, "/data/x", "wrong-type"),
    ({"data": {"x": [1], "y": [1, 2]}}, "/data", "length-mismatch"),
    ({"data": {"x": [1]}}, "/data/y", "missing"),
    ({"data": "clasic"}, "/data", "literal-error"),
    ({"data": {"preset": "clasic"}}, "/data/preset", "literal-error"),
    ({"data": {"job": ""}}, "/data/job", "string-too-short"),
    ({"data": {"generate": {"x": [2, 1]}}}, "/data/generate", "out-of-range"),
    ({"data": {"generate": {"x": ["1", 2]}}}, "/data/generate/x/0", "float-type"),
    ({"data": {"generate": {"a": 1e100, "x": [0, 1e100]}}}, "/data/generate", "out-of-range"),
    ({"data": {"sha256": "0", "num_points": 3}}, "/data", "no-points"),
    ({"dtype": "float32", "data": [[1e39, 1]]}, "/data", "out-of-range"),
    ({"dtype": "float32", "data": {"generate": {"a": 1e39}}}, "/data", "out-of-range"),
]


def flaws_of(body: object, *, kind: str | None = None) -> tuple[Flaw, ...]:
    with pytest.raises(InvalidSpec) as caught:
        parse_spec(body, kind=kind)
    return caught.value.flaws


@pytest.mark.parametrize(("body", "pointer", "code"), ONE_FLAW, ids=lambda part: ascii(part)[:60])
def test_mistake_is_named_once_at_its_place(body: object, pointer: str, code: str) -> None:
    flaws = flaws_of(body)

    assert [(flaw.pointer, flaw.code) for flaw in flaws] == [(pointer, code)]
    assert flaws[0].detail
    assert len(flaws[0].detail) < 300


@pytest.mark.parametrize("body", [body for body, *_ in ONE_FLAW], ids=lambda part: ascii(part)[:60])
def test_flaw_can_be_told_as_json(body: object) -> None:
    for flaw in flaws_of(body):
        told = json.dumps(
            [flaw.pointer, flaw.code, flaw.detail, flaw.did_you_mean, flaw.got, flaw.allowed],
            allow_nan=False,
            ensure_ascii=False,
        )

        assert told.encode("utf-8")


@pytest.mark.parametrize(
    ("body", "meant"),
    [
        ({"optimiser": "adam"}, "optimizer"),
        ({"epochs": 5}, "steps"),
        ({"EPOCHS": 5}, "steps"),
        ({"max_iter": 5}, "steps"),
        ({"criterion": "mse"}, "loss"),
        ({"x": [1]}, "data"),
        ({"preset": "clasic"}, "data"),
        ({"Steps": 5}, "steps"),
        ({"learningrate": 0.1}, "lr"),
        ({"optimizer": "ADM"}, "Adam"),
        ({"optimizer": {"name": "adam", "learning_rate": 0.1}}, "lr"),
        ({"optimizer": {"name": "adam", "beta1": 0.9}}, "betas"),
        ({"optimizer": {"momentum": 0.9, "wd": 1}}, None),
        ({"data": {"generate": {"slope": 1}}}, "a"),
        ({"loss": "MSE"}, "mse"),
        ({"dtype": "float16"}, "float64"),
        ({"kind": "comparison", "preset": "weak-optimisers"}, "weak-optimizers"),
        ({"xyzzy": 1}, None),
    ],
    ids=str,
)
def test_flaw_names_what_was_probably_meant(body: object, meant: str | None) -> None:
    assert flaws_of(body)[0].did_you_mean == meant


def test_nearest_is_silent_about_strangers() -> None:
    assert nearest("zzzzzzzz", ["steps", "loss"]) is None
    assert nearest("q" * 100_000, ["steps"]) is None


def test_flaw_repeats_only_short_scalars() -> None:
    assert flaws_of({"steps": 1.5})[0].got == 1.5
    assert flaws_of({"lr": math.nan})[0].got == "nan"
    assert flaws_of({"loss": "x" * 81})[0].got is None
    assert flaws_of({"loss": "\ud800"})[0].got is None
    assert flaws_of({"steps": 10**400})[0].got is None
    assert flaws_of({"loss": {"a": 1}})[0].got is None


def test_long_names_are_clipped() -> None:
    flaw = flaws_of({"k" * 500: 1})[0]

    assert len(flaw.pointer) == 80
    assert len(flaw.detail) < 200


def test_unknown_field_lists_every_field_there_is() -> None:
    allowed = flaws_of({"xyzzy": 1})[0].allowed

    assert allowed is not None
    assert {"optimizer", "lr", "learning_rate", "data", "webhook"} <= set(allowed)
    assert len(allowed) <= MAX_ALLOWED


def test_several_mistakes_are_all_named() -> None:
    flaws = flaws_of({"steps": 0, "lr": -1, "stop": {"patience": 0}, "colour": "red"})

    assert {flaw.pointer for flaw in flaws} == {"/steps", "/lr", "/stop/patience", "/colour"}


def test_flaws_stop_at_twenty() -> None:
    assert len(flaws_of({f"field{i}": i for i in range(50)})) == MAX_FLAWS


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({f"k{i}": 1 for i in range(200_000)}, ""),
        ({"tags": {f"k {i}": 1 for i in range(200_000)}}, "/tags"),
        ({"optimizer": {f"k{i}": 1 for i in range(200_000)}}, "/optimizer"),
        ({"data": {"generate": {f"k{i}": 1 for i in range(200_000)}}}, "/data/generate"),
        ({"data": {"generate": {"x": ["a"] * 200_000}}}, "/data/generate/x"),
        ({"kind": "comparison", "optimizers": [0] * 200_000}, "/optimizers"),
        ({"scheduler": {"name": "MultiStepLR", "milestones": ["a"] * 200_000}}, None),
        ({"steps": [[[[[[1] * 200_000]]]]]}, "/steps"),
    ],
    ids=lambda part: ascii(part)[:30],
)
def test_crowd_of_mistakes_costs_no_more_than_one(body: Any, pointer: str | None) -> None:
    started = time.process_time()
    flaws = flaws_of(body)

    assert flaws[0].pointer == (pointer if pointer is not None else "/scheduler/milestones")
    # Naming each of them would take minutes.
    assert time.process_time() - started < 2


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4)
    ),
    max_leaves=12,
)
FIELDS = st.sampled_from(
    [
        "kind",
        "data",
        "optimizer",
        "optimizers",
        "scheduler",
        "steps",
        "lr",
        "learning_rate",
        "stop",
        "init",
        "tags",
        "preset",
        "name",
        "device",
        "record_every",
        "loss",
        "webhook",
    ]
)


@settings(max_examples=300, deadline=None)
@given(st.dictionaries(FIELDS, JSON, max_size=5) | JSON)
def test_any_json_gives_a_spec_or_flaws(body: object) -> None:
    try:
        flaws = parse_spec(body).warnings
    except InvalidSpec as refused:
        flaws = refused.flaws

    assert len(flaws) <= MAX_FLAWS


@pytest.mark.parametrize(
    ("body", "code", "words"),
    [
        ({"record_every": 0}, "greater-than-equal", "at least 1"),
        ({"record_every": "all"}, "literal-error", "not one of"),
        ({"optimizer": "adam", "lr": "auto"}, "float-type", "SGD alone"),
        ({"optimizer": "sgd", "lr": -1.0}, "greater-than-equal", "at least 0"),
    ],
)
def test_union_speaks_of_the_member_that_was_meant(
    body: dict[str, object], code: str, words: str
) -> None:
    with pytest.raises(InvalidSpec) as refused:
        parse_spec(body)
    flaw = refused.value.flaws[0]

    assert flaw.code == code
    assert words in flaw.detail
