"""Split jobs in real processes: killed, stopped and drained workers, and nothing is lost."""

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from app.domain.job import Status
from app.settings import Settings
from app.store import server
from tests.acceptance.pools import Pool
from tests.store.samples import make_sweep, records_of
from tests.unit.worker.desk import TestDesk
from tests.waiting import wait_until

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(300)]

QUICK = {"FITJOBS_LEASE_SECONDS": "1", "FITJOBS_HEARTBEAT_SECONDS": "0.25"}
NUM_RUNS = 64 * 60


@pytest.fixture
def desk(tmp_path: Path, settings: Settings) -> Iterator[TestDesk]:
    """Submits to a Redis of this test alone."""
    running = server.start(tmp_path / "redis", fsync="no")
    with TestDesk(running.url, settings) as opened:
        yield opened
    running.stop()


@pytest.fixture
def open_pool(desk: TestDesk, tmp_path: Path) -> Iterator[Callable[[str], Pool]]:
    """Start workers that this test alone uses."""
    opened: list[Pool] = []

    def start(name: str) -> Pool:
        app = "tests.acceptance.slow_shards"
        pool = Pool(desk.url, tmp_path, name=name, app=app, concurrency=2, environment=QUICK)
        opened.append(pool)
        return pool.wait_until_ready()

    yield start
    for pool in opened:
        pool.kill()


def num_done(desk: TestDesk) -> int:
    return int(desk.redis.bitcount("{fit}:job:j:done"))


def wait_until_done(desk: TestDesk, count: int) -> None:
    wait_until(lambda: num_done(desk) >= count, f"{count} shards are done", seconds=120)


def holder_of(desk: TestDesk) -> bytes:
    """Return a living worker that holds a shard; one that was killed holds it until its lease ends."""
    found: list[bytes] = []

    def look() -> bool:
        for key in desk.redis.scan_iter("{fit}:job:j/*"):
            status, worker = desk.redis.hmget(key, "status", "worker")
            if status == b"running" and Path(f"/proc/{pid_of(worker)}").exists():
                found.append(worker)
        return bool(found)

    wait_until(look, "a shard is held")
    return found[0]


def pid_of(worker: bytes) -> int:
    """Names are HOST-PID-QUEUE."""
    return int(worker.split(b"-")[-2])


def is_over(desk: TestDesk) -> bool:
    return desk.record().status.is_terminal


def is_anything_left(desk: TestDesk) -> bool:
    places = ("ready:cpu", "leases", "waiting", "deadlines")
    shards = list(desk.redis.scan_iter("{fit}:job:j/*"))
    return bool(shards) or any(desk.redis.exists(f"{{fit}}:{place}") for place in places)


def test_split_job_outlives_its_workers(desk: TestDesk, open_pool: Callable[[str], Pool]) -> None:
    first, second = open_pool("first"), open_pool("second")
    desk.put(make_sweep(NUM_RUNS))
    for count in (4, 8):
        wait_until_done(desk, count)
        os.kill(pid_of(holder_of(desk)), signal.SIGKILL)
    wait_until_done(desk, 16)
    frozen = pid_of(holder_of(desk))
    os.kill(frozen, signal.SIGSTOP)
    wait_until_done(desk, 24)
    with suppress(ProcessLookupError):
        # Its lease was over long ago: what it still writes is refused.
        os.kill(frozen, signal.SIGCONT)
    first.send()
    assert first.end() == 0
    third = open_pool("third")
    wait_until(lambda: is_over(desk), "the job is over", seconds=120)
    record = desk.record()

    assert (record.status, record.attempt) == (Status.SUCCEEDED, 1)
    assert desk.ask(lambda store: store.records("j", 0, NUM_RUNS)) == records_of(range(NUM_RUNS))
    assert record.outcome is not None
    assert record.outcome.sweep is not None
    assert record.outcome.sweep.done == NUM_RUNS
    assert desk.types().count("job.started") == desk.types().count("job.succeeded") == 1
    assert not is_anything_left(desk)
    assert "job.crashed" not in first.log + second.log + third.log


def test_every_worker_takes_part(desk: TestDesk, open_pool: Callable[[str], Pool]) -> None:
    pools = [open_pool("first"), open_pool("second")]
    desk.put(make_sweep(NUM_RUNS))
    expected = {pid for pool in pools for pid in pool.children()}
    workers: set[int] = set()

    def look() -> bool:
        for key in desk.redis.scan_iter("{fit}:job:j/*"):
            name = desk.redis.hget(key, "worker")
            workers.update([pid_of(name)] if name else [])
        return workers == expected

    wait_until(look, "all four children compute", seconds=60)


def test_cancel_ends_a_split_job_and_keeps_what_is_done(
    desk: TestDesk, open_pool: Callable[[str], Pool]
) -> None:
    pool = open_pool("first")
    desk.put(make_sweep(NUM_RUNS))
    wait_until_done(desk, 5)
    desk.cancel()
    wait_until(lambda: is_over(desk), "cancelled", seconds=30)
    record = desk.record()

    assert record.status is Status.CANCELLED
    assert record.outcome is not None
    assert record.outcome.sweep is not None
    assert 0 < record.outcome.sweep.done < NUM_RUNS
    assert not is_anything_left(desk)
    assert "job.crashed" not in pool.log


def test_drained_workers_hand_their_shards_back(
    desk: TestDesk, open_pool: Callable[[str], Pool]
) -> None:
    pool = open_pool("first")
    desk.put(make_sweep(NUM_RUNS))
    wait_until_done(desk, 5)
    pool.send()
    assert pool.end() == 0

    assert desk.record().status is Status.RUNNING
    assert not desk.redis.exists("{fit}:leases")
    assert desk.redis.zcard("{fit}:ready:cpu") >= 4
    open_pool("next")
    wait_until(lambda: is_over(desk), "the next workers ended it", seconds=120)
    assert desk.record().status is Status.SUCCEEDED
