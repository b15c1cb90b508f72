"""Two columns of text to points: header or none; comma, semicolon or tab; decimal comma too."""

import csv
from collections.abc import Iterator
from typing import Final

from app.domain.errors import Flaw, InvalidSpec

_DELIMITERS: Final = (";", "\t", ",")


def parse_points(text: str) -> dict[str, list[float]]:
    """Return {"x": [...], "y": [...]}.

    The first row is a header when neither of its cells is a number; a header "y,x" swaps the
    columns, any other header leaves x first.

    Raises:
        InvalidSpec: A row has not two cells, or a cell is no number; the flaw names the line.
    """
    rows = _rows_of(text)
    first: list[float] = []
    second: list[float] = []
    header: list[str] = []
    for position, (line, cells) in enumerate(rows):
        if len(cells) != 2:  # noqa: PLR2004  # x and y
            detail = f"Line {line} has {len(cells)} cell(s): give two, x and y"
            raise _flawed("not-a-pair", detail)
        if position == 0 and not any(map(_is_number, cells)):
            header = [cell.strip().casefold() for cell in cells]
            continue
        try:
            left, right = _to_number(cells[0]), _to_number(cells[1])
        except ValueError:
            raise _flawed("not-a-number", f"Line {line} is not a pair of numbers") from None
        first.append(left)
        second.append(right)
    if not first:
        raise _flawed("too-short", "The CSV has no points: give at least one row of two numbers")
    return {"x": second, "y": first} if header == ["y", "x"] else {"x": first, "y": second}


def _rows_of(text: str) -> Iterator[tuple[int, list[str]]]:
    """Yield line number and cells of every line that is not blank."""
    lines = text.splitlines()
    head = next((line for line in lines if line.strip()), "")
    delimiter = next((mark for mark in _DELIMITERS if mark in head), ",")
    reader = csv.reader(lines, delimiter=delimiter, skipinitialspace=True)
    try:
        for cells in reader:
            if not any(cells):
                continue
            if delimiter == ";":
                # Where the comma is the decimal mark, the semicolon parts the cells.
                cells = [cell.replace(",", ".") for cell in cells]  # noqa: PLW2901
            yield reader.line_num, cells
    except csv.Error as error:
        raise _flawed("not-a-pair", f"Line {reader.line_num}: {error}") from error


def _to_number(cell: str) -> float:
    # Python also reads 1_000 and the digits of other scripts; a CSV means neither.
    if "_" in cell or not cell.isascii():
        raise ValueError(cell)
    return float(cell)


def _is_number(cell: str) -> bool:
    try:
        _to_number(cell)
    except ValueError:
        return False
    return True


def _flawed(code: str, detail: str) -> InvalidSpec:
    return InvalidSpec((Flaw(pointer="/data", code=code, detail=detail),))
