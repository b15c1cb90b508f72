"""What flat fields stand for."""

import pytest

from app.api.form import coerce, parse_fields, to_spec
from app.domain.errors import InvalidSpec, MalformedJson


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("adam", "adam"),
        ("10", 10),
        ("-3", -3),
        ("0.1", 0.1),
        (".5", 0.5),
        ("5.", 5),
        ("-2.50", -2.5),
        ("1e-6", 1e-6),
        ("1e4", 10_000),
        ("true", True),
        ("false", False),
        ("null", None),
        ("", ""),
        ("nan", "nan"),
        ("0x10", "0x10"),
        ("[[0,1],[1,3]]", [[0, 1], [1, 3]]),
        ('{"preset": "noisy"}', {"preset": "noisy"}),
        ("1e999", float("inf")),
    ],
)
def test_text_becomes_the_value_it_looks_like(text: str, value: object) -> None:
    coerced = coerce(text)

    assert coerced == value
    assert type(coerced) is type(value)


@pytest.mark.timeout(10)
def test_long_text_that_begins_like_a_number_stays_text_at_once() -> None:
    text = "1" * 200_000 + "x"

    assert coerce(text) == text


@pytest.mark.parametrize(
    ("text", "spec"),
    [
        ("optimizer=adam&lr=0.1", {"optimizer": "adam", "lr": 0.1}),
        ("stop.loss_below=1e-6", {"stop": {"loss_below": 1e-6}}),
        ("stop[loss_below]=1e-6&stop[patience]=5", {"stop": {"loss_below": 1e-6, "patience": 5}}),
        (
            "optimizer=sgd&optimizer.momentum=0.9",
            {"optimizer": {"name": "sgd", "momentum": 0.9}},
        ),
        (
            "optimizer.momentum=0.9&optimizer=sgd",
            {"optimizer": {"name": "sgd", "momentum": 0.9}},
        ),
        ("data=noisy&data.points=10", {"data": {"preset": "noisy", "points": 10}}),
        ("optimizers=adam&optimizers=sgd", {"optimizers": ["adam", "sgd"]}),
        ("optimizers[]=adam", {"optimizers": ["adam"]}),
        ('optimizers=["adam","sgd"]', {"optimizers": ["adam", "sgd"]}),
        ("name=123&tags.run=007", {"name": "123", "tags": {"run": "007"}}),
        ("tags.a.b=1", {"tags": {"a.b": "1"}}),
        ("tags[team]=null", {"tags": {"team": "null"}}),
        ("data.job=123", {"data": {"job": "123"}}),
        ("name=caf%C3%A9+au+lait", {"name": "café au lait"}),
        ("webhook=null", {"webhook": None}),
    ],
)
def test_fields_become_a_spec(text: str, spec: dict[str, object]) -> None:
    assert to_spec(parse_fields(text)) == spec


@pytest.mark.parametrize(
    ("text", "pointer"),
    [
        ("lr=1&lr=2", "/lr"),
        ("optimizer=adam&optimizer=sgd", "/optimizer"),
        ("stop=1&stop.patience=3", "/stop/patience"),
        ("stop.patience=3&stop.patience=4", "/stop/patience"),
        ("optimizer.name=adam&optimizer=sgd", "/optimizer"),
    ],
)
def test_field_given_twice_is_refused(text: str, pointer: str) -> None:
    with pytest.raises(InvalidSpec) as refused:
        to_spec(parse_fields(text))

    assert refused.value.flaws[0].code == "given-twice"
    assert refused.value.flaws[0].pointer == pointer


@pytest.mark.parametrize("text", ["=1", "stop..a=1", "a.b.c.d.e=1", ".=1"])
def test_name_that_is_no_path_is_refused(text: str) -> None:
    with pytest.raises(InvalidSpec) as refused:
        to_spec(parse_fields(text))

    assert refused.value.flaws[0].code == "unknown-field"


@pytest.mark.parametrize("text", ["adam", "a=1&b", "a=%ff", "&".join(["a=1"] * 300)])
def test_text_that_is_no_form_is_malformed(text: str) -> None:
    with pytest.raises(MalformedJson, match="form fields"):
        parse_fields(text)


@pytest.mark.parametrize("text", ["{broken", "[[0, 1]", '{"a": 1, "a": 2}', "[NaN]"])
def test_json_in_a_field_is_as_strict_as_in_a_body(text: str) -> None:
    with pytest.raises(MalformedJson):
        coerce(text)
