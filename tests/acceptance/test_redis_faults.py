"""What Redis itself can suffer: a full disk, no memory, silence, a damaged file; no job is lost."""

import json
import os
import resource
import signal
import time
import urllib.error
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from redis import Redis

from app.settings import Settings
from app.store import server
from app.store.connect import connect_sync
from tests.acceptance.houses import House, processes_of
from tests.waiting import wait_until

pytestmark = pytest.mark.acceptance

Open = Callable[..., House]

LATE_SECONDS = 3.0
"""The service waits 2 s for Redis; a busy machine needs some more to say so."""
ROOM_BYTES = 30_000
LONG = {
    "steps": 3_000_000,
    "stop": {"loss_below": None},
    "record_every": 100_000,
    "engine": "torch",
}
SHORT = {"steps": 20}


def refusal_of(house: House, path: str, body: object = None) -> str | None:
    """Return the type of a 503 that came in time; None when the service did as it was asked."""
    since = time.monotonic()
    try:
        house.ask(path, body)
    except urllib.error.HTTPError as error:
        seconds = time.monotonic() - since
        problem = json.load(error)
    else:
        return None

    assert problem["status"] == 503
    assert seconds < LATE_SECONDS
    return str(problem["type"])


def status_of(house: House, job_id: str) -> str:
    return str(house.ask(f"/v1/jobs/{job_id}")["status"])


def is_done(house: House, job_id: str) -> bool:
    return bool(house.ask(f"/v1/jobs/{job_id}")["done"])


def wait_until_ready(house: House) -> None:
    def is_ready() -> bool:
        try:
            return bool(house.ask("/readyz", timeout=10)["ready"])
        except OSError:
            return False

    wait_until(is_ready, "ready again", seconds=90)


@contextmanager
def redis_of(house: House) -> Iterator[Redis]:
    """Speak to the private Redis of a house."""
    socket = server._choose_socket((house.data_dir / "redis").resolve())
    with connect_sync(Settings.model_construct(), f"unix://{socket}") as client:
        yield client


def limit_files(pid: int, most_bytes: int) -> None:
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (most_bytes, resource.RLIM_INFINITY))


def test_full_disk_refuses_jobs_and_loses_none(open_house: Open) -> None:
    house = open_house().wait_until_ready()
    accepted = [house.ask("/fit", SHORT)["id"]]
    (increment,) = (house.data_dir / "redis" / "appendonlydir").glob("*.incr.aof")
    full = increment.stat().st_size + ROOM_BYTES
    # The next Redis inherits the limit from the house. The kernel ends it in the middle of a write,
    # which leaves half a command behind: worse than a full disk, of which Redis would hear.
    for pid in (house.process.pid, house.pid_of("redis-server")):
        limit_files(pid, full)

    def is_refused() -> bool:
        try:
            accepted.append(house.ask("/v1/jobs", SHORT)["id"])
        except urllib.error.HTTPError as error:
            return bool(json.load(error)["type"] == "/problems/store-unavailable")
        return False

    wait_until(is_refused, "a submit is refused", seconds=60)
    # It starts on the full disk and meets it again.
    house.wait_until_printed("Redis ended", times=3)
    refused = refusal_of(house, "/v1/jobs", SHORT)
    limit_files(house.process.pid, resource.RLIM_INFINITY)
    wait_until_ready(house)
    for job_id in accepted:
        wait_until(partial(is_done, house, job_id), "an accepted job ends", seconds=30)

    assert refused == "/problems/store-unavailable"
    assert len(accepted) > 1
    assert {status_of(house, job_id) for job_id in accepted} == {"succeeded"}


