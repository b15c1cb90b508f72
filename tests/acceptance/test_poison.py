"""Jobs that kill or hang their worker: three attempts each, then an end; nobody else suffers."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.domain.errors import JobErrorType
from app.domain.events import EventType
from app.domain.job import JobRecord, Status
from app.settings import Settings
from app.store import server
from tests.acceptance.pools import Pool
from tests.unit.worker.desk import TestDesk
from tests.waiting import wait_until

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(400)]

STEPS = {"steps": 2_000, "stop": {"loss_below": None}, "engine": "torch"}
QUICK = {
    "FITJOBS_LEASE_SECONDS": "2",
    "FITJOBS_HEARTBEAT_SECONDS": "0.5",
    "FITJOBS_STALL_SECONDS": "5",
    "FITJOBS_WORKER_MAX_MEMORY_BYTES": str(2**29),
}
POISONS = {
    "segfault-prepare": JobErrorType.WORKER_LOST,
    "segfault-700": JobErrorType.WORKER_LOST,
    "kill-700": JobErrorType.WORKER_LOST,
    "_exit-prepare": JobErrorType.WORKER_LOST,
    "hang-700": JobErrorType.WORKER_LOST,
    "hold-prepare": JobErrorType.WORKER_LOST,
    "exit-700": JobErrorType.INTERNAL,
    "hoard-700": JobErrorType.OUT_OF_MEMORY,
}
NUM_NEIGHBOURS = 20


@pytest.fixture
def desk(tmp_path: Path, settings: Settings) -> Iterator[TestDesk]:
    """Submits to a Redis of this test alone."""
    running = server.start(tmp_path / "redis", fsync="no")
    with TestDesk(running.url, settings) as opened:
        yield opened
    running.stop()


@pytest.fixture
def pool(desk: TestDesk, tmp_path: Path) -> Iterator[Pool]:
    app = "tests.acceptance.poison"
    started = Pool(desk.url, tmp_path, app=app, concurrency=3, environment=QUICK)
    yield started.wait_until_ready()
    started.kill()


def attempts_of(desk: TestDesk, job_id: str) -> list[object]:
    """Return the number of each attempt that was begun."""
    return [
        event.data["attempt"] for event in desk.events(job_id) if event.type is EventType.STARTED
    ]


def test_poison_ends_and_its_neighbours_do_not_suffer(
    desk: TestDesk, pool: Pool, capsys: pytest.CaptureFixture[str]
) -> None:
    first_children = pool.children()
    started = time.monotonic()
    neighbours = [f"neighbour-{number}" for number in range(NUM_NEIGHBOURS)]
    for number, job_id in enumerate(neighbours):
        if number % 2 == 0 and number // 2 < len(POISONS):
            poison = list(POISONS)[number // 2]
            desk.submit(job_id=poison, name=f"poison {poison.replace('-', ' ')}", **STEPS)
        desk.submit(job_id=job_id, **STEPS)
    took: dict[str, float] = {}

    def is_over() -> bool:
        for job_id in {*POISONS, *neighbours} - set(took):
            if desk.record(job_id).status.is_terminal:
                took[job_id] = round(time.monotonic() - started, 1)
        return len(took) == len(POISONS) + len(neighbours)

    wait_until(is_over, "everything ended", seconds=300)
    with capsys.disabled():
        slowest = max(took[job_id] for job_id in neighbours)
        print(f"\nseconds until poison ended: {[(p, took[p]) for p in POISONS]}, all {slowest=}")  # noqa: T201

    assert {poison: error_of(desk.record(poison)) for poison in POISONS} == POISONS
    for poison, error in POISONS.items():
        attempts = attempts_of(desk, poison)
        assert attempts == list(range(1, len(attempts) + 1))
        # One that dies behind its first steps may record a little more before it gets nowhere.
        assert len(attempts) >= 3 if error is JobErrorType.WORKER_LOST else len(attempts) == 1
        if poison.endswith("prepare"):
            assert len(attempts) <= 3
        assert desk.record(poison).spec.steps == STEPS["steps"], "its spec is kept for a person"
    for job_id in neighbours:
        record = desk.record(job_id)
        assert (record.status, record.attempt) == (Status.SUCCEEDED, 1)
    assert set(pool.children()).isdisjoint(first_children)
    assert pool.log.count("job.stalled") >= 3
    assert pool.log.count("worker.hung") >= 3
    assert "worker.deaf" not in pool.log


def error_of(record: JobRecord) -> JobErrorType | None:
    return record.error.type if record.error else None
