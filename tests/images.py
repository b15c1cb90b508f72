"""Reads the Dockerfile: its stages, and what each of their instructions says."""

import json
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[1]


@dataclass
class Stage:
    """One FROM and what follows it; instructions are (word, text) with continuations joined."""

    parent: str
    name: str
    instructions: list[tuple[str, str]] = field(default_factory=list)

    def lines(self, word: str) -> list[str]:
        return [text for name, text in self.instructions if name == word]

    def command(self, word: str) -> list[str]:
        """Return the words of CMD, or of HEALTHCHECK's CMD, in their JSON form."""
        (text,) = self.lines(word)
        words: list[str] = json.loads(text[text.index("[") :])
        return words


def stages() -> list[Stage]:
    """Return the Dockerfile's stages in order."""
    text = re.sub(r"^#.*\n", "", (ROOT / "Dockerfile").read_text(), flags=re.MULTILINE)
    found: list[Stage] = []
    for line in re.sub(r"\s*\\\n\s*", " ", text).splitlines():
        word, _, rest = line.partition(" ")
        if word == "FROM":
            parent, _, name = rest.partition(" AS ")
            found.append(Stage(parent, name))
        elif word:
            found[-1].instructions.append((word, rest))
    return found


def stage_of(name: str) -> Stage:
    """Return the stage of that name."""
    return next(stage for stage in stages() if stage.name == name)
