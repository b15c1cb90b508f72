"""Puts the figures of a run between two comments of a page, and touches nothing else of it."""

from collections.abc import Sequence
from typing import Final

from benchmarks.table import Row, to_markdown

BEGIN: Final = "<!-- figures: written by `make bench PAGE=1` -->"
END: Final = "<!-- end of figures -->"


def put_figures(page: str, rows: Sequence[Row], *, machine: str) -> str:
    """Return the page with these rows and the line about the machine.

    Raises:
        ValueError: The page has no place for them.
    """
    before, found, rest = page.partition(BEGIN)
    _, closed, after = rest.partition(END)
    if not found or not closed:
        raise ValueError(f"the page has no {BEGIN} with {END} after it")
    return f"{before}{BEGIN}\n{machine}\n\n{to_markdown(rows)}\n{END}{after}"
