"""A worker that lives but takes no message ends itself, its job handed back: a new one takes over."""

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.domain.job import Status
from app.settings import Settings
from app.store import server
from tests.acceptance.pools import Pool
from tests.unit.worker.desk import TestDesk
from tests.waiting import wait_until
from worker.watchdog import DEAF_LOOKS

pytestmark = pytest.mark.acceptance

LONG = {"steps": 10_000_000, "stop": {"loss_below": None}, "engine": "torch"}


@pytest.fixture
def desk(tmp_path: Path, settings: Settings) -> Iterator[TestDesk]:
    """Submits to a Redis of this test alone."""
    running = server.start(tmp_path / "redis", fsync="no")
    with TestDesk(running.url, settings) as opened:
        yield opened
    running.stop()


@pytest.mark.parametrize("how", ["cancelled", "stuck"])
def test_worker_that_is_deaf_ends_and_its_job_goes_on(
    desk: TestDesk, tmp_path: Path, how: str
) -> None:
    deaf = Pool(
        desk.url,
        tmp_path,
        name="deaf",
        app="tests.acceptance.deaf",
        concurrency=2,
        environment={"DEAF": how},
    )
    hearing = None
    try:
        deaf.wait_until_ready()
        desk.submit(job_id="long", **LONG)
        wait_until(lambda: desk.record("long").progress, "the long job makes steps", seconds=30)
        desk.submit(job_id="short", steps=10)
        started = time.monotonic()
        status = deaf.end(seconds=60)
        seconds = time.monotonic() - started
        handed_back = desk.record("long")
        hearing = Pool(desk.url, tmp_path, name="hearing", concurrency=2).wait_until_ready()
        wait_until(lambda: desk.record("short").status.is_terminal, "the short job ended")
        wait_until(
            lambda: "job.resumed job_id=long" in hearing.log, "the long job goes on", seconds=30
        )
    finally:
        deaf.kill()
        if hearing is not None:
            hearing.kill()

    assert status == os.EX_TEMPFAIL
    assert deaf.log.count("worker.deaf") == 1
    assert seconds + 2 >= DEAF_LOOKS
    assert seconds < DEAF_LOOKS + 10
    assert (handed_back.status, handed_back.attempt) == (Status.QUEUED, 0)
    assert desk.record("short").status is Status.SUCCEEDED
