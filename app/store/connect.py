"""Connects to Redis and turns its errors into ours; it does not know what is stored there."""

from collections.abc import Generator
from contextlib import contextmanager
from typing import Any, Final

from redis import Redis
from redis.asyncio import Redis as AsyncRedis
from redis.asyncio.retry import Retry as AsyncRetry
from redis.asyncio.sentinel import Sentinel as AsyncSentinel
from redis.asyncio.sentinel import SentinelConnectionPool as AsyncSentinelPool
from redis.backoff import DecorrelatedJitterBackoff, NoBackoff
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
from redis.sentinel import Sentinel

from app.domain.errors import StoreUnavailable
from app.redis_url import Sentinels, parse_sentinels
from app.settings import Settings

WORKER_TIMEOUT_SECONDS: Final = 5.0
"""A worker can wait longer than a client: it goes on computing meanwhile."""

FIRST_PAUSE_SECONDS: Final = 0.05
LONGEST_PAUSE_SECONDS: Final = 1.0
"""A Redis that is back is found within this, by however many processes look for it."""

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
# uvloop says it with a RuntimeError when a connection is closed between connecting and writing.
_CLOSED_WORDS: Final = "the handler is closed"


def connect_async(settings: Settings, url: str) -> AsyncRedis:
    """Return the service's client: no retries, so that an absent Redis is a 503 at once.

    Args:
        settings: store_timeout_seconds bounds connecting and every answer.
        url: As app.redis_url reads it.
    """
    options = {
        **_options(settings.store_timeout_seconds),
        "retry": AsyncRetry(NoBackoff(), 0),
    }
    door: Any = AsyncRedis  # redis-py's own types are partly unknown
    known = parse_sentinels(url)
    if known is None:
        client: AsyncRedis = door.from_url(url, **options)
        return client
    sentinels: Any = AsyncSentinel
    sentinel = sentinels(known.addresses, **_sentinel_options(known, options))
    primary: AsyncRedis = sentinel.master_for(known.service, connection_pool_class=_AsyncPool)
    return primary


def connect_sync(settings: Settings, url: str) -> Redis:
    """Return a worker's client: no retries either, because the caller knows what may be repeated.

    Args:
        settings: Its store_timeout_seconds is used when it is longer than a worker's own.
        url: As app.redis_url reads it.
    """
    timeout = max(WORKER_TIMEOUT_SECONDS, settings.store_timeout_seconds)
    options = {**_options(timeout), "retry": Retry(NoBackoff(), 0)}
    door: Any = Redis  # redis-py's own types are partly unknown
    known = parse_sentinels(url)
    if known is None:
        client: Redis = door.from_url(url, **options)
        return client
    sentinels: Any = Sentinel
    sentinel = sentinels(known.addresses, **_sentinel_options(known, options))
    primary: Redis = sentinel.master_for(known.service)
    return primary


def _options(timeout: float) -> dict[str, Any]:
    # Nothing is left to redis-py's defaults: 8.x retries ten times.
    return {
        "socket_timeout": timeout,
        "socket_connect_timeout": timeout,
        "health_check_interval": _HEALTH_CHECK_SECONDS,
        "decode_responses": False,
        # With RESP3 redis-py 8.1 listens for notices of maintenance, and therefore no longer looks
        # whether an idle connection has been closed: each that died with a Redis would fail one
        # request, also an hour later.
        "protocol": 2,
    }


def _sentinel_options(known: Sentinels, options: dict[str, Any]) -> dict[str, Any]:
    """Return what redis-py's Sentinel is made with.

    One half of the time to connect is for all Sentinels together, the other for the primary: when
    nobody answers, the caller waits no longer than for a Redis without Sentinels.
    """
    half = options["socket_connect_timeout"] / 2
    each = half / len(known.addresses)
    return {
        **options,
        "socket_connect_timeout": half,
        "db": known.database,
        "username": known.username,
        "password": known.password,
        "sentinel_kwargs": {
            "socket_timeout": each,
            "socket_connect_timeout": each,
            "retry": options["retry"],
            "username": known.sentinel_username,
            "password": known.sentinel_password,
        },
    }


class _AsyncPool(AsyncSentinelPool):
    """A pool that closes its connections to the Sentinels too; redis-py leaves them open."""

    async def aclose(self) -> None:
        await super().aclose()
        asked: Any = self.sentinel_manager
        for sentinel in asked.sentinels:
            await sentinel.aclose()


class Pauses:
    """How long a loop waits between two tries to reach Redis: longer each time, never in step.

    With jitter, so that processes that lost Redis together do not all come back together.
    """

    def __init__(self) -> None:
        self._backoff = DecorrelatedJitterBackoff(
            cap=LONGEST_PAUSE_SECONDS, base=FIRST_PAUSE_SECONDS
        )

    def next_seconds(self) -> float:
        """Return the pause after one more failure."""
        # This back-off remembers its last pause; it does not ask for the number of failures.
        return self._backoff.compute(1)

    def reset(self) -> None:
        """Begin with a short pause again: Redis has answered."""
        self._backoff.reset()


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
    except RuntimeError as error:
        if _CLOSED_WORDS in str(error):
            raise _unavailable(error) from error
        raise


def _unavailable(error: Exception) -> StoreUnavailable:
    reason = "is out of memory" if isinstance(error, OutOfMemoryError) else "does not answer"
    return StoreUnavailable(
        f"The store {reason}: try again", retry_after_seconds=_RETRY_AFTER_SECONDS
    )
