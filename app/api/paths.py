"""Which paths exist and which methods each takes: for Allow, OPTIONS and "did you mean"."""

import difflib
import re
from collections.abc import Iterable
from typing import Final

from fastapi.routing import iter_route_contexts
from starlette.routing import BaseRoute, compile_path

_NEAR_ENOUGH: Final = 0.7


class Paths:
    """The routes of an application, seen from outside.

    Args:
        routes: Everything that the application serves.
    """

    def __init__(self, routes: Iterable[BaseRoute]) -> None:
        self._methods: dict[str, set[str]] = {}
        for context in iter_route_contexts(list(routes)):
            self._methods.setdefault(str(context.path), set()).update(context.methods or ())
        self._patterns: list[tuple[re.Pattern[str], str]] = [
            (compile_path(template)[0], template) for template in self._methods
        ]

    def methods_at(self, path: str) -> tuple[str, ...]:
        """Return the methods that a path takes, sorted; none when there is no such path."""
        methods: set[str] = set()
        for pattern, template in self._patterns:
            if pattern.match(path):
                methods |= self._methods[template]
        if not methods:
            return ()
        return tuple(sorted(methods | {"OPTIONS"} | ({"HEAD"} if "GET" in methods else set())))

    def nearest(self, path: str) -> str | None:
        """Return a path that was perhaps meant, with the path's own segments in its gaps."""
        filled = [_fill(template, path) for template in self._methods]
        tidy = re.sub("/{2,}", "/", path).rstrip("/") or "/"
        if tidy != path and self.methods_at(tidy):
            return tidy
        found = difflib.get_close_matches(path[:200], filled, n=1, cutoff=_NEAR_ENOUGH)
        return found[0] if found else None


def _fill(template: str, path: str) -> str:
    """Put the segments of a path in the places of a template's parameters."""
    given = path.split("/")
    return "/".join(
        given[i] if part.startswith("{") and i < len(given) and given[i] else part
        for i, part in enumerate(template.split("/"))
    )
