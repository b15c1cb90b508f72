"""Columns of text to points: header or none; comma, semicolon or tab; decimal comma too.

Two columns are x and y; three are a batch's: which series the point is of, x and y.
"""

import csv
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from app.domain.errors import Flaw, InvalidSpec

_DELIMITERS: Final = (";", "\t", ",")


_ORDERS: Final[Mapping[int, tuple[str, ...]]] = {2: ("x", "y"), 3: ("series", "x", "y")}
"""What the columns are, by their number, when no header says it."""


def parse_points(text: str) -> dict[str, list[Any]]:
    """Return {"x": [...], "y": [...]}, of three columns also "series": [...], which are words.

    The first row is a header when its last two cells are no numbers; it may name the columns in
    another order, and any other header leaves them in the usual one.

    Raises:
        InvalidSpec: A row has not as many cells as the first, which has two or three, or a cell is
            no number; the flaw names the line.
    """
    order: tuple[str, ...] = ()
    columns: list[list[Any]] = []
    for line, cells in _rows_of(text):
        if not columns:
            order, is_header = _order_of(line, cells)
            columns = [[] for _ in order]
            if is_header:
                continue
        if len(cells) != len(order):
            detail = f"Line {line} has {len(cells)} cell(s): give {len(order)}, as in the first"
            raise _flawed("not-a-pair", detail)
        try:
            for name, column, cell in zip(order, columns, cells, strict=True):
                column.append(cell if name == "series" else _to_number(cell))
        except ValueError:
            numbers = "a pair of numbers" if len(order) == len(_ORDERS[2]) else "a name and numbers"
            raise _flawed("not-a-number", f"Line {line} is not {numbers}") from None
    if not any(columns):
        raise _flawed("too-short", "The CSV has no points: give at least one row of two numbers")
    return dict(zip(order, columns, strict=True))


def _order_of(line: int, cells: Sequence[str]) -> tuple[tuple[str, ...], bool]:
    """Return what the columns are, and whether the first row is a header."""
    usual = _ORDERS.get(len(cells))
    if usual is None:
        detail = f"Line {line} has {len(cells)} cell(s): give two, x and y, or series, x and y"
        raise _flawed("not-a-pair", detail)
    if any(map(_is_number, cells[-2:])):
        return usual, False
    header = tuple(cell.strip().casefold() for cell in cells)
    return (header if sorted(header) == sorted(usual) else usual), True


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
                # A name keeps its own.
                cells = [_with_point(cell) for cell in cells]  # noqa: PLW2901
            yield reader.line_num, cells
    except csv.Error as error:
        raise _flawed("not-a-pair", f"Line {reader.line_num}: {error}") from error


def _with_point(cell: str) -> str:
    """Return a number with a decimal point in place of a comma, anything else as it is."""
    pointed = cell.replace(",", ".")
    return pointed if _is_number(pointed) else cell


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
