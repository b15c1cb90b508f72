"""Which lines of JSON are points."""

from typing import Any

import pytest

from app.api.points_ndjson import parse_lines
from app.domain.errors import InvalidSpec, MalformedJson


@pytest.mark.parametrize(
    ("text", "data"),
    [
        (
            '{"series": "a", "x": 1, "y": 2}\n{"series": 3, "x": 4, "y": 5}\n',
            {"series": ["a", 3], "x": [1, 4], "y": [2, 5]},
        ),
        ('{"y": 2, "x": 1}\r\n\r\n{"x": 4, "y": 5}', {"x": [1, 4], "y": [2, 5]}),
        (
            '{"x": [1], "y": [2], "name": "a"}\n{"x": [4], "y": [5], "name": "b"}',
            [{"x": [1], "y": [2], "name": "a"}, {"x": [4], "y": [5], "name": "b"}],
        ),
        ("[1, 2]\n[4, 5]", [[1, 2], [4, 5]]),
        ("", []),
    ],
)
def test_lines_become_data(text: str, data: Any) -> None:
    assert parse_lines(text.encode()) == data


def test_line_that_is_another_point_is_named() -> None:
    with pytest.raises(InvalidSpec) as refused:
        parse_lines(b'{"series": "a", "x": 1, "y": 2}\n{"x": 4, "y": 5}')

    assert "Line 2" in refused.value.flaws[0].detail
    with pytest.raises(MalformedJson, match="line 2"):
        parse_lines(b'{"x": 1, "y": 2}\n{"x": }')
