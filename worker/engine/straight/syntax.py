"""What a piece of code writes, and an assignment made by hand."""

import ast
from collections.abc import Iterable, Iterator


def assign(target: ast.expr, value: ast.expr) -> ast.Assign:
    """Return a statement that gives a name its value."""
    return ast.Assign(targets=[target], value=value, lineno=0)


def every(body: Iterable[ast.AST]) -> Iterator[ast.AST]:
    """Yield all nodes of all statements."""
    return (node for statement in body for node in ast.walk(statement))


def statements(body: Iterable[ast.stmt]) -> Iterator[ast.stmt]:
    """Yield statements, and those within them."""
    return (node for node in every(body) if isinstance(node, ast.stmt))


def is_stored(node: ast.AST) -> bool:
    """Tell whether a node is a name that is written."""
    return isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)


def stored(body: Iterable[ast.AST]) -> set[str]:
    """Return the names that are written."""
    return {
        node.id
        for statement in body
        for node in ast.walk(statement)
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)
    }


def has_place(node: ast.AST) -> bool:
    """Tell whether something is written into a list."""
    return any(
        isinstance(part, ast.Subscript) and isinstance(part.ctx, ast.Store)
        for part in ast.walk(node)
    )
