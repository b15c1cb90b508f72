"""Commands that share a write: each asker hears of its own, and nobody loses by another."""

import asyncio
from typing import Any

import pytest
from redis import Redis
from redis.asyncio import Redis as AsyncRedis
from redis.exceptions import RedisError, ResponseError

from app.settings import Settings
from app.store.bundle import MOST_AT_ONCE, Bundles
from app.store.connect import connect_async
from app.store.server import RedisServer
from tests.proxy import Proxy, address_of
from tests.waiting import wait_until_async


@pytest.fixture
def bundles(client: AsyncRedis) -> Bundles:
    return Bundles(client)


async def test_everyone_gets_their_own_answer(bundles: Bundles) -> None:
    words = [f"word {number}" for number in range(2 * MOST_AT_ONCE + 1)]
    answers = await asyncio.gather(*(bundles.ask("ECHO", word) for word in words))

    assert answers == [word.encode() for word in words]


async def test_those_who_ask_together_share_a_connection(bundles: Bundles) -> None:
    names = await asyncio.gather(*(bundles.ask("CLIENT", "ID") for _ in range(5)))

    assert len(set(names)) == 1


async def test_refused_command_is_refused_to_who_asked_for_it_alone(bundles: Bundles) -> None:
    commands = [("ECHO", "1"), ("NO-SUCH-COMMAND",), ("ECHO", "2")]
    answers: list[Any] = await asyncio.gather(
        *(bundles.ask(*words) for words in commands), return_exceptions=True
    )

    assert isinstance(answers[1], ResponseError)
    assert (answers[0], answers[2]) == (b"1", b"2")


async def test_who_is_cancelled_before_the_write_sends_nothing(
    bundles: Bundles, redis: Redis
) -> None:
    kept = asyncio.create_task(bundles.ask("ECHO", "kept"))
    dropped = asyncio.create_task(bundles.ask("SET", "{fit}:dropped", "1"))
    asyncio.get_running_loop().call_soon(dropped.cancel)
    answer = await kept
    await asyncio.wait([dropped])

    assert dropped.cancelled()
    assert answer == b"kept"
    assert not redis.exists("{fit}:dropped")


async def test_who_is_cancelled_after_the_write_takes_no_answer_from_the_others(
    bundles: Bundles, redis: Redis
) -> None:
    clients: Any = redis  # redis-py's own types are partly unknown
    # Redis holds the whole bundle up until the list has something in it.
    gone = asyncio.create_task(bundles.ask("BLPOP", "{fit}:gate", 0))
    kept = asyncio.create_task(bundles.ask("ECHO", "kept"))
    await wait_until_async(
        lambda: clients.info("clients")["blocked_clients"], "Redis has got the bundle"
    )
    gone.cancel()
    await asyncio.wait([gone])
    redis.rpush("{fit}:gate", "open")

    assert await kept == b"kept"
    assert await bundles.ask("ECHO", "later") == b"later"


async def test_lost_connection_is_told_to_all_and_the_next_bundle_has_another(
    redis_server: RedisServer, settings: Settings
) -> None:
    proxy = Proxy(address_of(redis_server.url))
    async with connect_async(settings, f"redis://127.0.0.1:{proxy.port}/0") as client:
        bundles = Bundles(client)
        proxy.cut(b"the end", when="before")
        answers = await asyncio.gather(
            bundles.ask("ECHO", "the end"), bundles.ask("ECHO", "2"), return_exceptions=True
        )
        proxy.wait_until_cut()

        assert all(isinstance(answer, RedisError | OSError) for answer in answers)
        assert await bundles.ask("ECHO", "3") == b"3"
    proxy.close()


async def test_answer_comes_once_the_own_script_has_run(bundles: Bundles, redis: Redis) -> None:
    script = "redis.call('SET', KEYS[1], '1', 'EX', 9); return redis.call('GET', KEYS[1])"
    names = [f"{{fit}}:{number}" for number in range(9)]

    async def write(name: str) -> bool:
        await bundles.ask("EVAL", script, 1, name)
        return bool(redis.exists(name))

    assert all(await asyncio.gather(*map(write, names)))
