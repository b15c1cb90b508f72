"""Redis dies, moves or is replaced under running processes: they come back, and nothing is missing."""

import os
import re
import signal
import threading
import time
import urllib.error
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final, Self

import pytest

from app.store import server
from tests.acceptance.houses import House
from tests.proxy import Proxy
from tests.redundant import Redundant, free_port
from tests.waiting import wait_until

pytestmark = pytest.mark.acceptance

Open = Callable[..., House]

BACK_SECONDS: Final = 5.0
"""How soon after Redis is back a job must have run."""
OUTAGES: Final = 3
FAILURES_AN_OUTAGE: Final = 8
"""Tries of the worker to reach the broker: Celery's own pauses would make it 56 s."""
OUTAGE_SECONDS: Final = 30
SPEC: Final = {
    "data": {"preset": "noisy"},
    "optimizer": "adam",
    "batch_size": 10,
    "steps": 4_000,
    "stop": {"loss_below": None},
    "engine": "torch",
}


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[Redundant]:
    redundant = Redundant(tmp_path / "pair")
    yield redundant
    redundant.close()


class Clients:
    """Submits jobs one after the other under ids of its own, as a careful client does.

    Args:
        house: Whom to ask.
    """

    def __init__(self, house: House) -> None:
        self.accepted = list[str]()
        self.statuses = set[int]()
        self._house = house
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._submit)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _submit(self) -> None:
        number = 0
        while not self._over.wait(0.05):
            status = put(self._house, f"small-{number}", {"steps": 5, "seed": number})
            self.statuses.add(status)
            if status < 300:
                self.accepted.append(f"small-{number}")
                number += 1


def put(house: House, job_id: str, spec: Any) -> int:
    """Return the status that a PUT of a job is answered with."""
    try:
        house.ask(f"/v1/jobs/{job_id}", spec, method="PUT", timeout=20)
    except urllib.error.HTTPError as error:
        with error:
            return error.code
    return 200


def job_of(house: House, job_id: str) -> dict[str, Any] | None:
    """Return a job; None while Redis is away. One that is missing fails the test."""
    try:
        job: dict[str, Any] = house.ask(f"/v1/jobs/{job_id}?history=none", timeout=20)
    except urllib.error.HTTPError as error:
        with error:
            if error.code == 503:
                return None
        raise
    return job


def is_done(house: House, job_id: str) -> bool:
    job = job_of(house, job_id)
    return job is not None and job["done"]


def found_by(job: dict[str, Any] | None) -> dict[str, Any]:
    assert job is not None
    return {name: value for name, value in job["result"].items() if name != "run_seconds"}


def has_run(house: House, job_id: str, spec: Any) -> bool:
    """Submit until it is accepted, and tell whether it has ended."""
    return put(house, job_id, spec) < 300 and is_done(house, job_id)


def ends_of(house: House, job_id: str) -> int:
    """Return how often a job has ended."""
    events = house.ask(f"/v1/jobs/{job_id}/events?limit=1000")["data"]
    terminal = {"job.succeeded", "job.failed", "job.cancelled"}
    return sum(event["type"] in terminal for event in events)


def test_failover_loses_nothing_that_was_told(open_house: Open, pair: Redundant) -> None:
    environment = {"FITJOBS_REDIS_URL": pair.watch(), "FITJOBS_MIN_REPLICAS": "1"}
    house = open_house(environment=environment).wait_until_ready()
    worker, api = house.pid_of("worker.main"), house.pid_of("uvicorn")
    assert put(house, "alone", SPEC) < 300
    wait_until(lambda: is_done(house, "alone"), "the undisturbed job ended", seconds=60)
    assert put(house, "cut", SPEC) < 300
    with Clients(house) as clients:
        wait_until(lambda: is_half_done(house, "cut"), "half of the steps are made", seconds=60)
        pair.kill(pair.ports[0])
        wait_until(lambda: job_of(house, "cut"), "a primary answers", seconds=20)
        pair.revive(pair.ports[0])
        pair.replicate(pair.ports[0], of=pair.ports[1])
        told = len(clients.accepted)
        wait_until(lambda: len(clients.accepted) > told, "jobs are accepted again", seconds=20)
    for job_id in ("cut", *clients.accepted):
        wait_until(lambda job_id=job_id: is_done(house, job_id), f"{job_id} ended", seconds=60)

    assert clients.statuses == {200, 503}
    assert {ends_of(house, job_id) for job_id in ("cut", *clients.accepted)} == {1}
    assert found_by(job_of(house, "cut")) == found_by(job_of(house, "alone"))
    assert (house.pid_of("worker.main"), house.pid_of("uvicorn")) == (worker, api)


