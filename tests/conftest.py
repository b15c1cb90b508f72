"""What every test may ask for: a private Redis, empty at the start of each test, and settings."""

from collections.abc import Iterator
from typing import Final

import pytest
from redis import Redis
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling

from app.settings import Settings
from app.store import server
from app.store.connect import connect_sync

_SERVING: Final = frozenset({"acceptance", "chaos", "docs", "power"})
"""Rooms whose tests start whole services: side by side they would take each other's time."""


class _ServicesApart(LoadScopeScheduling):
    """Keeps what starts services in one of `make test`'s two processes, the rest goes by files."""

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.split("::", maxsplit=1)[0]
        return "services" if file.split("/")[1] in _SERVING else file


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> LoadScopeScheduling:
    """Take the place of xdist's own scheduling."""
    return _ServicesApart(config, log)


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[server.RedisServer]:
    """A redis-server of this test process alone; fsync "no", because no test cuts its power."""
    running = server.start(tmp_path_factory.mktemp("redis"), fsync="no")
    yield running
    running.stop()


@pytest.fixture
def settings() -> Settings:
    """The defaults, whatever the environment says."""
    return Settings.model_construct()


@pytest.fixture
def redis(redis_server: server.RedisServer, settings: Settings) -> Iterator[Redis]:
    """A raw client on an empty database."""
    with connect_sync(settings, redis_server.url) as client:
        client.flushall()
        yield client


@pytest.fixture
def redis_url(redis_server: server.RedisServer, redis: Redis) -> str:
    """Where the empty Redis listens."""
    assert redis.ping()
    return redis_server.url
