"""Works out before a loop what none of its rounds changes."""

import ast
from collections import Counter
from typing import Final

from worker.engine.straight.syntax import assign, every, has_place, is_stored, stored

_QUIET: Final = frozenset({"real", "wide", "int", "float", "abs"})
"""Calls of these may be made early, since they do not raise."""


def hoist(body: list[ast.stmt], parameters: set[str]) -> list[ast.stmt]:
    """Return statements with all that a loop does not change worked out before it."""
    done = list[ast.stmt]()
    # A name that is written once has no value before, which the first round might read.
    often = Counter(
        node.id for node in every(body) if isinstance(node, ast.Name) if is_stored(node)
    )
    once = {name for name, count in often.items() if count == 1} - parameters
    for node in body:
        if isinstance(node, ast.For):
            before = list[ast.stmt]()
            while moved := _moved(node, once):
                before += moved
            invariant = _Invariant(stored([node]))
            for statement in node.body:
                # Changed in its place.
                invariant.visit(statement)
            done += [*before, *invariant.statements]
        done.append(node)
    return done


def _moved(loop: ast.For, once: set[str]) -> list[ast.stmt]:
    """Take the assignments out of a loop that are the same in every round."""
    changing = stored([loop])
    moved = list[ast.stmt]()

    def sift(body: list[ast.stmt]) -> list[ast.stmt]:
        kept = list[ast.stmt]()
        for node in body:
            if isinstance(node, ast.If):
                node.body, node.orelse = sift(node.body) or [ast.Pass()], sift(node.orelse)
            can_move = (
                isinstance(node, ast.Assign)
                and _is_quiet(node.value, changing)
                and stored([node]) <= once
                and not has_place(node)
            )
            (moved if can_move else kept).append(node)
        return kept

    loop.body = sift(loop.body)
    return moved


class _Invariant(ast.NodeTransformer):
    """Gives names to the largest expressions that no round of a loop changes."""

    def __init__(self, changing: set[str]) -> None:
        self._changing = changing
        self._names = dict[str, str]()
        self.statements = list[ast.stmt]()

    def visit(self, node: ast.AST) -> ast.AST:
        """Replace an expression, or look into it."""
        if not isinstance(node, ast.expr) or isinstance(node, ast.Name | ast.Constant | ast.Tuple):
            self.generic_visit(node)
            return node
        if has_place(node) or not _is_quiet(node, self._changing):
            self.generic_visit(node)
            return node
        text = ast.unparse(node)
        if text not in self._names:
            self._names[text] = f"fixed_{len(self._names)}"
            self.statements.append(assign(ast.Name(self._names[text], ast.Store()), node))
        return ast.Name(self._names[text], ast.Load())


def _is_quiet(node: ast.expr, changing: set[str]) -> bool:
    """Tell whether an expression is the same in every round, and can be worked out at any time."""
    for part in ast.walk(node):
        if isinstance(part, ast.Name) and part.id in changing:
            return False
        if isinstance(part, ast.Div | ast.Pow | ast.IfExp):
            return False
        if isinstance(part, ast.Call) and not (
            isinstance(part.func, ast.Name) and part.func.id in _QUIET
        ):
            return False
    return True
