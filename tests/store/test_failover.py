"""A replica takes over, by a Sentinel or behind a name: every client finds it, nothing told is lost."""

import asyncio
import os
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from redis import Redis
from redis.asyncio import Redis as AsyncRedis

from app.domain.errors import StoreUnavailable
from app.domain.job import JobRecord
from app.queue import make_queue, send_wake
from app.settings import Settings
from app.store.connect import connect_async, connect_sync
from app.store.feed import Feed
from app.store.jobs import JobStore
from app.store.recovery import Recovery
from app.store.runs import RunStore
from tests.proxy import Proxy
from tests.redundant import Redundant
from tests.store.samples import make_job
from tests.waiting import wait_until, wait_until_async

_BACK_SECONDS = 10.0
"""A failover takes about one; a busy machine some more."""


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[Redundant]:
    redundant = Redundant(tmp_path)
    yield redundant
    redundant.close()


@pytest.fixture
def primary(pair: Redundant) -> str:
    return pair.url(pair.ports[0])


@pytest.fixture
def replica(pair: Redundant) -> str:
    return pair.url(pair.ports[1])


@pytest.fixture
def careful(settings: Settings) -> Settings:
    """One replica must have what a client is told of."""
    return settings.model_copy(update={"min_replicas": 1, "store_timeout_seconds": 1.0})


async def _answers(store: JobStore, job_id: str) -> JobRecord | None:
    try:
        return (await store.create(make_job(job_id), own_id=True)).record
    except StoreUnavailable:
        return None


def _claims(runs: RunStore) -> bool:
    try:
        return runs.claim("cpu", worker="w", device="cpu") is not None
    except StoreUnavailable:
        return False


async def test_sentinels_lead_every_client_to_the_new_primary(
    pair: Redundant, settings: Settings
) -> None:
    url = pair.watch()
    async with AsyncExitStack() as stack:
        client = await stack.enter_async_context(connect_async(settings, url))
        worker = stack.enter_context(connect_sync(settings, url))
        store, runs = JobStore(client, settings), RunStore(worker, settings)
        feed = Feed(client, settings)
        await feed.start()
        stack.push_async_callback(feed.stop)
        queue = make_queue(settings, url)
        stack.callback(queue.close)
        send_wake(queue, "cpu")
        await store.create(make_job("before"))
        watch = await stack.enter_async_context(feed.watch("after"))
        new = stack.enter_context(pair.client(pair.ports[1]))
        await wait_until_async(lambda: new.zcard("{fit}:index") == 1, "the replica has the job")
        pair.kill(pair.ports[0])
        await wait_until_async(
            lambda: _answers(store, "after"), "the service is back", seconds=_BACK_SECONDS
        )

        assert (await store.get("before")).id == "before"
        await asyncio.to_thread(wait_until, lambda: _claims(runs), "a worker is back")
        assert await watch.moved_past(0, timeout=_BACK_SECONDS)
        waiting = new.llen("{fit}:celery:cpu")

        def is_sent() -> bool:
            # The first one may meet the connection that has died, and is lost.
            send_wake(queue, "cpu")
            return int(new.llen("{fit}:celery:cpu")) > waiting

        await asyncio.to_thread(wait_until, is_sent, "wake-ups reach the new primary")


async def test_nobody_waits_longer_for_sentinels_than_for_a_redis(settings: Settings) -> None:
    """Three Sentinels that take connections and say nothing: half of the time for all of them."""
    silent = [socket.create_server(("127.0.0.1", 0)) for _ in range(3)]
    hosts = ",".join(f"127.0.0.1:{listener.getsockname()[1]}" for listener in silent)
    quick = settings.model_copy(update={"store_timeout_seconds": 0.6})
    async with connect_async(quick, f"redis+sentinel://{hosts}/fits") as client:
        started = time.monotonic()
        with pytest.raises(StoreUnavailable):
            await JobStore(client, quick).check()
        waited = time.monotonic() - started
    for listener in silent:
        listener.close()

    assert waited < 0.6


async def test_name_that_leads_elsewhere_is_followed(pair: Redundant, settings: Settings) -> None:
    """A hosted Redis behind one name: its primary becomes a replica, and keeps its connections."""
    proxy = Proxy(("127.0.0.1", pair.ports[0]))
    url = pair.url(proxy.port)
    async with AsyncExitStack() as stack:
        stack.callback(proxy.close)
        client = await stack.enter_async_context(connect_async(settings, url))
        worker = stack.enter_context(connect_sync(settings, url))
        store, recovery = JobStore(client, settings), Recovery(worker, settings)
        queue = make_queue(settings, url)
        stack.callback(queue.close)
        await store.create(make_job("before"))
        assert recovery.round().is_elected
        send_wake(queue, "cpu")
        pair.promote(pair.ports[1])
        proxy.target = ("127.0.0.1", pair.ports[1])
        await asyncio.to_thread(pair.replicate, pair.ports[0], of=pair.ports[1])
        with pytest.raises(StoreUnavailable):
            await store.create(make_job("refused"))
        with pytest.raises(StoreUnavailable):
            recovery.round()
        send_wake(queue, "cpu")

        assert (await store.create(make_job("after"))).is_new
        assert recovery.round().is_elected
        new = stack.enter_context(pair.client(pair.ports[1]))
        waiting = new.llen("{fit}:celery:cpu")
        send_wake(queue, "cpu")
        assert new.llen("{fit}:celery:cpu") == waiting + 1


