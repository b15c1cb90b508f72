"""The budgets of the house: 400 lines a source file, 50 a function."""

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).resolve().parents[2]
SOURCES: Final = sorted((*ROOT.glob("app/**/*.py"), *ROOT.glob("worker/**/*.py")))
LONGEST_FILE_LINES: Final = 400
LONGEST_FUNCTION_LINES: Final = 50


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


def functions(tree: ast.Module) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_source_file_stays_within_its_budget(path: Path) -> None:
    text = path.read_text()
    long = [
        f"{function.name}: {function.end_lineno - function.lineno + 1}"
        for function in functions(ast.parse(text))
        if function.end_lineno is not None
        and function.end_lineno - function.lineno >= LONGEST_FUNCTION_LINES
    ]

    assert len(text.splitlines()) <= LONGEST_FILE_LINES
    assert long == []


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_source_file_says_what_it_is_for(path: Path) -> None:
    assert ast.get_docstring(ast.parse(path.read_text()))
