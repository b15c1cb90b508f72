"""`python -m benchmarks [PART ...]`: measures, prints the goal table, says on which machine."""

import argparse
import importlib
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from benchmarks import machine
from benchmarks.page import put_figures
from benchmarks.table import Row, to_text, write_json
from benchmarks.verdict import missing

Measure = Callable[..., list[Row]]

ENGINE: Final = ("one_run", "sweeps", "many_points", "every_rule", "fits", "histories")
"""Modules with a function measure(quick=...) that time the engine in this process."""
HOUSE: Final = ("cold", "memory", "experiment", "service", "shards")
"""Likewise, but they start processes of their own, most of them the service."""
PARTS: Final = (*ENGINE, *HOUSE)


def main(words: list[str] | None = None) -> int:
    """Measure the parts that were asked for, all by default; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks")
    choices = ("engine", *PARTS)
    parser.add_argument("parts", nargs="*", metavar="PART", help=", ".join(choices))
    parser.add_argument("--quick", action="store_true", help="fewer rounds, smaller sizes")
    parser.add_argument("--json", type=Path, metavar="PATH", help="also write the rows there")
    parser.add_argument("--page", type=Path, metavar="PATH", help="put the figures into this page")
    asked = parser.parse_args(words)
    unknown = [part for part in asked.parts if part not in choices]
    if unknown:
        parser.error(f"no part {unknown[0]}: choose from {', '.join(choices)}")
    machine.pin()
    rows, status = collect(_parts(asked.parts), quick=asked.quick)
    about = machine.describe()
    sys.stdout.write(f"\n{to_text(rows)}\n\n{about}\n{_count(rows)}\n")
    if asked.json is not None:
        write_json(rows, asked.json, machine=about)
    if asked.page is not None:
        page = asked.page.read_text(encoding="utf-8")
        asked.page.write_text(put_figures(page, rows, machine=about), encoding="utf-8")
    return status


def collect(
    parts: Sequence[str], *, quick: bool, measure: Measure | None = None
) -> tuple[list[Row], int]:
    """Return the rows of all parts and an exit status, 1 when a part broke off.

    Args:
        parts: Names, in the order of measuring.
        quick: Fewer rounds, smaller sizes.
        measure: Returns the rows of a part.
    """
    rows, status = list[Row](), 0
    for part in parts:
        try:
            rows += (measure or _measure)(part, quick=quick)
        except Exception as error:  # noqa: BLE001 - the others took minutes and are worth printing
            traceback.print_exc()
            why = f"{type(error).__name__}: {error}"
            rows.append(missing(part, "comes to its end", why))
            status = 1
    return rows, status


def _parts(asked: list[str]) -> tuple[str, ...]:
    if not asked:
        return PARTS
    wanted = {name for part in asked for name in (ENGINE if part == "engine" else (part,))}
    return tuple(part for part in PARTS if part in wanted)


def _measure(part: str, *, quick: bool) -> list[Row]:
    # Loaded one by one: each library reads its number of threads when it is loaded.
    module = importlib.import_module(f"benchmarks.{part}")
    measure: Measure = module.measure
    started = time.monotonic()
    rows = measure(quick=quick)
    sys.stdout.write(f"{part}: {time.monotonic() - started:.0f} s\n")
    sys.stdout.flush()
    return rows


def _count(rows: list[Row]) -> str:
    goals = [row for row in rows if row.goal]
    return f"{sum(row.passed for row in goals)} of {len(goals)} goals are met"


if __name__ == "__main__":
    sys.exit(main())
