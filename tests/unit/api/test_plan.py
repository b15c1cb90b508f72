"""Routes that are served by a plan do what FastAPI would have done."""

from typing import Annotated, Any

import pytest
from fastapi import APIRouter, Depends, FastAPI, Header, Path, Query, Request, Response
from starlette.testclient import TestClient

from app.api.plan import PlannedRoute, plan_of
from app.api.query import check_query
from app.api.routes import ROUTERS
from app.api.security import refuse_cross_site, require_key
from app.main import create_app
from app.settings import Settings

HOT = {
    ("POST", "/v1/jobs"),
    ("PUT", "/v1/jobs/{id}"),
    ("POST", "/fit"),
    ("POST", "/compare"),
    ("GET", "/v1/jobs/{id}"),
}


class Refused(Exception):
    pass


async def count(request: Request) -> list[str]:
    calls: list[str] = request.app.state.calls
    calls.append("count")
    return calls


async def guard(
    calls: Annotated[list[str], Depends(count)],
    key: Annotated[str | None, Header(alias="X-Key")] = None,
) -> None:
    calls.append(f"guard {key}")
    if key == "bad":
        raise Refused


async def show(
    calls: Annotated[list[str], Depends(count)],
    name: Annotated[str, Path(alias="id")],
    word: Annotated[str | None, Query(alias="w")] = "none",
) -> Response:
    return Response(f"{name} {word} {' '.join(calls)}")


def make_app(route_class: type[Any] | None) -> FastAPI:
    options = {} if route_class is None else {"route_class": route_class}
    router = APIRouter(**options)
    router.get("/things/{id}")(show)
    app = FastAPI(dependencies=[Depends(guard)])
    app.include_router(router)

    async def refuse(_request: Request, _error: Exception) -> Response:
        return Response("refused", status_code=403)

    app.add_exception_handler(Refused, refuse)
    return app


@pytest.mark.parametrize(
    ("path", "headers"),
    [
        ("/things/a", {}),
        ("/things/a%20b?w=1", {"X-Key": "k"}),
        ("/things/a?w=1&w=2", {}),
        ("/things/a?w", {}),
        ("/things/a?other=1", {"x-key": "good"}),
        ("/things/a", {"X-Key": "bad"}),
    ],
)
def test_plan_answers_as_fastapi_does(path: str, headers: dict[str, str]) -> None:
    answers: list[tuple[int, str, list[str]]] = []
    for route_class in (None, PlannedRoute):
        app = make_app(route_class)
        app.state.calls = []
        answer = TestClient(app).get(path, headers=headers)
        answers.append((answer.status_code, answer.text, app.state.calls))

    assert answers[0] == answers[1]


def test_plan_has_the_application_s_own_guards_first(monkeypatch: pytest.MonkeyPatch) -> None:
    planned: dict[tuple[str, str], list[object]] = {}

    class Spy(PlannedRoute):
        def get_route_handler(self) -> Any:
            handler = super(PlannedRoute, self).get_route_handler()
            steps = plan_of(handler)
            if steps is not None:
                planned.update(
                    {(method, self.path): [step.call for step in steps] for method in self.methods}
                )
            return handler

    for router in ROUTERS:
        for route in router.routes:
            if type(route) is PlannedRoute:
                monkeypatch.setattr(route, "__class__", Spy)
    create_app(Settings())

    assert set(planned) >= HOT
    for calls in planned.values():
        guards = [call for call in calls if call in {require_key, refuse_cross_site, check_query}]
        assert guards == [require_key, refuse_cross_site, check_query]
        assert calls.index(check_query) < 5


def test_route_that_is_not_plain_is_left_to_fastapi() -> None:
    async def count_up(number: Annotated[int, Query()] = 1) -> Response:
        return Response(str(number + 1))

    router = APIRouter(route_class=PlannedRoute)
    router.get("/next")(count_up)
    app = FastAPI()
    app.include_router(router)

    assert TestClient(app).get("/next?number=2").text == "3"
    assert TestClient(app).get("/next?number=x").status_code == 422
