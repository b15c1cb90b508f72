"""Readers are woken by the event itself, by nothing else, and never too late."""

import asyncio
import logging
import signal
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from redis import Redis
from redis.asyncio import Redis as AsyncRedis

from app.domain.job import Status
from app.settings import Settings
from app.store import server
from app.store.claim import Description
from app.store.connect import connect_async, connect_sync
from app.store.feed import Feed, Watch
from app.store.jobs import JobStore
from app.store.recovery import Recovery
from app.store.runs import RunStore
from tests.store.samples import CPU, ENGINE, claim_from, lapse, make_job, make_progress, make_rows
from tests.waiting import wait_until_async

_SOON = 5.0
_BRIEF = 0.05


def _subscriptions(redis: Redis) -> list[dict[str, str]]:
    return list(redis.client_list(_type="pubsub"))


@pytest.fixture
async def live_feed(feed: Feed, redis: Redis) -> Feed:
    """A feed whose subscription stands, so that nothing but an event wakes its readers."""
    await wait_until_async(
        lambda: _subscriptions(redis) and redis.pubsub_numsub("{fit}:bus")[0][1] == 1,
        "the feed listens",
    )
    async with feed.watch("probe") as watch:
        redis.publish("{fit}:bus", "probe 1")
        assert await watch.moved_past(0, timeout=_SOON)
    return feed


async def test_a_change_after_the_read_wakes_the_reader(store: JobStore, live_feed: Feed) -> None:
    await store.create(make_job("one"))

    async with live_feed.watch("one") as watch:
        record = await store.get("one")
        waiting = asyncio.create_task(watch.moved_past(record.seq, timeout=_SOON))
        await store.cancel("one")

        assert await waiting
        assert (await store.get("one")).seq > record.seq


async def test_a_change_between_the_read_and_the_wait_is_not_missed(
    store: JobStore, live_feed: Feed
) -> None:
    await store.create(make_job("one"))

    async with live_feed.watch("one") as watch:
        record = await store.get("one")
        await store.cancel("one")

        assert await watch.moved_past(record.seq, timeout=_SOON)


async def test_a_change_before_the_read_does_not_wake(store: JobStore, live_feed: Feed) -> None:
    await store.create(make_job("one"))

    async with live_feed.watch("one") as watch:
        await store.patch("one", name="new")
        record = await store.get("one")

        assert not await watch.moved_past(record.seq, timeout=_BRIEF)


async def test_another_job_does_not_wake(store: JobStore, live_feed: Feed) -> None:
    await store.create(make_job("one"))

    async with live_feed.watch("one") as watch:
        await store.create(make_job("two"))
        await store.cancel("two")

        assert not await watch.moved_past(1, timeout=_BRIEF)


_CHANGES: dict[str, Callable[[JobStore, RunStore], Awaitable[object]]] = {
    "cancel": lambda store, _: store.cancel("one"),
    "patch": lambda store, _: store.patch("one", name="new"),
    "release": lambda _, runs: asyncio.to_thread(runs.release, claim_from(runs)),
    "describe": lambda _, runs: asyncio.to_thread(
        runs.describe, claim_from(runs), Description(device=CPU, engine=ENGINE)
    ),
    "record": lambda _, runs: asyncio.to_thread(
        runs.record,
        claim_from(runs),
        run=0,
        rows=[make_rows(0, 2)],
        progress=make_progress(1),
        with_event=True,
    ),
    "finish": lambda _, runs: asyncio.to_thread(
        runs.finish, claim_from(runs), status=Status.SUCCEEDED, outcome=None, error=None
    ),
}


@pytest.mark.parametrize("name", _CHANGES)
async def test_every_change_of_the_version_wakes(
    store: JobStore, runs: RunStore, live_feed: Feed, name: str
) -> None:
    await store.create(make_job("one"))

    async with live_feed.watch("one") as watch:
        before = (await store.get("one")).seq
        await _CHANGES[name](store, runs)
        after = (await store.get("one")).seq

        assert after > before
        assert await watch.moved_past(after - 1, timeout=_SOON)


async def test_recovery_and_delete_wake(
    store: JobStore, runs: RunStore, recovery: Recovery, redis: Redis, live_feed: Feed
) -> None:
    await store.create(make_job("one"))
    claim_from(runs)
    lapse(redis, "one")
    async with live_feed.watch("one") as watch:
        recovery.round()

        assert await watch.moved_past(2, timeout=_SOON)

        ended = await store.cancel("one")
        await store.delete("one")

        assert await watch.moved_past(ended.seq, timeout=_SOON)


