"""A disk on which Redis cannot write: it ends rather than answer, and what it answered is kept."""

import os
import resource
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from redis import Redis

from app.domain.errors import StoreUnavailable
from app.domain.job import Status
from app.settings import Settings
from app.store import server
from app.store.connect import connect_async, connect_sync
from app.store.jobs import JobStore
from tests.store.samples import make_job
from tests.waiting import wait_until

ROOM_BYTES = 20_000


@pytest.fixture
def patient_binary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A redis-server that hears of a file that is too large, as of a full disk, and is not killed."""
    folder = tmp_path / "bin"
    folder.mkdir()
    wrapper = folder / "redis-server"
    wrapper.write_text(f"#!/bin/sh\ntrap '' XFSZ\nexec {server.find_binary()} \"$@\"\n")
    wrapper.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")


@pytest.mark.usefixtures("patient_binary")
async def test_redis_ends_on_a_full_disk_and_keeps_what_it_answered(
    tmp_path: Path, settings: Settings
) -> None:
    running = server.start(tmp_path / "redis")
    (increment,) = (tmp_path / "redis" / "appendonlydir").glob("*.incr.aof")
    most = increment.stat().st_size + ROOM_BYTES
    resource.prlimit(running.process.pid, resource.RLIMIT_FSIZE, (most, most))

    accepted = await fill(running, settings)
    status = running.process.wait(10)
    words = running.last_words()
    again = server.start(tmp_path / "redis")
    kept = jobs_of(again, settings)
    again.stop()

    assert status == 1
    assert words.startswith("Can't recover from AOF write error when the AOF fsync policy is")
    assert again.notices == ()
    assert len(accepted) > 2
    assert kept == accepted


async def fill(running: server.RedisServer, settings: Settings) -> set[str]:
    """Create jobs until one is refused; return those that were accepted."""
    accepted = set[str]()
    async with connect_async(settings, running.url) as client:
        store = JobStore(client, settings)
        with suppress(StoreUnavailable):
            while len(accepted) < ROOM_BYTES:
                accepted.add((await store.create(make_job())).record.id)
    return accepted


def jobs_of(running: server.RedisServer, settings: Settings) -> set[str]:
    with connect_sync(settings, running.url) as client:
        return {raw.decode() for raw in client.zrange("{fit}:index", 0, -1)}


@pytest.fixture
def operated(tmp_path: Path, settings: Settings) -> Iterator[Redis]:
    """Speaks to a Redis of this test's own, of which it may change everything."""
    running = server.start(tmp_path / "redis")
    with connect_sync(settings, running.url) as client:
        yield client
    running.stop()


def fail_to_copy(operated: Redis) -> None:
    operated.config_set("stop-writes-on-bgsave-error", "yes")
    in_the_way = Path(operated.config_get("dir")["dir"]) / "dump.rdb" / "in the way"
    in_the_way.mkdir(parents=True)
    operated.bgsave()
    wait_until(lambda: operated.info("persistence")["rdb_last_bgsave_status"] == "err", "failed")


def miss_a_replica(operated: Redis) -> None:
    operated.config_set("min-replicas-to-write", 1)


def follow_another(operated: Redis) -> None:
    operated.replicaof("127.0.0.1", 1)


def allow_writes(operated: Redis) -> None:
    operated.config_set("stop-writes-on-bgsave-error", "no")
    operated.config_set("min-replicas-to-write", 0)
    operated.replicaof("NO", "ONE")


@pytest.mark.parametrize("forbid", [fail_to_copy, miss_a_replica, follow_another])
async def test_redis_that_may_not_write_is_unavailable_and_comes_back(
    operated: Redis, settings: Settings, forbid: Callable[[Redis], None]
) -> None:
    url = f"unix://{operated.get_connection_kwargs()['path']}"
    async with connect_async(settings, url) as client:
        store = JobStore(client, settings)
        await store.create(make_job("kept"))
        forbid(operated)
        with pytest.raises(StoreUnavailable):
            await store.create(make_job("refused"))
        with pytest.raises(StoreUnavailable):
            await store.cancel("kept")
        allow_writes(operated)
        await store.create(make_job("later"))
        cancelled = await store.cancel("kept")

    assert cancelled.status is Status.CANCELLED
    assert {raw.decode() for raw in operated.zrange("{fit}:index", 0, -1)} == {"kept", "later"}


def test_a_copy_that_cannot_be_written_stops_nothing_here(operated: Redis) -> None:
    as_started = operated.config_get("stop-writes-on-bgsave-error")
    fail_to_copy(operated)
    for name, value in as_started.items():
        operated.config_set(name, value)

    assert operated.set("k", "v")
