"""Gives each number of a tuple a name of its own."""

import ast

from worker.engine.straight.syntax import assign, every, stored


def take_apart(body: list[ast.stmt]) -> list[ast.stmt]:
    """Return statements in which a name of a tuple has become a name for each of its numbers."""
    while True:
        body = split_all(body)
        lengths = _lengths(body)
        if not lengths:
            return body
        body = [_Scalars(lengths).visit(node) for node in body]


def _lengths(body: list[ast.stmt]) -> dict[str, int]:
    """Return the names that are only ever given tuples of one length, with it."""
    found = dict[str, set[int]]()
    for node in every(body):
        if isinstance(node, ast.Assign):
            target, value = node.targets[0], node.value
            is_tuple = isinstance(target, ast.Name) and isinstance(value, ast.Tuple)
            length = len(value.elts) if is_tuple and isinstance(value, ast.Tuple) else 0
            for name in stored([target]):
                found.setdefault(name, set()).add(length)
        elif isinstance(node, ast.For):
            for name in stored([node.target]):
                found.setdefault(name, set()).add(0)
    return {name: min(sizes) for name, sizes in found.items() if len(sizes) == 1 and 0 not in sizes}


class _Scalars(ast.NodeTransformer):
    """Puts the numbers' names in place of the tuples'."""

    def __init__(self, lengths: dict[str, int]) -> None:
        self._lengths = lengths

    def visit_Subscript(self, node: ast.Subscript) -> ast.expr:
        """Return the name of a number of a tuple."""
        value, index = node.value, node.slice
        if isinstance(value, ast.Name) and value.id in self._lengths:
            if not (isinstance(index, ast.Constant) and isinstance(index.value, int)):
                raise TypeError(f"{value.id} is asked for a place that is no number")
            return ast.Name(f"{value.id}_{index.value}", node.ctx)
        self.generic_visit(node)
        return node

    def visit_Name(self, node: ast.Name) -> ast.expr:
        """Return the names of all numbers of a tuple."""
        count = self._lengths.get(node.id)
        if count is None:
            return node
        names: list[ast.expr] = [ast.Name(f"{node.id}_{place}", node.ctx) for place in range(count)]
        return ast.Tuple(names, node.ctx)


def split_all(body: list[ast.stmt]) -> list[ast.stmt]:
    """Return statements that give one name a value each, wherever that is the same."""
    done = list[ast.stmt]()
    for node in body:
        if isinstance(node, ast.If | ast.For):
            node.body = split_all(node.body) or [ast.Pass()]
            node.orelse = split_all(node.orelse)
            done.append(node)
        elif isinstance(node, ast.Assign):
            done += _split(node.targets[0], node.value)
        else:
            done.append(node)
    return done


def _split(target: ast.expr, value: ast.expr) -> list[ast.stmt]:
    """Return one assignment for each name of several, where none changes what a later one reads."""
    if not (isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple)):
        if isinstance(target, ast.Name) and isinstance(value, ast.Name) and target.id == value.id:
            return []
        return [assign(target, value)]
    pairs = list(zip(target.elts, value.elts, strict=True))
    written = set[str]()
    for to, what in pairs:
        if written & {node.id for node in ast.walk(what) if isinstance(node, ast.Name)}:
            return [assign(target, value)]
        written |= {node.id for node in ast.walk(to) if isinstance(node, ast.Name)}
    return [statement for pair in pairs for statement in _split(*pair)]