async def test_what_was_told_is_on_the_replica(
    pair: Redundant, careful: Settings, primary: str, replica: str
) -> None:
    async with connect_async(careful, primary) as client:
        store = JobStore(client, careful)
        for number in range(50):
            await store.create(make_job(f"j{number}"))
        await store.patch("j0", name="told")
        await store.cancel("j1")
        await store.cancel("j2")
        await store.delete("j2")
        pair.kill(pair.ports[0])
    pair.promote(pair.ports[1])
    async with connect_async(careful, replica) as client:
        store = JobStore(client, careful.model_copy(update={"min_replicas": 0}))
        kept = [await _find(client, f"j{number}") for number in range(50)]

        assert kept == [number != 2 for number in range(50)]
        assert await _patched(store, "j0") == "told"
        assert (await store.get("j1")).status.is_terminal


async def _find(client: AsyncRedis, job_id: str) -> bool:
    return bool(await client.exists(f"{{fit}}:job:{job_id}"))


async def _patched(store: JobStore, job_id: str) -> str | None:
    return (await store.get(job_id)).name


@pytest.mark.parametrize("has_file", [True, False])
async def test_replica_that_does_not_follow_refuses_what_would_be_told(
    pair: Redundant, careful: Settings, primary: str, *, has_file: bool
) -> None:
    for port in pair.ports if not has_file else ():
        with pair.client(port) as raw:
            raw.config_set("appendonly", "no")
    frozen = pair.servers[1].process
    async with connect_async(careful, primary) as client:
        store = JobStore(client, careful)
        assert (await store.create(make_job("before"))).is_new
        os.kill(frozen.pid, signal.SIGSTOP)
        try:
            started = time.monotonic()
            with pytest.raises(StoreUnavailable, match="fewer than 1 replicas have it") as caught:
                await store.create(make_job("again"), idempotency_key="key")
            waited = time.monotonic() - started
            # Found, not made: yet it must not be told, also not on a connection that wrote nothing.
            with connect_sync(careful, primary) as raw:
                raw.client_kill_filter(skipme=True, _type="normal")
            with pytest.raises(StoreUnavailable):
                await _twice(store)
        finally:
            os.kill(frozen.pid, signal.SIGCONT)

        assert "same Idempotency-Key" in caught.value.detail
        assert waited < careful.store_timeout_seconds
        found = await _until_told(store)
        assert found.id == "again"


async def _twice(store: JobStore) -> None:
    """Ask again, also when the first meets a connection that was cut."""
    try:
        await store.create(make_job("other"), idempotency_key="key")
    except StoreUnavailable as away:
        if "does not answer" not in away.detail:
            raise
        await store.create(make_job("other"), idempotency_key="key")


async def _until_told(store: JobStore) -> JobRecord:
    found = list[JobRecord]()

    async def ask() -> bool:
        try:
            found.append((await store.create(make_job("x"), idempotency_key="key")).record)
        except StoreUnavailable:
            return False
        return True

    await wait_until_async(ask, "the replica has caught up", seconds=30)
    return found[0]


async def test_full_redis_still_tells_of_a_cancel(
    pair: Redundant, careful: Settings, primary: str
) -> None:
    async with connect_async(careful, primary) as client:
        store = JobStore(client, careful)
        await store.create(make_job("one"))
        with pair.client(pair.ports[0]) as raw:
            raw.config_set("maxmemory", 1)

        assert (await store.cancel("one")).status.is_terminal
        with pytest.raises(StoreUnavailable, match="out of memory"):
            await store.create(make_job("two"))


async def test_redis_that_may_not_be_asked_is_not_trusted(
    redis: Redis, redis_url: str, careful: Settings
) -> None:
    user = {"enabled": True, "nopass": True, "keys": ["*"], "channels": ["*"]}
    redis.acl_setuser("fits", commands=["+@all", "-wait"], **user)
    try:
        async with connect_async(careful, redis_url.replace("unix://", "unix://fits:x@")) as client:
            with pytest.raises(StoreUnavailable, match="no permissions"):
                await JobStore(client, careful).create(make_job())
    finally:
        redis.acl_deluser("fits")
        redis.flushall()