def test_full_memory_refuses_submits_and_accepted_jobs_end(house: House) -> None:
    running = house.ask("/v1/jobs", LONG)["id"]
    wait_until(lambda: status_of(house, running) == "running", "it runs", seconds=30)
    queued = [house.ask("/v1/jobs", SHORT)["id"] for _ in range(3)]
    deaths = house.printed.count("worker-cpu ended")
    with redis_of(house) as redis:
        bound = redis.config_get("maxmemory")["maxmemory"]
        redis.config_set("maxmemory", 1)
        try:
            refusals = [refusal_of(house, "/v1/jobs", SHORT) for _ in range(3)]
            house.ask(f"/v1/jobs/{running}/cancel", {})
            for job_id in (running, *queued):
                wait_until(partial(is_done, house, job_id), "it ends", seconds=30)
            # The worker has read its wake-ups and lives.
            wait_until(lambda: redis.llen("{fit}:celery:cpu") == 0, "no wake-up is left")
        finally:
            redis.config_set("maxmemory", bound)
    later = house.ask("/fit?wait=30", SHORT)

    assert bound == str(2**30)
    assert refusals == ["/problems/store-unavailable"] * 3
    assert status_of(house, running) == "cancelled"
    assert {status_of(house, job_id) for job_id in queued} == {"succeeded"}
    assert later["status"] == "succeeded"
    assert house.printed.count("worker-cpu ended") == deaths


def test_silent_redis_is_told_in_time_and_comes_back(house: House) -> None:
    running = house.ask("/v1/jobs", LONG)["id"]
    wait_until(lambda: status_of(house, running) == "running", "it runs", seconds=30)
    asked: dict[str, Any] = {
        "/v1/jobs": SHORT,
        f"/v1/jobs/{running}": None,
        f"/v1/jobs/{running}/cancel": {},
        "/v1/jobs?limit=5": None,
        "/readyz": None,
    }
    redis = house.pid_of("redis-server")
    os.kill(redis, signal.SIGSTOP)
    try:
        refusals = {path: refusal_of(house, path, body) for path, body in asked.items()}
    finally:
        os.kill(redis, signal.SIGCONT)
    wait_until_ready(house)
    house.ask(f"/v1/jobs/{running}/cancel", {})
    wait_until(partial(is_done, house, running), "it ends", seconds=60)

    assert refusals.pop("/readyz") == "/problems/not-ready"
    assert set(refusals.values()) == {"/problems/store-unavailable"}
    assert house.ask("/fit?wait=30", SHORT)["status"] == "succeeded"


def test_file_damaged_while_it_served_is_told_until_it_is_mended(open_house: Open) -> None:
    house = open_house().wait_until_ready()
    job = house.ask("/fit", SHORT)["id"]
    (increment,) = (house.data_dir / "redis" / "appendonlydir").glob("*.incr.aof")
    # Held, so that it cannot start Redis again before the damage is done.
    house.process.send_signal(signal.SIGSTOP)
    redis = house.pid_of("redis-server")
    os.kill(redis, signal.SIGKILL)
    wait_until(lambda: redis not in processes_of(house.data_dir), "Redis is dead")
    content = increment.read_bytes()
    increment.write_bytes(content[:10] + b"garbage" + content[10:])
    house.process.send_signal(signal.SIGCONT)

    house.wait_until_printed(f"{increment} is damaged", times=2)
    refused = refusal_of(house, f"/v1/jobs/{job}")
    increment.write_bytes(content)
    wait_until_ready(house)

    assert refused == "/problems/store-unavailable"
    assert status_of(house, job) == "succeeded"


def test_damaged_file_is_one_sentence_and_nothing_is_served(
    open_house: Open, tmp_path: Path
) -> None:
    directory = tmp_path / "data" / "redis"
    running = server.start(directory)
    with connect_sync(Settings.model_construct(), running.url) as redis:
        redis.set("some", "job")
    running.stop()
    (increment,) = (directory / "appendonlydir").glob("*.incr.aof")
    content = increment.read_bytes()
    increment.write_bytes(content[:10] + b"garbage" + content[10:])

    house = open_house()

    assert house.end() == 1
    assert f"{increment} is damaged" in house.printed
    assert "fitjobs serves" not in house.printed
