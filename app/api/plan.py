"""Serves a route by a plan of its dependencies that was made once, where FastAPI makes it each time.

FastAPI looks through the tree of dependencies of every request anew: two thirds of a millisecond for
a submit. The plan is made of the same tree, which stays what the schema is made of and what decides
who may ask. A route with anything in it that the plan does not know is left to FastAPI.
"""

import inspect
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final

from fastapi import Request
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute
from starlette.responses import Response

Handler = Callable[[Request], Awaitable[Response]]

_PLAIN: Final = (str, str | None)
"""Types of parameters that no validation changes."""


class _NotPlain(Exception):
    """The tree has something that only FastAPI can serve."""


@dataclass(frozen=True, slots=True)
class _Step:
    """One dependency, or at last the endpoint.

    Attributes:
        call: What is awaited.
        requests: Names of arguments that take the request.
        results: Arguments that take what an earlier step returned: name and position.
        paths: Arguments that take a part of the path: name and alias.
        queries: Arguments that take a query parameter: name, alias and default.
        headers: Likewise for headers.
    """

    call: Callable[..., Awaitable[Any]]
    requests: tuple[str, ...]
    results: tuple[tuple[str, int], ...]
    paths: tuple[tuple[str, str], ...]
    queries: tuple[tuple[str, str, str | None], ...]
    headers: tuple[tuple[str, str, str | None], ...]

    def arguments(self, request: Request, results: list[Any]) -> dict[str, Any]:
        """Return what the call is made with."""
        given: dict[str, Any] = dict.fromkeys(self.requests, request)
        for name, position in self.results:
            given[name] = results[position]
        for name, alias in self.paths:
            given[name] = request.path_params[alias]
        for name, alias, default in self.queries:
            given[name] = request.query_params.get(alias, default)
        for name, alias, default in self.headers:
            given[name] = request.headers.get(alias, default)
        return given


class PlannedRoute(APIRoute):
    """A route that is served by a plan when its dependencies are plain, and by FastAPI otherwise."""

    def get_route_handler(self) -> Any:  # noqa: ANN401  # as FastAPI types it
        """Return what answers a request."""
        usual = super().get_route_handler()
        steps = plan_of(usual)
        if steps is None:
            return usual

        async def serve(request: Request) -> Response:
            if request.app.dependency_overrides:
                # Only tests have any.
                return await usual(request)
            results: list[Any] = []
            for step in steps:
                results.append(await step.call(**step.arguments(request, results)))
            answer: Response = results[-1]
            return answer

        return serve


def plan_of(handler: Callable[..., Any]) -> tuple[_Step, ...] | None:
    """Return the plan of what FastAPI's own handler would do; None where that must do it.

    Args:
        handler: From APIRoute.get_route_handler; it alone knows the whole tree, with what the
            application puts before every route.
    """
    dependant = inspect.getclosurevars(handler).nonlocals.get("dependant")
    if not isinstance(dependant, Dependant):
        return None
    try:
        return tuple(_flatten(dependant))
    except _NotPlain:
        return None


def _flatten(root: Dependant) -> Iterator[_Step]:
    """Yield the steps in FastAPI's order, each call once."""
    places: dict[Callable[..., Any], int] = {}

    def visit(dependant: Dependant) -> Iterator[_Step]:
        for below in dependant.dependencies:
            if below.call not in places:
                yield from visit(below)
        step = _make_step(dependant, places)
        places[step.call] = len(places)
        yield step

    return visit(root)


def _make_step(dependant: Dependant, places: dict[Callable[..., Any], int]) -> _Step:
    call = dependant.call
    if call is None or not _is_plain(dependant, call):
        raise _NotPlain
    return _Step(
        call=call,
        requests=(dependant.request_param_name,) if dependant.request_param_name else (),
        results=tuple(
            (below.name, places[below.call])
            for below in dependant.dependencies
            if below.name is not None and below.call is not None
        ),
        paths=tuple((name, alias) for name, alias, _ in _parameters(dependant.path_params)),
        queries=tuple(_parameters(dependant.query_params)),
        headers=tuple(_parameters(dependant.header_params)),
    )


def _is_plain(dependant: Dependant, call: Callable[..., Any]) -> bool:
    is_async = inspect.iscoroutinefunction(call) or inspect.iscoroutinefunction(
        getattr(call, "__call__", None)  # noqa: B004  # an object whose call is a coroutine
    )
    others = (
        dependant.cookie_params,
        dependant.body_params,
        dependant.websocket_param_name,
        dependant.http_connection_param_name,
        dependant.response_param_name,
        dependant.background_tasks_param_name,
        dependant.security_scopes_param_name,
        dependant.concurrency,
    )
    return is_async and dependant.use_cache and not any(others)


def _parameters(fields: list[Any]) -> Iterator[tuple[str, str, Any]]:
    """Yield name, alias and default of parameters that are taken as they come."""
    for field in fields:
        info = field.field_info
        is_taken_as_it_comes = info.annotation in _PLAIN and not info.metadata
        # A header without an alias is called by its name with dashes: FastAPI's business.
        if not is_taken_as_it_comes or info.alias != field.alias:
            raise _NotPlain
        yield field.name, field.alias, None if info.is_required() else info.default
