"""Puts functions in place of their calls."""

import ast
from collections.abc import Iterable, Mapping
from copy import deepcopy
from typing import Final

from worker.engine.straight.syntax import assign, stored

_KEPT: Final = frozenset({"single", "power", "root"})
"""Words, not functions of the text: what they mean is the executor's."""


class Inliner:
    """Expands calls of functions without loops.

    Args:
        functions: By the names that they are called by.
    """

    def __init__(self, functions: Mapping[str, ast.FunctionDef]) -> None:
        self._functions = functions
        self._count = 0

    def expand(self, statements: Iterable[ast.stmt]) -> list[ast.stmt]:
        """Return statements without calls of known functions."""
        expanded = list[ast.stmt]()
        for statement in statements:
            expanded += self._expand_one(statement)
        return expanded

    def _expand_one(self, statement: ast.stmt) -> list[ast.stmt]:
        if isinstance(statement, ast.If | ast.For):
            statement.body = self.expand(statement.body)
            statement.orelse = self.expand(statement.orelse)
            return [statement]
        if not isinstance(statement, ast.Assign | ast.Expr):
            return [statement]
        value = statement.value
        if isinstance(value, ast.IfExp) and isinstance(statement, ast.Assign):
            if not any(self._callee(node) for node in ast.walk(value)):
                return [statement]
            yes, no = ([assign(statement.targets[0], part)] for part in (value.body, value.orelse))
            return [ast.If(test=value.test, body=self.expand(yes), orelse=self.expand(no))]
        if isinstance(value, ast.Call) and (callee := self._callee(value)):
            target = statement.targets[0] if isinstance(statement, ast.Assign) else None
            return self._inline(value, callee, target)
        before = _Calls(self)
        statement.value = before.visit(value)
        return [*before.statements, statement]

    def _callee(self, node: ast.AST) -> ast.FunctionDef | None:
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            found = self._functions.get(node.func.id)
            if found is not None and not _has_loop(found) and found.name not in _KEPT:
                return found
        return None

    def replace(self, call: ast.Call) -> tuple[list[ast.stmt], ast.expr] | None:
        """Return what computes a call's value, and the name of it; None when it is no known one."""
        callee = self._callee(call)
        if callee is None:
            return None
        name = self._fresh("value")
        return self._inline(call, callee, ast.Name(name, ast.Store())), ast.Name(name, ast.Load())

    def _inline(
        self, call: ast.Call, callee: ast.FunctionDef, target: ast.expr | None
    ) -> list[ast.stmt]:
        prefix = self._fresh(callee.name)
        own = {name: f"{prefix}_{name}" for name in stored(callee.body)}
        given = dict[str, ast.expr]()
        statements = list[ast.stmt]()
        for parameter, argument in zip(callee.args.args, call.args, strict=True):
            word = parameter.arg
            if word not in own and isinstance(argument, ast.Name | ast.Constant):
                given[word] = argument
                continue
            own[word] = f"{prefix}_{word}"
            statements.append(assign(ast.Name(own[word], ast.Store()), argument))
        body = [renamed(deepcopy(node), own, given) for node in _without_docstring(callee)]
        return self.expand([*statements, *_returning(body, target)])

    def _fresh(self, word: str) -> str:
        self._count += 1
        return f"{word}_{self._count}"


class _Calls(ast.NodeTransformer):
    """Takes the calls out of an expression, innermost first; those that may not happen stay."""

    def __init__(self, inliner: Inliner) -> None:
        self._inliner = inliner
        self.statements = list[ast.stmt]()

    def visit_Call(self, node: ast.Call) -> ast.expr:
        """Take out those within it, then it."""
        self.generic_visit(node)
        replaced = self._inliner.replace(node)
        if replaced is None:
            return node
        statements, value = replaced
        self.statements += statements
        return value

    def visit_IfExp(self, node: ast.IfExp) -> ast.expr:
        """Leave it as it is."""
        return node

    def visit_BoolOp(self, node: ast.BoolOp) -> ast.expr:
        """Leave it as it is."""
        return node


def renamed(
    node: ast.stmt, own: dict[str, str], given: dict[str, ast.expr] | None = None
) -> ast.stmt:
    """Return a statement with other names, changed in its place.

    Args:
        node: To change.
        own: New names by the old ones.
        given: Expressions that take the place of names that are only read.
    """
    changed: ast.stmt = _Renamed(own, given or {}).visit(node)
    return changed


class _Renamed(ast.NodeTransformer):
    def __init__(self, own: dict[str, str], given: dict[str, ast.expr]) -> None:
        self._own = own
        self._given = given

    def visit_Name(self, node: ast.Name) -> ast.expr:
        """Return its new name, or what it stands for."""
        if node.id in self._own:
            return ast.Name(self._own[node.id], node.ctx)
        return deepcopy(self._given[node.id]) if node.id in self._given else node


def _returning(body: list[ast.stmt], target: ast.expr | None) -> list[ast.stmt]:
    """Return a body that assigns where it returned; what follows an early return is its `else`."""
    done = list[ast.stmt]()
    for place, node in enumerate(body):
        if isinstance(node, ast.Return):
            if target is not None and node.value is not None:
                done.append(assign(deepcopy(target), node.value))
            break
        if isinstance(node, ast.If) and isinstance(node.body[-1], ast.Return):
            rest = [*node.orelse, *body[place + 1 :]]
            then, other = _returning(node.body, target), _returning(rest, target)
            done.append(ast.If(test=node.test, body=then, orelse=other))
            break
        done.append(node)
    return done


def _has_loop(function: ast.FunctionDef) -> bool:
    return any(isinstance(node, ast.For) for node in ast.walk(function))


def _without_docstring(function: ast.FunctionDef) -> list[ast.stmt]:
    first = function.body[0]
    is_text = isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant)
    return function.body[1:] if is_text else function.body
