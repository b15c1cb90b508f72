"""The store on a real Redis, and the check that no test leaves a key that nobody will remove."""

from collections.abc import AsyncIterator, Iterator

import pytest
from redis import Redis
from redis.asyncio import Redis as AsyncRedis

from app.settings import Settings
from app.store.connect import connect_async
from app.store.feed import Feed
from app.store.jobs import JobStore
from app.store.keys import QUEUES
from app.store.recovery import Recovery
from app.store.runs import RunStore

# Keys that live without a time of death, and why that is no leak.
_STANDING = {
    "index": "one entry a job; recovery trims those that were forgotten",
    "expiries": "one entry an ended job; recovery trims it",
    "leases": "one entry a running job",
    "deadlines": "one entry a split job",
    "order": "one number",
    "waiting": "one entry a queued job",
    "swept": "one number",
    "round": "one number",
    **{f"ready:{queue}": "one entry a queued job" for queue in QUEUES},
    **{f"clients:{queue}": "two fields a client with queued jobs" for queue in QUEUES},
    **{f"turn:{queue}": "one number" for queue in QUEUES},
}


@pytest.fixture
async def client(redis_url: str, settings: Settings) -> AsyncIterator[AsyncRedis]:
    async with connect_async(settings, redis_url) as connected:
        yield connected


@pytest.fixture
def store(client: AsyncRedis, settings: Settings) -> JobStore:
    return JobStore(client, settings)


@pytest.fixture
def runs(redis: Redis, settings: Settings) -> RunStore:
    return RunStore(redis, settings)


@pytest.fixture
def recovery(redis: Redis, settings: Settings) -> Recovery:
    return Recovery(redis, settings)


@pytest.fixture
async def feed(client: AsyncRedis, settings: Settings) -> AsyncIterator[Feed]:
    listening = Feed(client, settings)
    await listening.start()
    yield listening
    await listening.stop()


@pytest.fixture(autouse=True)
def no_leaks(redis: Redis) -> Iterator[None]:
    """Fail when a key is left without a time of death and without a reason for that."""
    yield
    leaks = find_leaks(redis)
    assert not leaks


def find_leaks(redis: Redis, *, prefix: str = "{fit}:") -> list[str]:
    """Return the keys that would stay for ever."""
    names = [raw.decode() for raw in redis.scan_iter(f"{prefix}*")]
    return [name for name in names if redis.ttl(name) == -1 and not _may_stay(redis, name, prefix)]


def _may_stay(redis: Redis, name: str, prefix: str) -> bool:
    kind, _, rest = name.removeprefix(prefix).partition(":")
    if kind == "job":
        owner = rest.partition(":")[0]
    elif kind == "idempotency":
        # Its time of death is set when its job ends.
        owner = (redis.hget(name, "id") or b"").decode()
    else:
        return name.removeprefix(prefix) in _STANDING
    return redis.hget(f"{prefix}job:{owner}", "status") in {b"queued", b"running"}