def is_half_done(house: House, job_id: str) -> bool:
    job = job_of(house, job_id)
    return bool(job and job["progress"] and job["progress"]["step"] > SPEC["steps"] / 2)


def test_redis_that_dies_again_and_again_finds_its_processes_again(
    open_house: Open, tmp_path: Path
) -> None:
    port = free_port()
    redis = server.start(tmp_path / "redis", port=port)
    try:
        house = open_house(environment={"FITJOBS_REDIS_URL": redis.url}).wait_until_ready()
        log = house.data_dir / "logs" / "worker-cpu.log"
        worker = house.pid_of("worker.main")
        wait_until(lambda: " ready." in log.read_text(), "the worker consumes", seconds=30)
        for outage in range(OUTAGES):
            seen = count_failures(log)
            redis.process.kill()
            redis.process.wait()
            started = time.monotonic()
            assert put(house, "refused", {}) == 503
            assert time.monotonic() - started < 2.5
            wait_until(
                lambda seen=seen: count_failures(log) >= seen + FAILURES_AN_OUTAGE,
                f"the worker looks for Redis in outage {outage}",
                seconds=OUTAGE_SECONDS,
            )
            redis = server.start(tmp_path / "redis", port=port)
            wait_until(
                lambda outage=outage: has_run(house, f"after-{outage}", {"steps": 5}),
                f"a job runs after outage {outage}",
                seconds=BACK_SECONDS,
            )

        assert house.pid_of("worker.main") == worker
        assert not re.search("Unrecoverable|Traceback", log.read_text())
    finally:
        redis.stop()


def count_failures(log: Path) -> int:
    return log.read_text().count("Cannot connect")


def test_name_that_leads_elsewhere_is_followed(open_house: Open, pair: Redundant) -> None:
    """A hosted Redis: the primary becomes a replica and keeps its connections; the name moves."""
    first, second = pair.ports
    proxy = Proxy(("127.0.0.1", first))

    def move(old: int, new: int) -> None:
        pair.promote(new)
        proxy.target = ("127.0.0.1", new)
        pair.replicate(old, of=new)

    try:
        environment = {"FITJOBS_REDIS_URL": pair.url(proxy.port)}
        house = open_house(environment=environment).wait_until_ready()
        worker, api = house.pid_of("worker.main"), house.pid_of("uvicorn")
        with pair.client(first) as raw:
            # Redis ends such a wait with an error that Celery takes for a defect by default.
            wait_until(lambda: raw.info("clients")["blocked_clients"], "the worker is idle")
        move(first, second)
        wait_until(lambda: has_run(house, "idle", {"steps": 5}), "a job runs", seconds=BACK_SECONDS)
        assert put(house, "busy", SPEC) < 300
        wait_until(lambda: is_half_done(house, "busy"), "half of it is done", seconds=60)
        move(second, first)
        wait_until(
            lambda: has_run(house, "after", {"steps": 5}), "a job runs", seconds=2 * BACK_SECONDS
        )
        wait_until(lambda: is_done(house, "busy"), "the job in hand ends", seconds=60)

        assert ends_of(house, "busy") == 1
        assert (house.pid_of("worker.main"), house.pid_of("uvicorn")) == (worker, api)
    finally:
        proxy.close()


def test_frozen_primary_is_left(open_house: Open, pair: Redundant) -> None:
    """Its connections stay open and say nothing: no error ends them, only a timeout does."""
    house = open_house(environment={"FITJOBS_REDIS_URL": pair.watch()}).wait_until_ready()
    worker = house.pid_of("worker.main")
    os.kill(pair.servers[0].process.pid, signal.SIGSTOP)

    wait_until(lambda: has_run(house, "after", {"steps": 5}), "a job runs", seconds=30)
    assert house.pid_of("worker.main") == worker
