"""Connects to Redis and turns its errors into ours; it does not know what is stored there."""

from collections.abc import Generator
from contextlib import contextmanager
from typing import Any, Final

from redis import Redis
from redis.asyncio import Redis as AsyncRedis
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import NoBackoff
from redis.exceptions import (
    BusyLoadingError,
    ClusterDownError,
    MasterDownError,
    OutOfMemoryError,
    ReadOnlyError,
    ResponseError,
    TryAgainError,
)
from redis.exceptions import (
    ConnectionError as RedisConnectionError,
)
from redis.exceptions import (
    TimeoutError as RedisTimeoutError,
)
from redis.retry import Retry

from app.domain.errors import StoreUnavailable
from app.settings import Settings

WORKER_TIMEOUT_SECONDS: Final = 5.0
"""A worker can wait longer than a client: it goes on computing meanwhile."""

_HEALTH_CHECK_SECONDS: Final = 15
_RETRY_AFTER_SECONDS: Final = 1

_AWAY: Final = (
    RedisConnectionError,
    RedisTimeoutError,
    BusyLoadingError,
    ClusterDownError,
    MasterDownError,
    OutOfMemoryError,
    ReadOnlyError,
    TryAgainError,
    OSError,
)
# Redis cannot write (disk, replicas) or is blocked by a script: redis-py has no class for these.
_AWAY_WORDS: Final = ("OOM", "LOADING", "READONLY", "MISCONF", "NOREPLICAS", "BUSY", "MASTERDOWN")


def connect_async(settings: Settings, url: str) -> AsyncRedis:
    """Return the service's client: no retries, so that an absent Redis is a 503 at once.

    Args:
        settings: store_timeout_seconds bounds connecting and every answer.
        url: redis://, rediss:// or unix://.
    """
    timeout = settings.store_timeout_seconds
    door: Any = AsyncRedis  # redis-py's own types are partly unknown
    client: AsyncRedis = door.from_url(
        url,
        retry=AsyncRetry(NoBackoff(), 0),
        **_options(timeout),
    )
    return client


def connect_sync(settings: Settings, url: str) -> Redis:
    """Return a worker's client: no retries either, because the caller knows what may be repeated.

    Args:
        settings: Its store_timeout_seconds is used when it is longer than a worker's own.
        url: redis://, rediss:// or unix://.
    """
    timeout = max(WORKER_TIMEOUT_SECONDS, settings.store_timeout_seconds)
    door: Any = Redis  # redis-py's own types are partly unknown
    client: Redis = door.from_url(url, retry=Retry(NoBackoff(), 0), **_options(timeout))
    return client


def _options(timeout: float) -> dict[str, Any]:
    # Nothing is left to redis-py's defaults: 8.x retries ten times.
    return {
        "socket_timeout": timeout,
        "socket_connect_timeout": timeout,
        "health_check_interval": _HEALTH_CHECK_SECONDS,
        "decode_responses": False,
    }


@contextmanager
def translate_errors() -> Generator[None]:
    """Turn an absent, full or blocked Redis into StoreUnavailable.

    Raises:
        StoreUnavailable: Try again in a second; the write may or may not have happened.
    """
    try:
        yield
    except _AWAY as error:
        raise _unavailable(error) from error
    except ResponseError as error:
        if str(error).startswith(_AWAY_WORDS):
            raise _unavailable(error) from error
        raise


def _unavailable(error: Exception) -> StoreUnavailable:
    reason = "is out of memory" if isinstance(error, OutOfMemoryError) else "does not answer"
    return StoreUnavailable(
        f"The store {reason}: try again", retry_after_seconds=_RETRY_AFTER_SECONDS
    )
