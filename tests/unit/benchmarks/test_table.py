"""The goal table: what is printed, written down and put into a page."""

import json
from pathlib import Path

import pytest

from benchmarks.page import BEGIN, END, put_figures
from benchmarks.table import Row, to_markdown, to_text, write_json

MET = Row(
    case="one run, against C", goal="at most 1.5x its time", measured="a", ratio=1.25, passed=True
)
MISSED = Row(case="sweep", goal="1.7x faster", measured="b", ratio=1234.5, passed=False)
UNMEASURED = Row(case="JAX", goal="0.4x", measured="not installed", ratio=None, passed=False)
TOLD = Row(case="numpy", goal="", measured="c", ratio=0.5, passed=True)


def test_every_line_of_the_table_ends_in_its_verdict() -> None:
    _, _, *lines = to_text([MET, MISSED, UNMEASURED, TOLD]).splitlines()

    assert [line.split()[-2:] for line in lines] == [
        ["1.25", "pass"],
        ["1,234", "SHORT"],
        ["-", "SHORT"],
        ["0.5", "-"],
    ]


def test_columns_stand_under_their_headings() -> None:
    heading, _, *lines = to_text([MET, MISSED]).splitlines()

    assert [line.index("a" if line is lines[0] else "b", 40) for line in lines] == [
        heading.index("measured")
    ] * 2


def test_long_finding_goes_on_in_its_own_column() -> None:
    words = " ".join(["finding"] * 20)
    row = Row(case="case", goal="goal", measured=words, ratio=2.0, passed=True)
    heading, _, first, *rest = to_text([row]).splitlines()
    start = heading.index("measured")

    assert first.endswith("pass")
    assert rest
    assert all(not line[:start].strip() and line[start] == "f" for line in rest)
    assert "\n".join([first, *rest]).count("finding") == 20


def test_json_holds_rows_and_machine(tmp_path: Path) -> None:
    path = tmp_path / "rows.json"
    write_json([MET, UNMEASURED], path, machine="two cores")
    document = json.loads(path.read_text())

    assert document["machine"] == "two cores"
    assert [Row(**row) for row in document["rows"]] == [MET, UNMEASURED]


def test_figures_replace_what_stood_between_the_comments() -> None:
    page = f"before\n{BEGIN}\nold | figures\n{END}\nafter\n"
    changed = put_figures(page, [MET], machine="two cores")

    assert changed == f"before\n{BEGIN}\ntwo cores\n\n{to_markdown([MET])}\n{END}\nafter\n"
    assert put_figures(changed, [MET], machine="two cores") == changed


@pytest.mark.parametrize("page", ["", BEGIN, END, f"{END}\n{BEGIN}"])
def test_page_without_a_place_is_refused(page: str) -> None:
    with pytest.raises(ValueError, match="the page has no"):
        put_figures(page, [MET], machine="two cores")
