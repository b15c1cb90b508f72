"""The goal table: rows, how they are printed and how they are written down."""

import json
import textwrap
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

_HEADINGS: Final = ("case", "goal", "measured", "ratio", "")
_MEASURED_WIDTH: Final = 64
_WHOLE_FROM: Final = 100.0
"""Ratios from here on are shown without decimals: these machines do not hold three digits."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One goal and what one run of the benchmarks found.

    Args:
        case: What was measured, against whom.
        goal: The goal in words, with its bound; "" when the row only tells of a peer.
        measured: What was found, with units, or why nothing could be measured.
        ratio: The ratio that the goal speaks of; `None` if the goal is no ratio or nothing was
            measured.
        passed: Whether the goal was met. A goal that could not be measured is not met.
    """

    case: str
    goal: str
    measured: str
    ratio: float | None
    passed: bool


def to_text(rows: Sequence[Row]) -> str:
    """Return an aligned table whose lines end in `pass`, in `SHORT`, or in `-` without a goal."""
    cells = [_HEADINGS, *(line for row in rows for line in _lines(row))]
    widths = [max(len(line[column]) for line in cells) for column in range(len(_HEADINGS))]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in cells
    ]
    return "\n".join([lines[0], "  ".join("-" * width for width in widths).rstrip(), *lines[1:]])


def to_markdown(rows: Sequence[Row]) -> str:
    """Return a Markdown table, for a page of the documentation."""
    lines = ["| case | goal | measured | ratio | met |", "|---|---|---|---|---|"]
    lines += [
        f"| {row.case} | {row.goal} | {row.measured} | {_ratio(row)} | {_verdict(row)} |"
        for row in rows
    ]
    return "\n".join(lines)


def write_json(rows: Sequence[Row], path: Path, *, machine: str) -> None:
    """Write the rows and a line about the machine to `path`."""
    document = {"machine": machine, "rows": [asdict(row) for row in rows]}
    path.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")


def _lines(row: Row) -> list[tuple[str, ...]]:
    """Return the row's cells, and more lines for what was measured when it is long."""
    case, goal, measured, ratio, verdict = _cells(row)
    first, *rest = textwrap.wrap(measured, _MEASURED_WIDTH) or [""]
    return [(case, goal, first, ratio, verdict), *(("", "", line, "", "") for line in rest)]


def _cells(row: Row) -> tuple[str, ...]:
    return (row.case, row.goal, row.measured, _ratio(row), _verdict(row))


def _verdict(row: Row) -> str:
    if not row.goal:
        return "-"
    return "pass" if row.passed else "SHORT"


def _ratio(row: Row) -> str:
    if row.ratio is None:
        return "-"
    return f"{row.ratio:,.0f}" if row.ratio >= _WHOLE_FROM else f"{row.ratio:.3g}"
