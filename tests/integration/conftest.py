"""The whole API on a real Redis, in the test's own event loop, and a worker moved by hand."""

from collections.abc import AsyncIterator

import httpx
import pytest
from fastapi import FastAPI
from redis import Redis

from app.main import create_app, open_rooms
from app.settings import Settings
from app.store import server
from app.store.runs import RunStore
from tests.integration.hand import Hand


@pytest.fixture(scope="session")
def api_settings(redis_server: server.RedisServer) -> Settings:
    """Recovery far away: no test of a route waits for it."""
    return Settings.model_construct(redis_url=redis_server.url, recovery_seconds=60.0)


@pytest.fixture(scope="session")
def api(api_settings: Settings) -> FastAPI:
    """Routes without rooms; building them takes longer than opening a store."""
    return create_app(api_settings)


@pytest.fixture
async def client(
    api: FastAPI, api_settings: Settings, redis: Redis
) -> AsyncIterator[httpx.AsyncClient]:
    """Speaks HTTP to the API whose store is empty."""
    assert redis.ping()
    async with open_rooms(api_settings) as rooms:
        api.state.rooms = rooms
        transport = httpx.ASGITransport(app=api)
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as speaking:
            yield speaking


@pytest.fixture
def hand(redis: Redis, settings: Settings) -> Hand:
    """A worker that does one thing when it is told to."""
    return Hand(RunStore(redis, settings))
