"""The whole application on an empty Redis, asked in this process, and a few routes that misbehave."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import cache

import httpx
import pytest
from fastapi import APIRouter, FastAPI, HTTPException
from starlette.responses import StreamingResponse

from app.api.answer import Answer
from app.api.body import RawSpec
from app.api.paths import Paths
from app.main import create_app
from app.settings import Settings

Ask = Callable[..., AbstractAsyncContextManager[httpx.AsyncClient]]

probe = APIRouter(prefix="/probe")


@probe.post("/echo")
@probe.put("/echo")
async def echo(spec: RawSpec) -> Answer:
    return Answer({"spec": spec})


@probe.get("/defect")
async def fail_at_once() -> Answer:
    raise RuntimeError("secret-in-the-log-only")


@probe.get("/refused/{status}")
async def refuse(status: int) -> Answer:
    raise HTTPException(status)


@probe.get("/text")
async def say_text() -> Answer:
    return Answer({"text": "half \ud800 a pair", "inf": float("inf"), "nan": float("nan")})


@probe.get("/endless")
async def stream_for_ever() -> StreamingResponse:
    async def lines() -> AsyncIterator[bytes]:
        while True:
            yield b"line\n"

    return StreamingResponse(lines(), media_type="text/plain")


@probe.get("/torn")
async def fail_in_the_middle() -> StreamingResponse:
    async def lines() -> AsyncIterator[bytes]:
        yield b"line\n"
        raise RuntimeError("torn")

    return StreamingResponse(lines(), media_type="text/plain")


@cache
def make_app(settings: Settings) -> FastAPI:
    """Return the application with the probes; the tests of one Redis share it."""
    app = create_app(settings)
    app.include_router(probe)
    app.state.paths = Paths(app.routes)
    return app


@asynccontextmanager
async def asking(settings: Settings) -> AsyncIterator[httpx.AsyncClient]:
    """Open the rooms and a client."""
    app = make_app(settings)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(
            transport=httpx.ASGITransport(app, raise_app_exceptions=False),
            base_url="http://localhost:8000",
        ) as client,
    ):
        yield client


@pytest.fixture
def ask(settings: Settings, redis_url: str) -> Ask:
    """Open the application with some settings changed."""

    def open_with(**changes: object) -> AbstractAsyncContextManager[httpx.AsyncClient]:
        return asking(settings.model_copy(update={"redis_url": redis_url, **changes}))

    return open_with


@pytest.fixture
async def application(settings: Settings, redis_url: str) -> AsyncIterator[FastAPI]:
    """The application with open rooms, for requests that are made by hand."""
    app = make_app(settings.model_copy(update={"redis_url": redis_url}))
    async with app.router.lifespan_context(app):
        yield app


@pytest.fixture
async def client(ask: Ask) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the application as it is by default."""
    async with ask() as client:
        yield client
