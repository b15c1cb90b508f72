"""Drops what nobody reads, and names that only repeat another."""

import ast
from collections import Counter
from dataclasses import dataclass

from worker.engine.straight.calls import renamed
from worker.engine.straight.syntax import every, is_stored, statements
from worker.engine.straight.tuples import split_all


def drop_unread(body: list[ast.stmt]) -> list[ast.stmt]:
    """Return statements without those that work out what nobody reads."""
    while True:
        names = (node for node in every(body) if isinstance(node, ast.Name))
        read = {node.id for node in names if isinstance(node.ctx, ast.Load)}
        before = sum(1 for _ in statements(body))
        body = _reading(body, read)
        if sum(1 for _ in statements(body)) == before:
            return body


def _reading(body: list[ast.stmt], read: set[str]) -> list[ast.stmt]:
    done = list[ast.stmt]()
    for node in body:
        if isinstance(node, ast.If | ast.For):
            node.body = _reading(node.body, read) or [ast.Pass()]
            node.orelse = _reading(node.orelse, read)
        target = node.targets[0] if isinstance(node, ast.Assign) else None
        if not isinstance(target, ast.Name) or target.id in read:
            done.append(node)
    return done


def merge_copies(body: list[ast.stmt]) -> list[ast.stmt]:
    """Return statements in which a copy has the name of what it is a copy of, where that is safe."""
    names = [node for node in every(body) if isinstance(node, ast.Name)]
    return _Merge(
        written=Counter(node.id for node in names if is_stored(node)),
        met=Counter(node.id for node in names),
    ).merge(body)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Uses:
    """How often names are met in a statement, and which of them it writes."""

    met: Counter[str]
    written: set[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Merge:
    """How often each name is written and met in the whole function."""

    written: Counter[str]
    met: Counter[str]

    def merge(self, body: list[ast.stmt]) -> list[ast.stmt]:
        """Return a block with as few copies as it can do with."""
        for node in body:
            if isinstance(node, ast.If | ast.For):
                node.body = self.merge(node.body) or [ast.Pass()]
                node.orelse = self.merge(node.orelse)
        body = list(body)
        uses = [_uses_of(node) for node in body]
        for place, node in enumerate(body):
            pair = _copied(node)
            if pair is None:
                continue
            copy, _ = pair
            places = [at for at in range(place + 1, len(body)) if copy in uses[at].met]
            # A name that is met outside this block, or before, may have another value there.
            is_own = 1 + sum(uses[at].met[copy] for at in places) == self.met[copy]
            if places and is_own and self._is_safe(pair, place, places, body, uses):
                self._rename(pair, places, body, uses)
                body[place] = ast.Pass()
        return [node for node in split_all(body) if not isinstance(node, ast.Pass)]

    def _is_safe(
        self,
        pair: tuple[str, str],
        place: int,
        places: list[int],
        body: list[ast.stmt],
        uses: list[_Uses],
    ) -> bool:
        """Tell whether both names mean the same, or only one of them anything, wherever they are met."""
        copy, source = pair
        last = places[-1]
        between = range(place + 1, last)
        is_constant = self.written[copy] == 1 and not any(
            source in uses[at].written for at in (*between, last)
        )
        # The source waits until it is given a value anew, by the last statement that uses the copy.
        is_given_back = (
            not any(source in uses[at].met for at in between)
            and _is_given(body[last], source)
            and not any(isinstance(node, ast.Break) for node in every(body[place:last]))
        )
        return is_constant or is_given_back

    def _rename(
        self, pair: tuple[str, str], places: list[int], body: list[ast.stmt], uses: list[_Uses]
    ) -> None:
        copy, source = pair
        for at in places:
            body[at] = renamed(body[at], {copy: source})
            uses[at] = _uses_of(body[at])
        self.met[source] += self.met.pop(copy) - 2
        self.written[source] += self.written.pop(copy) - 1


def _uses_of(node: ast.stmt) -> _Uses:
    names = [part for part in ast.walk(node) if isinstance(part, ast.Name)]
    return _Uses(
        met=Counter(part.id for part in names),
        written={part.id for part in names if is_stored(part)},
    )


def _copied(node: ast.stmt) -> tuple[str, str] | None:
    """Return the two names of a statement that only copies."""
    if not isinstance(node, ast.Assign):
        return None
    target, value = node.targets[0], node.value
    if isinstance(target, ast.Name) and isinstance(value, ast.Name) and target.id != value.id:
        return target.id, value.id
    return None


def _is_given(node: ast.stmt, name: str) -> bool:
    """Tell whether a statement does nothing with a name but give it a value."""
    if not isinstance(node, ast.Assign):
        return False
    target = node.targets[0]
    return (
        isinstance(target, ast.Name)
        and target.id == name
        and all(part.id != name for part in ast.walk(node.value) if isinstance(part, ast.Name))
    )
