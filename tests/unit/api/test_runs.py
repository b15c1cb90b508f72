"""Runs as a table."""

import csv
import io
from typing import Any

import pytest

from app.api.runs import COLUMNS, runs_to_csv, sort_runs
from app.domain.errors import InvalidParameter


def make_run(run: int, *, label: str = "Adam", loss: float | None = None) -> dict[str, Any]:
    best = None if loss is None else {"step": 3, "loss": loss}
    row: dict[str, Any] = dict.fromkeys(COLUMNS)
    return {**row, "run": run, "label": label, "loss": loss, "best": best, "converged": True}


def order(sort: str) -> list[int]:
    runs = [make_run(0, loss=2.0), make_run(1), make_run(2, loss=1.0)]
    return [run["run"] for run in sort_runs(runs, sort)]


@pytest.mark.parametrize(
    ("sort", "expected"),
    [
        ("run", [0, 1, 2]),
        ("-run", [2, 1, 0]),
        ("final_loss", [2, 0, 1]),
        ("-final_loss", [0, 2, 1]),
        ("best_loss", [2, 0, 1]),
        ("label", [0, 1, 2]),
    ],
)
def test_runs_without_a_value_come_last_either_way(sort: str, expected: list[int]) -> None:
    assert order(sort) == expected


def test_unknown_column_is_refused_with_a_hint() -> None:
    with pytest.raises(InvalidParameter, match='did you mean "final_loss"'):
        order("finalloss")
    with pytest.raises(InvalidParameter, match="it is one of run, label"):
        order("q")


@pytest.mark.parametrize("label", ["=1+1", "+1", "-1", "@x", "\t=1", "\r\n=1"])
def test_label_that_a_spreadsheet_would_run_is_quoted(label: str) -> None:
    rows = list(csv.reader(io.StringIO(runs_to_csv([make_run(0, label=label)]), newline="")))

    assert rows[1][1] == f"'{label.strip()}"


def test_label_with_line_breaks_stays_on_its_line() -> None:
    assert runs_to_csv([make_run(0, label="a\r\nb")]).count("\n") == 2


def test_csv_has_numbers_words_and_gaps() -> None:
    text = runs_to_csv([make_run(0, label='a "b", c', loss=-1e-9)])

    (row,) = csv.DictReader(io.StringIO(text))
    assert row["label"] == 'a "b", c'
    assert (row["loss"], row["best_loss"], row["best_step"]) == ("-1e-09", "-1e-09", "3")
    assert (row["converged"], row["a"]) == ("true", "")
