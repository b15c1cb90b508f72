"""The vocabulary: banned words in names, and no trace of one machine in the repository."""

import ast
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).resolve().parents[2]
SOURCES: Final = sorted((*ROOT.glob("app/**/*.py"), *ROOT.glob("worker/**/*.py")))
BANNED: Final = frozenset(
    {"trial", "epoch", "model", "train", "manager", "helper", "utils", "common", "misc", "canceled"}
)
"""The glossary has a better word for each."""
ALLOWED: Final = re.compile(r"^(model_\w+|_EPOCH)$")
"""pydantic's own names, and the instant from which Unix counts."""
HOME: Final = re.compile(r"/(home|root|Users)/[A-Za-z.]")


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


def words(name: str) -> set[str]:
    """Return the words of a snake_case or CamelCase name, plurals as singulars."""
    parts = re.findall(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])", name)
    lower = {part.lower() for part in parts}
    return lower | {word.removesuffix("s") for word in lower}


def names(tree: ast.Module) -> Iterator[str]:
    """Yield every name that a file gives to something."""
    for node in ast.walk(tree):
        match node:
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
                yield node.name
            case ast.Name(ctx=ast.Store()):
                yield node.id
            case ast.arg():
                yield node.arg


def tracked() -> list[Path]:
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True
    ).stdout
    return [ROOT / name for name in listed.decode().split("\0") if name and (ROOT / name).exists()]


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_names_keep_to_the_glossary(path: Path) -> None:
    given = [path.stem, *names(ast.parse(path.read_text()))]

    assert [name for name in given if words(name) & BANNED and not ALLOWED.match(name)] == []


def test_words_of_a_name_are_seen() -> None:
    assert words("FitModels") & BANNED
    assert words("num_epochs") & BANNED
    assert words("constrained") & BANNED == set()


def test_no_path_of_one_machine_is_tracked() -> None:
    here = Path(__file__)
    found = [
        name_of(path)
        for path in tracked()
        if path != here and HOME.search(path.read_text(errors="ignore"))
    ]

    assert found == []
