"""`python -m tests.chaos.faults [ROW ...]`: every row of the fault table, measured and written down.

The table stands in docs/reliability.md between two markers; rows that are not named keep what they
have. Exits with 1 when a promise was broken or a goal missed.
"""

import argparse
import asyncio
import os
import signal
import sys
import tempfile
from pathlib import Path
from types import FrameType
from typing import Final

from tests.chaos.rows.row import Measured, Row
from tests.chaos.rows.rows import ROWS
from tests.chaos.rows.sheet import read_cells, write_table
from tests.chaos.terminal import Terminal

PAGE: Final = Path(__file__).parents[2] / "docs" / "reliability.md"


def main(words: list[str] | None = None) -> int:
    """Measure rows and write the table; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.faults", description=__doc__)
    parser.add_argument("rows", nargs="*", metavar="ROW", help=", ".join(row.name for row in ROWS))
    parser.add_argument("--page", type=Path, default=PAGE, help="where the table stands")
    given = parser.parse_args(words)
    named, page = given.rows, given.page
    unknown = set(named) - {row.name for row in ROWS}
    if unknown:
        parser.error(f"no such row: {', '.join(sorted(unknown))}")
    # A stop by SIGTERM leaves as little behind as a Ctrl-C.
    signal.signal(signal.SIGTERM, _interrupt)
    terminal = Terminal()
    is_good = True
    try:
        for row in ROWS:
            if named and row.name not in named:
                continue
            measured = measure(row, terminal)
            # Read again each time: somebody else may measure another row meanwhile.
            cells = read_cells(page.read_text(encoding="utf-8")) | {row.fault: measured.cell()}
            is_good &= measured.is_good
            terminal.say(f"{row.name}: {measured.cell()}")
            for violation in (measured.violations or ())[:10]:
                terminal.say(f"  {violation.harm}, {violation.intent}: {violation.detail}")
            write_table(page, ROWS, cells)
    except KeyboardInterrupt:
        terminal.say("Stopped; nothing is left running.")
        return 130
    terminal.say(f"written into {page}, measured on {os.cpu_count()} cores")
    return 0 if is_good else 1


def measure(row: Row, terminal: Terminal) -> Measured:
    """Run one row's scenario in a directory of its own."""
    with tempfile.TemporaryDirectory(prefix="fitjobs-faults-") as directory:
        terminal.tell(f"{row.name}: starting")
        return asyncio.run(
            row.scenario(Path(directory), lambda line: terminal.tell(f"{row.name}: {line}"))
        )


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    signal.raise_signal(signal.SIGINT)


if __name__ == "__main__":
    sys.exit(main())
