"""Which CSV texts are points."""

import pytest

from app.api.points_csv import parse_points
from app.domain.errors import InvalidSpec

POINTS = {"x": [0.0, 1.5], "y": [1.0, -3e2]}


@pytest.mark.parametrize(
    "text",
    [
        "0,1\n1.5,-3e2",
        "x,y\n0,1\n1.5,-3e2\n",
        "time, height\n0, 1\n1.5, -3e2",
        "0;1\n1.5;-3e2",
        "0\t1\n1.5\t-3e2",
        "Zeit;Höhe\r\n0;1\r\n1,5;-3e2\r\n",
        '"x","y"\n"0","1"\n"1.5","-3e2"',
        "\n\n0,1\n\n1.5,-3e2\n\n",
        "y,x\n1,0\n-3e2,1.5",
        "Y ; X\n1;0\n-3e2;1,5",
    ],
)
def test_two_columns_become_points(text: str) -> None:
    assert parse_points(text) == POINTS


@pytest.mark.parametrize(
    "text",
    [
        "a,0,1\n7,1.5,-3e2",
        "series,x,y\na,0,1\n7,1.5,-3e2",
        "y;series;x\n1;a;0\n-3e2;7;1,5",
        "city\tt\th\na\t0\t1\n7\t1.5\t-3e2",
    ],
)
def test_three_columns_become_series(text: str) -> None:
    assert parse_points(text) == {"series": ["a", "7"], **POINTS}


@pytest.mark.parametrize(
    ("text", "code", "words"),
    [
        ("0,1\n1,2,3", "not-a-pair", "Line 2 has 3"),
        ("a,0,1\n1,2", "not-a-pair", "Line 2 has 2"),
        ("1,2,3,4", "not-a-pair", "Line 1 has 4"),
        ("a,0,1\nb,1,c", "not-a-number", "Line 2 is not a name and numbers"),
        ("0\n1", "not-a-pair", "Line 1 has 1"),
        ("x,y\n0,1\n1,zwei", "not-a-number", "Line 3"),
        ("0,eins\n1,2", "not-a-number", "Line 1"),
        ("0,1\n1_0,2", "not-a-number", "Line 2"),
        ("0,1\n\u0661,2", "not-a-number", "Line 2"),
        ("", "too-short", "no points"),
        ("x,y\n", "too-short", "no points"),
        ("0,\x00" + "1" * 200_000, "not-a-pair", "Line 1"),
    ],
)
def test_other_texts_are_refused_with_the_line(text: str, code: str, words: str) -> None:
    with pytest.raises(InvalidSpec) as refused:
        parse_points(text)

    flaw = refused.value.flaws[0]
    assert (flaw.pointer, flaw.code) == ("/data", code)
    assert words in flaw.detail
