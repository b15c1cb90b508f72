"""An absent, full or blocked Redis is one error of ours; broken arguments are not hidden."""

import asyncio
import signal
from contextlib import closing
from pathlib import Path

import pytest
import uvloop
from redis import Redis
from redis.asyncio import Redis as AsyncRedis
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import ResponseError

from app.domain.errors import StoreUnavailable
from app.domain.job import Status
from app.settings import Settings
from app.store.connect import connect_async, connect_sync, translate_errors
from app.store.jobs import JobStore
from app.store.recovery import Recovery
from app.store.runs import RunStore
from app.store.server import RedisServer
from tests.proxy import Proxy, address_of
from tests.store.samples import KEYS, claim_from, lapse, make_job, make_outcome, make_rows, write
from tests.waiting import wait_until, wait_until_async


async def test_the_service_meets_an_absent_redis(tmp_path: Path, settings: Settings) -> None:
    async with connect_async(settings, f"unix://{tmp_path}/none.sock") as client:
        store = JobStore(client, settings)

        for call in (store.get("x"), store.check(), store.create(make_job()), store.durability()):
            with pytest.raises(StoreUnavailable) as caught:
                await call

            assert caught.value.retry_after_seconds == 1
            assert isinstance(caught.value.__cause__, RedisConnectionError)


def test_a_worker_meets_an_absent_redis(tmp_path: Path, settings: Settings) -> None:
    with connect_sync(settings, f"unix://{tmp_path}/none.sock") as client:
        with pytest.raises(StoreUnavailable):
            RunStore(client, settings).claim("cpu", worker="w", device="cpu")
        with pytest.raises(StoreUnavailable):
            RunStore(client, settings).retire("w")


async def test_the_service_does_not_wait_for_a_blocked_redis(
    redis_server: RedisServer, redis_url: str, settings: Settings
) -> None:
    quick = settings.model_copy(update={"store_timeout_seconds": 0.1})
    async with connect_async(quick, redis_url) as client:
        await client.ping()
        redis_server.process.send_signal(signal.SIGSTOP)
        try:
            with pytest.raises(StoreUnavailable):
                await JobStore(client, quick).check()
        finally:
            redis_server.process.send_signal(signal.SIGCONT)


async def test_idle_connections_that_were_closed_meanwhile_fail_no_request(
    redis_url: str, settings: Settings
) -> None:
    with closing(Proxy(address_of(redis_url))) as proxy:
        async with connect_async(settings, f"redis://127.0.0.1:{proxy.port}/0") as client:
            assert await asyncio.gather(*(client.ping() for _ in range(4))) == 4 * [True]
            witness, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
            writer.write(b"PING\r\n")
            assert await witness.readline() == b"+PONG\r\n"
            proxy.drop()
            await wait_until_async(proxy.is_idle, "the connections are closed")
            # What this one hears, the loop has heard of the others.
            assert await witness.read() == b""
            writer.close()

            assert await asyncio.gather(*(client.ping() for _ in range(4))) == 4 * [True]


def test_idle_connection_of_a_worker_that_was_closed_meanwhile_fails_no_write(
    redis_url: str, settings: Settings
) -> None:
    with (
        closing(Proxy(address_of(redis_url))) as proxy,
        connect_sync(settings, f"redis://127.0.0.1:{proxy.port}/0") as client,
    ):
        assert client.ping()
        proxy.drop()
        wait_until(proxy.is_idle, "the connection is closed")

        assert client.ping()


async def test_a_full_redis_refuses_submits_and_lets_running_jobs_end(
    store: JobStore, runs: RunStore, recovery: Recovery, redis: Redis
) -> None:
    for job_id in ("running", "silent", "queued"):
        await store.create(make_job(job_id))
    claim = claim_from(runs)
    claim_from(runs)
    keys = set(redis.keys())
    redis.config_set("maxmemory", 1)
    try:
        with pytest.raises(StoreUnavailable, match="out of memory"):
            await store.create(make_job(points=b"12345678"), idempotency_key="key")

        assert set(redis.keys()) == keys
        runs.renew(claim)
        write(runs, claim, make_rows(0, 5))
        runs.finish(claim, status=Status.SUCCEEDED, outcome=make_outcome(), error=None)
        await store.cancel("queued")
    finally:
        redis.config_set("maxmemory", 0)
    lapse(redis, "silent")

    assert recovery.round().requeued == 1
    assert (await store.get("running")).outcome == make_outcome()


@pytest.mark.parametrize("word", ["MISCONF disk", "NOREPLICAS few", "BUSY script", "OOM command"])
def test_a_redis_that_cannot_write_is_unavailable(word: str) -> None:
    with pytest.raises(StoreUnavailable), translate_errors():
        raise ResponseError(word)


def test_a_connection_that_uvloop_finds_closed_is_unavailable() -> None:
    async def write_behind_the_close() -> None:
        server = await asyncio.start_server(lambda _reader, writer: writer.close(), "127.0.0.1", 0)
        async with server:
            _, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
            # As redis-py does when the end is met between connecting and the first command.
            writer.transport.abort()
            await asyncio.sleep(0)
            with translate_errors():
                writer.writelines([b"PING"])

    with pytest.raises(StoreUnavailable), asyncio.Runner(loop_factory=uvloop.new_event_loop) as run:
        run.run(write_behind_the_close())


def test_another_defect_is_not_taken_for_an_absent_redis() -> None:
    with pytest.raises(RuntimeError, match="ours"), translate_errors():
        raise RuntimeError("a defect of ours")


async def test_a_mistake_of_ours_stays_what_it_is(client: AsyncRedis, redis: Redis) -> None:
    redis.set(KEYS.ready("cpu"), "not a sorted set", ex=9)

    with pytest.raises(ResponseError, match="WRONGTYPE"), translate_errors():
        await client.zcard(KEYS.ready("cpu"))
