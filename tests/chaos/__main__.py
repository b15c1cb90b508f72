"""`python -m tests.chaos [--seconds 600] [--seed N]`: chaos against a service of its own.

Exits with 1 when a promise was broken, and prints every story of one.
"""

import argparse
import asyncio
import secrets
import signal
import sys
import tempfile
from pathlib import Path
from types import FrameType
from typing import Final

from tests.chaos import report
from tests.chaos.soak import Findings, soak
from tests.chaos.stack import Stack
from tests.chaos.terminal import Terminal

DEFAULT_SECONDS: Final = 600.0


def main(words: list[str] | None = None) -> int:
    """Run chaos and print what it found; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--seconds", type=float, default=DEFAULT_SECONDS)
    parser.add_argument("--seed", type=int, default=secrets.randbelow(1_000_000))
    parser.add_argument(
        "--keep", type=Path, help="directory for data, logs and ledger; else nothing is kept"
    )
    given = parser.parse_args(words)
    # A stop by SIGTERM leaves as little behind as a Ctrl-C, which a shell's background ignores.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, _interrupt)
    terminal = Terminal()
    terminal.say(f"chaos for {given.seconds:g} s, seed {given.seed}")
    try:
        found = run_soak(given.seconds, given.seed, terminal, keep=given.keep)
    except KeyboardInterrupt:
        terminal.say("Stopped; nothing is left running.")
        return 130
    for line in report.stories(found):
        terminal.say(line)
    terminal.say(f"\n{report.table(found)}\n\n{report.summary(found)}")
    verdict = (
        f"{len(found.violations)} promises broken" if found.violations else "no promise broken"
    )
    terminal.say(f"{verdict} (seed {given.seed})")
    return 1 if found.violations else 0


def run_soak(
    seconds: float, seed: int, terminal: Terminal, *, keep: Path | None = None
) -> Findings:
    """Run chaos against a stack in a directory that is removed afterwards, unless it is named."""
    with tempfile.TemporaryDirectory(prefix="fitjobs-chaos-") as temporary:
        directory = keep or Path(temporary)
        terminal.tell("starting Redis, the workers and the API ...")
        with Stack(directory) as stack:
            found = asyncio.run(soak(stack, seconds=seconds, seed=seed, tell=terminal.tell))
        if keep is not None:
            found.ledger.write(keep / "ledger.jsonl")
    return found


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    signal.raise_signal(signal.SIGINT)


if __name__ == "__main__":
    sys.exit(main())
