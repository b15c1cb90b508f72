"""What every test may ask for: a private Redis, empty at the start of each test, and settings."""

from collections.abc import Iterator

import pytest
from redis import Redis

from app.settings import Settings
from app.store import server
from app.store.connect import connect_sync


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
