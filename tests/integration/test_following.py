"""Many streams, slow readers, a Redis that goes away, a process that stops."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from redis import Redis

from app.api.following import LOST_SECONDS, Following
from app.main import open_rooms
from app.settings import Settings
from tests.integration.hand import Hand, make_rows
from tests.integration.listener import SOON, Frame, Listener, listening
from tests.integration.test_stream import post, trim
from tests.proxy import Proxy, address_of
from tests.waiting import wait_until_async


def reads(redis: Redis) -> int:
    """Return how often a log was read: nothing else that goes on here is a transaction."""
    found: dict[str, Any] = redis.info("commandstats")
    return int(found.get("cmdstat_exec", {"calls": 0})["calls"])


async def read_to(listener: Listener, event: str) -> list[Frame]:
    frames = [await listener.frame()]
    while frames[-1].event != event:
        frames.append(await listener.frame())
    return frames


@pytest.fixture
def busy_following(api: FastAPI, client: httpx.AsyncClient) -> Following:
    """Streams that say often that they live."""
    assert client
    rooms = api.state.rooms
    following = Following(rooms.store, rooms.feed, heartbeat_seconds=0.02)
    api.state.rooms = replace(rooms, following=following)
    return following


async def test_silence_is_filled_with_comments(
    api: FastAPI, client: httpx.AsyncClient, busy_following: Following, hand: Hand
) -> None:
    path = await post(client)
    async with listening(api, f"{path}/stream") as listener:
        await listener.frame()
        comments = [await listener.block() for _ in range(3)]
        hand.run_next()
        following = await listener.rest()

    assert busy_following
    assert set(comments) == {": alive"}
    assert [frame.seq for frame in following] == [2, 4]


async def test_event_is_read_once_for_all_who_stream_the_job(
    api: FastAPI, client: httpx.AsyncClient, hand: Hand, redis: Redis
) -> None:
    path = await post(client)
    streams = [Listener(api, f"{path}/stream") for _ in range(20)]
    for stream in streams:
        await stream.frame()
    claim = hand.claim()
    hand.record(claim, make_rows(3), with_event=True)
    for stream in streams:
        await read_to(stream, "job.progress")
    before = reads(redis)
    hand.record(claim, make_rows(3, first=3), with_event=True)
    frames = [await stream.frame() for stream in streams]
    after = reads(redis)
    for stream in streams:
        stream.hang_up()
    await asyncio.gather(*(stream.task for stream in streams))

    assert {frame.seq for frame in frames} == {5}
    assert after - before == 1


async def test_reader_who_comes_later_is_not_served_what_is_old(
    api: FastAPI, client: httpx.AsyncClient, hand: Hand
) -> None:
    path = await post(client)
    async with listening(api, f"{path}/stream") as slow:
        await slow.frame()
        slow.reads.clear()
        claim = hand.claim()
        # What was read for the slow one is kept, and it will not soon ask for more.
        await wait_until_async(lambda: slow.is_asked_to_read, "something is sent")
        hand.record(claim, make_rows(3), with_event=True)
        async with listening(api, f"{path}/stream", query="after=1") as late:
            frames = await read_to(late, "job.progress")

    assert [frame.seq for frame in frames] == [2, 4]


async def test_slow_reader_gets_all_without_holding_any(
    api: FastAPI, client: httpx.AsyncClient, hand: Hand, redis: Redis
) -> None:
    path = await post(client)
    async with listening(api, f"{path}/stream") as listener:
        await listener.frame()
        listener.reads.clear()
        claim = hand.claim()
        hand.record(claim, make_rows(1), with_event=True)
        await wait_until_async(lambda: listener.is_asked_to_read, "something is sent")
        before = reads(redis)
        for step in range(1, 50):
            hand.record(claim, make_rows(1, first=step), with_event=True)
        during = reads(redis)
        listener.reads.set()
        hand.finish(claim)
        frames = await listener.rest()

    assert during == before
    assert [frame.seq for frame in frames] == [2, *range(4, 55)]


async def test_reader_slower_than_the_log_is_long_gets_a_snapshot(
    api: FastAPI, client: httpx.AsyncClient, hand: Hand, redis: Redis
) -> None:
    path = await post(client)
    async with listening(api, f"{path}/stream") as listener:
        await listener.frame()
        listener.reads.clear()
        claim = hand.claim()
        await wait_until_async(lambda: listener.is_asked_to_read, "something is sent")
        for step in range(10):
            hand.record(claim, make_rows(1, first=step), with_event=True)
        trim(redis, path, keep=2)
        listener.reads.set()
        frames = await read_to(listener, "snapshot")
        hand.finish(claim)
        following = await listener.rest()

    assert [frame.event for frame in frames] == ["job.started", "snapshot"]
    assert (frames[-1].seq, frames[-1].data["progress"]["step"]) == (13, 9)
    assert [frame.seq for frame in following] == [14]


async def test_closing_ends_every_stream_at_once(
    api: FastAPI, client: httpx.AsyncClient, hand: Hand
) -> None:
    paths = [await post(client), await post(client)]
    async with (
        listening(api, f"{paths[0]}/stream") as queued,
        listening(api, f"{paths[1]}/stream") as other,
    ):
        first = [await queued.frame(), await other.frame()]
        api.state.rooms.following.close()
        following = [*await queued.rest(), *await other.rest()]
    async with listening(api, f"{paths[0]}/stream") as late:
        nothing = await late.rest()
    hand.run_next()

    assert [frame.event for frame in first] == ["snapshot", "snapshot"]
    assert following == nothing == []


async def test_closing_answers_who_waits_with_what_there_is(
    api: FastAPI, client: httpx.AsyncClient
) -> None:
    path = await post(client)
    waiting = asyncio.create_task(client.get(f"{path}?wait=50"))
    await wait_until_async(lambda: api.state.rooms.feed._watches, "the request waits")
    api.state.rooms.following.close()
    answer = await asyncio.wait_for(waiting, SOON)

    assert (answer.status_code, answer.json()["status"]) == (200, "queued")
    assert answer.headers["retry-after"] == "1"


# A Redis that goes away in the middle


@pytest.fixture
def proxy(redis: Redis, api_settings: Settings) -> AsyncIterator[Proxy]:
    assert redis.ping()
    between = Proxy(address_of(api_settings.redis_url or ""))
    yield between
    between.close()


@pytest.fixture
async def distant(api: FastAPI, api_settings: Settings, proxy: Proxy) -> AsyncIterator[FastAPI]:
    """The API behind a network that fails when it is told to."""
    url = f"redis://127.0.0.1:{proxy.port}/0"
    changed = {"redis_url": url, "store_timeout_seconds": 0.3}
    async with open_rooms(api_settings.model_copy(update=changed)) as rooms:
        api.state.rooms = rooms
        yield api


@pytest.mark.parametrize("fault", ["refuse", "freeze"])
async def test_store_that_goes_away_is_waited_for(
    distant: FastAPI, proxy: Proxy, hand: Hand, redis: Redis, fault: str
) -> None:
    transport = httpx.ASGITransport(app=distant)
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        path = await post(client)
    async with listening(distant, f"{path}/stream") as listener:
        await listener.frame()
        (proxy.refuse if fault == "refuse" else proxy.freeze)()
        claim = hand.claim()
        hand.record(claim, make_rows(3), with_event=True)
        # Nobody tells the feed of a network that swallows: the client is told what is known.
        distant.state.rooms.feed.shake()
        comment = await listener.block()
        (proxy.allow if fault == "refuse" else proxy.thaw)()
        frames = [await listener.frame(), await listener.frame()]
        hand.finish(claim)
        frames += await listener.rest()

    assert redis.ping()
    assert comment.startswith(": the store does not answer")
    assert [frame.seq for frame in frames] == [2, 4, 5]
    assert frames[-1].data["status"] == "succeeded"


async def test_store_that_is_away_from_the_start_refuses_the_stream(
    distant: FastAPI, proxy: Proxy
) -> None:
    proxy.refuse()
    async with listening(distant, "/v1/jobs/some/stream") as listener:
        await listener.rest()

    assert listener.status == 503
    assert listener.headers["retry-after"] == "1"


async def test_redis_that_forgot_events_is_told_by_a_snapshot(
    api: FastAPI, client: httpx.AsyncClient, hand: Hand, redis: Redis
) -> None:
    path = await post(client)
    name = f"{{fit}}:job:{path.rpartition('/')[2]}"
    claim = hand.claim()
    kept = {key: redis.dump(key) for key in (name, f"{name}:events")}
    hand.record(claim, make_rows(3), with_event=True)
    async with listening(api, f"{path}/stream") as listener:
        first = await listener.frame()
        # A Redis whose last second was lost comes back with an older log.
        for key, value in kept.items():
            redis.restore(key, 0, value, replace=True)
        api.state.rooms.feed.shake()
        again = await listener.frame()
        hand.finish(claim)
        following = await listener.rest()

    assert (first.seq, again.seq, again.event) == (4, 3, "snapshot")
    assert [(frame.seq, frame.event) for frame in following] == [(4, "job.succeeded")]


async def test_news_of_what_redis_has_lost_are_not_hunted_for(
    api: FastAPI, client: httpx.AsyncClient, redis: Redis
) -> None:
    path = await post(client)
    clock = asyncio.get_running_loop().time
    async with listening(api, f"{path}/stream") as listener:
        await listener.frame()
        before, started = reads(redis), clock()
        redis.publish("{fit}:bus", f"{path.rpartition('/')[2]} 9")
        await wait_until_async(lambda: reads(redis) > before, "looked for")
        # Others get their answers from Redis meanwhile, and it could have had as many.
        for _ in range(100):
            await api.state.rooms.store.check()
        looked, seconds = reads(redis) - before, clock() - started

    # One more for the news itself, and one where the feed has only just begun to listen.
    assert looked <= 3 + seconds / LOST_SECONDS
