"""The fault table in a page: what stands there, and writing it anew between its markers."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

from tests.chaos.rows.row import Row

BEGIN: Final = "<!-- faults: written by `make faults` -->"
END: Final = "<!-- end of faults -->"
NOT_MEASURED: Final = "not measured"
_HEADER: Final = (
    "| fault (jobs accepted) | template, defaults | template, best settings | fitjobs |",
    "|---|---|---|---|",
)


def read_cells(page: str) -> dict[str, str]:
    """Return what was measured before: first cell of a row to its last."""
    rows = [
        [cell.strip() for cell in line.strip("| ").split(" | ")]
        for line in _between(page).splitlines()
        if line.startswith("| ")
    ]
    return {row[0]: row[-1] for row in rows[1:]}


def write_table(path: Path, rows: Iterable[Row], cells: Mapping[str, str]) -> None:
    """Write the table between the markers; all else in the page stays as it is."""
    page = path.read_text(encoding="utf-8")
    lines = [
        f"| {row.fault} | {row.template} | {row.best} | {cells.get(row.fault, NOT_MEASURED)} |"
        for row in rows
    ]
    table = "\n".join((*_HEADER, *lines))
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    path.write_text(f"{before}{BEGIN}\n{table}\n{END}{after}", encoding="utf-8")


def _between(page: str) -> str:
    _, begin, rest = page.partition(BEGIN)
    between, end, _ = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"the page has no {BEGIN} and {END}")
    return between
