"""Reads ```console blocks from Markdown: commands after "$ " and the output that they promise."""

import re
from dataclasses import dataclass
from pathlib import Path

_BLOCK = re.compile(r"^```console\n(.*?)^```", re.DOTALL | re.MULTILINE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """One command of a page.

    Attributes:
        page: File that shows it.
        line: Where in the file, from 1.
        text: What a reader types.
        promised: The output shown below it, "" when none is shown; "…" stands for anything.
    """

    page: Path
    line: int
    text: str
    promised: str


def commands_of(page: Path) -> list[Command]:
    """Return the commands of a page in reading order."""
    source = page.read_text(encoding="utf-8")
    found: list[Command] = []
    for block in _BLOCK.finditer(source):
        first_line = source.count("\n", 0, block.start(1)) + 1
        found.extend(_commands_of_block(page, block.group(1), first_line))
    return found


def _commands_of_block(page: Path, block: str, first_line: int) -> list[Command]:
    # A "$ " at the start of a line begins a command; a trailing backslash continues it.
    parts = re.split(r"(?m)^\$ ", block)
    assert not parts[0].strip(), f"{page}:{first_line}: a console block begins with '$ '"
    found: list[Command] = []
    line = first_line + parts[0].count("\n")
    for part in parts[1:]:
        lines = part.splitlines()
        end = next(i for i, text in enumerate(lines) if not text.endswith("\\"))
        text = "\n".join(lines[: end + 1])
        promised = "\n".join(lines[end + 1 :]).strip()
        found.append(Command(page=page, line=line, text=text, promised=promised))
        line += part.count("\n")
    return found


def matches(promised: str, printed: str) -> bool:
    """Tell whether the output is what the page promises; "…" matches anything, spaces are loose."""
    text = " ".join(printed.split())
    at = 0
    for piece in promised.split("\u2026"):
        words = " ".join(piece.split())
        found = text.find(words, at)
        if found < 0:
            return False
        at = found + len(words)
    return True
