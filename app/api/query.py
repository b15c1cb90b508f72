"""Refuses query parameters that a path does not have, and those given twice.

A misspelt ?wiat must not pass unseen, nor one of two limits.
"""

import difflib
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any, Final, get_origin

from fastapi import Depends, Request
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute

from app.api.answer import PRETTY_NAME
from app.domain.errors import InvalidParameter

_CSV_TYPES: Final = ("text/csv", "text/tab-separated-values")
_NEAR_ENOUGH: Final = 0.6
_KNOWN: Final[dict[Callable[..., Any], frozenset[str]]] = {}


class QueryNames:
    """A dependency that does nothing but say which names a route reads from the query itself.

    Args:
        names: Parameter names; "tag." with a dot at the end stands for every name that begins so.
    """

    def __init__(self, *names: str) -> None:
        self.names = names

    async def __call__(self) -> None:
        """Do nothing: the names alone matter."""


def reads_query(*names: str) -> Any:  # noqa: ANN401  # what Depends is typed to return
    """Return a dependency for a route that reads query parameters without declaring them.

    Args:
        names: As for QueryNames.
    """
    return Depends(QueryNames(*names))


def declared_names(request: Request) -> frozenset[str]:
    """Return the query parameters of the route that serves a request; "pretty" is everybody's."""
    route = request.scope.get("route")
    if not isinstance(route, APIRoute):
        return frozenset({PRETTY_NAME})
    names = _KNOWN.get(route.endpoint)
    if names is None:
        names = _KNOWN[route.endpoint] = _collect(route.dependant)
    return names


def _collect(dependant: Dependant) -> frozenset[str]:
    names = {PRETTY_NAME}
    for current in _everything_below(dependant):
        names.update(field.alias for field in current.query_params)
        if isinstance(current.call, QueryNames):
            names.update(current.call.names)
    return frozenset(names)


def _everything_below(dependant: Dependant) -> Iterator[Dependant]:
    yield dependant
    for below in dependant.dependencies:
        yield from _everything_below(below)


async def check_query(request: Request) -> None:
    """Refuse names that this path does not read, and second values of those that take one.

    Beside a CSV body the query holds the spec, whose own check finds unknown names.

    Raises:
        InvalidParameter: The first such name, and what was perhaps meant.
    """
    if not request.scope["query_string"]:
        return
    known = declared_names(request)
    counts = Counter(name for name, _ in request.query_params.multi_items())
    for name, count in counts.items():
        if name in known or name.startswith(tuple(n for n in known if n.endswith("."))):
            if count > 1 and name not in _lists(request):
                raise InvalidParameter(f'The query parameter "{name[:60]}" is given twice')
            continue
        if request.headers.get("content-type", "").lower().startswith(_CSV_TYPES):
            return
        raise InvalidParameter(
            f'This path has no query parameter "{name[:60]}"{_hint(name, known)}'
        )


def _lists(request: Request) -> frozenset[str]:
    """Return the query parameters that may be repeated."""
    route = request.scope.get("route")
    if not isinstance(route, APIRoute):
        return frozenset()
    return frozenset(
        field.alias
        for dependant in _everything_below(route.dependant)
        for field in dependant.query_params
        if get_origin(field.field_info.annotation) is list
    )


def _hint(name: str, known: frozenset[str]) -> str:
    near = difflib.get_close_matches(name[:60], known, n=1, cutoff=_NEAR_ENOUGH)
    if near:
        return f': did you mean "{near[0]}"?'
    return f": it has {', '.join(sorted(known))}"
