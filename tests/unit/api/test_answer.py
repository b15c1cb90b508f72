"""How JSON answers look."""

from array import array
from types import MappingProxyType

import orjson
import pytest

from app.api.answer import render, wants_pretty


def scope(*, query: bytes = b"", **headers: str) -> dict[str, object]:
    raw = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    return {"type": "http", "query_string": query, "headers": raw}


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (scope(), False),
        (scope(user_agent="python-httpx/0.28"), False),
        (scope(user_agent="curl/8.5.0"), True),
        (scope(user_agent="Mozilla/5.0", accept="text/html,*/*;q=0.8"), True),
        (scope(query=b"pretty"), True),
        (scope(query=b"wait=3&pretty=true"), True),
        (scope(query=b"pretty=0", user_agent="curl/8.5.0"), False),
    ],
)
def test_layout_follows_the_reader(given: dict[str, object], *, expected: bool) -> None:
    assert wants_pretty(given) is expected


def test_packed_answer_is_one_line_and_ends_with_a_newline() -> None:
    assert render({"a": [1, 2], "b": None}, pretty=False) == b'{"a":[1,2],"b":null}\n'


def test_pretty_answer_keeps_a_column_on_one_line() -> None:
    text = render({"column": list(range(100)), "empty": [], "none": {}}, pretty=True).decode()

    assert len(text.splitlines()) == 5
    assert orjson.loads(text)["column"] == list(range(100))


def test_pretty_answer_breaks_what_is_long_or_deep() -> None:
    content = {"short": {"a": 1}, "texts": ["x" * 60, "y" * 60], "deep": [{"a": {"b": 1}}]}
    lines = render(content, pretty=True).decode().splitlines()

    assert '  "short": {"a": 1},' in lines
    assert f'    "{"x" * 60}",' in lines
    assert lines[-1] == "}"


@pytest.mark.parametrize("pretty", [True, False])
def test_both_layouts_hold_the_same_values(pretty: bool) -> None:  # noqa: FBT001  # from parametrize
    content = {"text": 'ä"\n\u2028', "numbers": [1e-8, -0.0, 2**60, 0.1], "on": True, "t": (1, 2)}

    assert orjson.loads(render(content, pretty=pretty)) == {**content, "t": [1, 2]}


def test_long_column_is_packed() -> None:
    assert b", " not in render(list(range(2_000)), pretty=True)


def test_non_finite_numbers_become_null() -> None:
    content = {"x": [float("nan"), float("inf")], "column": array("d", [1.0, float("-inf")])}

    assert render(content, pretty=False) == b'{"x":[null,null],"column":[1.0,null]}\n'


def test_half_of_a_surrogate_pair_becomes_a_question_mark() -> None:
    content = {"\udc00": ("\ud800", ["a\udfff"], {"n": 1}, None)}

    assert orjson.loads(render(content, pretty=False)) == {"?": ["?", ["a?"], {"n": 1}, None]}


def test_what_has_no_json_form_is_an_error() -> None:
    with pytest.raises(TypeError):
        render({"x": object()}, pretty=False)


def test_any_mapping_is_an_object() -> None:
    assert render({"a": MappingProxyType({"b": 1})}, pretty=False) == b'{"a":{"b":1}}\n'
