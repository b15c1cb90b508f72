"""What bodies stand for, and which are refused."""

import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.api.body import parse_body
from app.api.strict_json import MAX_DEPTH, parse_json
from app.domain.errors import InvalidSpec, MalformedJson, UnsupportedMediaType

FORM = "application/x-www-form-urlencoded"


@pytest.mark.parametrize("media_type", ["", FORM, "application/json", "text/plain"])
@pytest.mark.parametrize("body", [b"", b" \r\n\t", b"\xef\xbb\xbf"])
def test_no_body_is_an_empty_spec(body: bytes, media_type: str) -> None:
    assert parse_body(body, media_type=media_type) == {}


@pytest.mark.parametrize("media_type", ["", FORM, "text/plain", "application/octet-stream"])
def test_braces_are_json_whatever_the_type(media_type: str) -> None:
    assert parse_body(b' \n{"steps": 5}', media_type=media_type) == {"steps": 5}
    assert parse_body(b"[[0,1],[1,3]]", media_type=media_type) == [[0, 1], [1, 3]]


@pytest.mark.parametrize("media_type", ["application/json", "application/vnd.fit+json"])
def test_json_type_takes_every_json_value(media_type: str) -> None:
    assert parse_body(b'"adam"', media_type=media_type) == "adam"
    assert parse_body(b"5", media_type=media_type) == 5


def test_byte_order_mark_is_skipped() -> None:
    assert parse_body(b'\xef\xbb\xbf{"steps": 5}', media_type="") == {"steps": 5}


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b'{"steps": 100,}', "line 1 column"),
        (b"{\n 'steps': 1}", "line 2 column 2"),
        (b"{steps: 1}", "property name"),
        (b'{"lr": NaN}', "NaN"),
        (b'{"lr": -Infinity}', "-Infinity"),
        (b'{"steps": 1, "steps": 2}', '"steps" is given twice'),
        (b'{"stop": {"a": 1, "b": 2, "a": 1}}', '"a" is given twice'),
        (b'{"name": "\\ud800"}', "surrogate"),
        (b'{"\\udc00": 1}', "surrogate"),
        (b'{"name": "\xff"}', "not UTF-8: byte 10"),
        (b'{"seed": ' + b"1" * 5000 + b"}", "too many digits"),
        (b'{"a":' * 40 + b"1" + b"}" * 40, "nested"),
        (b"[" * 100_000, "nested"),
        (b'{"a":' * 100_000, "nested"),
        (b"[" * 100_000 + b"]" * 100_000, "nested"),
        (b'["]", ' * 2_000 + b"1" + b"]" * 2_000, "nested"),
        (b'{"a": 1} {"b": 2}', "Extra data"),
    ],
)
def test_malformed_json_is_refused_with_the_place(body: bytes, words: str) -> None:
    with pytest.raises(MalformedJson, match=re.escape(words)) as refused:
        parse_json(body)

    assert len(refused.value.detail) < 200


@pytest.mark.timeout(10)
@pytest.mark.parametrize(
    "body",
    [
        b'{"' + b'\\"' * 200_000,
        b'{"' + b'\\"' * 200_000 + b"\\",
        json.dumps({str(n): 1 for n in range(100_000)}).encode()[:-1] + b', "99999": 2}',
    ],
    ids=["string without an end", "escape without an end", "last name given twice"],
)
def test_refusing_a_large_body_takes_no_longer_than_reading_it(body: bytes) -> None:
    with pytest.raises(MalformedJson):
        parse_json(body)


def test_escaped_characters_outside_the_first_plane_are_kept() -> None:
    assert parse_json(b'{"name": "\\ud83d\\ude00 \\u00e9"}') == {"name": "\U0001f600 \u00e9"}


def test_brackets_inside_strings_do_not_count_as_depth() -> None:
    text = "[" * 100 + '"' + "}" * 100

    assert parse_json(json.dumps({"name": text}).encode()) == {"name": text}


def test_deepest_allowed_nesting_is_accepted() -> None:
    body = b"[" * MAX_DEPTH + b"]" * MAX_DEPTH

    assert parse_json(body) is not None


def test_number_beyond_float64_is_left_to_the_spec() -> None:
    assert parse_json(b'{"lr": 1e999}') == {"lr": float("inf")}


@pytest.mark.parametrize("media_type", ["text/plain", "multipart/form-data", "", "image/png"])
def test_other_types_are_refused(media_type: str) -> None:
    with pytest.raises(UnsupportedMediaType, match="cannot be read"):
        parse_body(b"adam", media_type=media_type)


def test_csv_body_takes_its_spec_from_the_query() -> None:
    spec = parse_body(
        b"x,y\n0,1\n1,3\n", media_type="text/csv", query=[("optimizer", "sgd"), ("lr", "0.1")]
    )

    assert spec == {"optimizer": "sgd", "lr": 0.1, "data": {"x": [0.0, 1.0], "y": [1.0, 3.0]}}


def test_csv_body_and_data_in_the_query_contradict_each_other() -> None:
    with pytest.raises(InvalidSpec) as refused:
        parse_body(b"0,1", media_type="text/csv", query=[("data", "classic")])

    assert refused.value.flaws[0].code == "given-twice"


@given(
    st.binary(max_size=200),
    st.sampled_from(["", FORM, "text/csv", "application/json", "text/plain"]),
)
def test_any_bytes_give_a_spec_or_a_refusal(body: bytes, media_type: str) -> None:
    try:
        spec = parse_body(body, media_type=media_type)
    except (MalformedJson, UnsupportedMediaType, InvalidSpec):
        return

    assert json.dumps(spec, ensure_ascii=False).encode()


_LEAVES = st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=8)


@given(
    st.recursive(
        _LEAVES,
        lambda below: st.lists(below, max_size=4) | st.dictionaries(st.text(max_size=5), below),
        max_leaves=20,
    )
)
def test_json_comes_back_as_it_was_written(value: object) -> None:
    assert parse_json(json.dumps(value).encode()) == value
