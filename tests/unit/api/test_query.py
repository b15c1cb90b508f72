"""Which query parameters a route has."""

from typing import Annotated

import httpx
import pytest
from fastapi import Depends, FastAPI, Query

from app.api.errors import add_error_handlers
from app.api.paths import Paths
from app.api.query import check_query, reads_query


async def read_page(limit: int = 20) -> int:
    return limit


@pytest.fixture
def app() -> FastAPI:
    app = FastAPI(dependencies=[Depends(check_query)])
    add_error_handlers(app)

    @app.get("/list", dependencies=[reads_query("tag.", "odd")])
    async def listed(
        limit: Annotated[int, Depends(read_page)],
        until: Annotated[str, Query(alias="created_before")] = "",
        kind: Annotated[list[str], Query()] = [],  # noqa: B006 - FastAPI copies it
    ) -> list[object]:
        return [limit, until, *kind]

    app.state.paths = Paths(app.routes)
    return app


@pytest.fixture
async def client(app: FastAPI) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://localhost")


@pytest.mark.parametrize(
    "query", ["limit=3", "created_before=x", "tag.team=a&tag.x=", "odd=1", "pretty"]
)
async def test_declared_names_pass(client: httpx.AsyncClient, query: str) -> None:
    assert (await client.get(f"/list?{query}")).status_code == 200


@pytest.mark.parametrize("query", ["limits=3", "span=1", "until=x", "tag=a", "tags.a=1", "odd.=1"])
async def test_other_names_are_refused(client: httpx.AsyncClient, query: str) -> None:
    assert (await client.get(f"/list?{query}")).status_code == 400


async def test_list_may_be_repeated(client: httpx.AsyncClient) -> None:
    assert (await client.get("/list?kind=a&kind=b")).json() == [20, "", "a", "b"]


@pytest.mark.parametrize(
    "query", ["limit=1&limit=2", "tag.a=1&tag.a=2", "odd=&odd=", "pretty&pretty"]
)
async def test_second_value_is_refused(client: httpx.AsyncClient, query: str) -> None:
    answer = await client.get(f"/list?{query}")

    assert answer.status_code == 400
    assert answer.json()["detail"].endswith(" is given twice")


async def test_value_out_of_type_is_an_invalid_parameter(client: httpx.AsyncClient) -> None:
    answer = await client.get("/list?limit=many")

    assert answer.status_code == 400
    assert answer.json()["type"] == "/problems/invalid-parameter"
    assert answer.json()["detail"].startswith("limit: ")
    assert "many" not in answer.text