async def test_a_hundred_readers_share_one_subscription(
    store: JobStore, live_feed: Feed, redis: Redis
) -> None:
    await store.create(make_job("one"))

    async def read() -> bool:
        async with live_feed.watch("one") as watch:
            return await watch.moved_past(1, timeout=_SOON)

    readers = [asyncio.create_task(read()) for _ in range(100)]
    await asyncio.sleep(0)
    await store.cancel("one")

    assert all(await asyncio.gather(*readers))
    assert len(_subscriptions(redis)) == 1
    assert live_feed._watches == {}


async def test_a_lost_connection_is_made_again_and_wakes_everybody(
    store: JobStore, live_feed: Feed, redis: Redis
) -> None:
    await store.create(make_job("one"))

    async with live_feed.watch("one") as watch:
        assert redis.client_kill_filter(_type="pubsub") == 1
        await store.patch("one", name="told while nobody listened")

        assert await watch.moved_past(1, timeout=_SOON)
        record = await store.get("one")
        assert record.seq == 2
        assert not await watch.moved_past(record.seq, timeout=_BRIEF)

        await store.patch("one", name="told to the new connection")

        assert await watch.moved_past(record.seq, timeout=_SOON)


async def test_a_message_of_somebody_else_ends_no_feed(
    live_feed: Feed, redis: Redis, caplog: pytest.LogCaptureFixture
) -> None:
    async with live_feed.watch("one") as watch:
        redis.publish("{fit}:bus", "one and two")
        await wait_until_async(lambda: "feed.failed" in caplog.messages, "the message is refused")
        # The reader is told that something may have been missed, once the feed listens again.
        assert await watch.moved_past(1, timeout=_SOON)
        redis.publish("{fit}:bus", "one 2")

        assert await watch.moved_past(1, timeout=_SOON)


async def test_a_version_that_a_new_redis_does_not_know_wakes_once() -> None:
    watch = Watch()
    watch.tell(9)
    watch.shake()

    assert await watch.moved_past(5, timeout=_BRIEF)
    assert not await watch.moved_past(5, timeout=_BRIEF)


async def test_a_feed_without_redis_waits_for_it(
    tmp_path: Path, settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    async with connect_async(settings, f"unix://{tmp_path}/redis.sock") as client:
        feed = Feed(client, settings)
        await feed.start()
        async with feed.watch("one") as watch:
            with caplog.at_level(logging.WARNING):
                await wait_until_async(
                    lambda: "feed.interrupted" in caplog.messages, "the feed finds nobody"
                )
            running = await asyncio.to_thread(server.start, tmp_path, fsync="no")
            try:
                assert await watch.moved_past(0, timeout=_SOON)
            finally:
                await feed.stop()
                await asyncio.to_thread(running.stop)


async def test_a_silent_connection_is_given_up(
    tmp_path: Path, settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    running = await asyncio.to_thread(server.start, tmp_path, fsync="no")
    quick = settings.model_copy(update={"store_timeout_seconds": 0.1})
    async with connect_async(quick, running.url) as client:
        feed = Feed(client, quick, quiet_seconds=0.05)
        await feed.start()
        async with feed.watch("one") as watch:
            assert await watch.moved_past(0, timeout=_SOON)

            running.process.send_signal(signal.SIGSTOP)
            await wait_until_async(
                lambda: any("silent" in str(r.__dict__) for r in caplog.records),
                "the silence is noticed",
            )
            running.process.send_signal(signal.SIGCONT)

            assert await watch.moved_past(0, timeout=_SOON)
            # An idle connection answers the question whether it lives, and is kept.
            with connect_sync(settings, running.url) as raw:
                (first,) = _subscriptions(raw)
                await wait_until_async(
                    lambda: int(_subscriptions(raw)[0]["tot-cmds"]) > int(first["tot-cmds"]) + 2,
                    "the feed asks",
                )
                assert _subscriptions(raw)[0]["id"] == first["id"]
        await feed.stop()
    await asyncio.to_thread(running.stop)


async def test_a_stopped_feed_can_be_stopped_again(feed: Feed, client: AsyncRedis) -> None:
    await client.ping()
    await feed.stop()
    await feed.stop()


@pytest.mark.parametrize("turns", range(0, 12, 2))
async def test_a_feed_stops_even_while_its_connection_breaks(
    client: AsyncRedis, redis: Redis, settings: Settings, turns: int
) -> None:
    feed = Feed(client, settings)
    await feed.start()
    for _ in range(turns):
        await asyncio.sleep(0)
    redis.client_kill_filter(skipme=True)

    async with asyncio.timeout(_SOON):
        await feed.stop()
