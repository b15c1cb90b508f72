"""Redis's clock jumps: leases, order and times to live do what the page on faults says."""

import struct
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest

from app.domain.errors import JobExpired
from app.domain.job import JobErrorType, Status
from app.settings import Settings
from app.store.connect import connect_async, connect_sync
from app.store.jobs import JobStore
from app.store.listing import JobFilter
from app.store.recovery import Recovery
from app.store.runs import RunStore
from tests.power import shim
from tests.store.samples import claim_from, make_job, make_outcome
from tests.waiting import wait_until

HOUR: Final = 3600
DAY: Final = 24 * HOUR


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A store whose Redis sees another time.

    Attributes:
        offset: The file with what is added to its clock.
        store: As the service sees it.
        runs: As a worker sees it.
        recovery: Mends it.
    """

    offset: Path
    store: JobStore
    runs: RunStore
    recovery: Recovery

    def jump(self, seconds: int) -> None:
        """Set Redis's clock so far from the true one."""
        with self.offset.open("r+b") as offset:
            offset.write(struct.pack("=q", seconds * 1_000_000))


@pytest.fixture
async def place(tmp_path: Path, compiler: str) -> AsyncIterator[Place]:
    settings = Settings.model_construct(lease_seconds=0.5, heartbeat_seconds=0.1)
    offset = tmp_path / "offset"
    offset.write_bytes(bytes(8))
    library = shim.build("clock", into=tmp_path, compiler=compiler)
    environment = {"CLOCK_OFFSET": str(offset)}
    running = shim.start(tmp_path / "redis", library, fsync="no", environment=environment)
    with connect_sync(settings, running.url) as redis:
        async with connect_async(settings, running.url) as client:
            yield Place(
                offset=offset,
                store=JobStore(client, settings),
                runs=RunStore(redis, settings),
                recovery=Recovery(redis, settings),
            )
    running.stop()


async def test_clock_that_jumps_ahead_leaves_running_jobs_alone(place: Place) -> None:
    await place.store.create(make_job("one"))
    claim = claim_from(place.runs)
    place.recovery.round()

    place.jump(HOUR)
    requeued = place.recovery.round().requeued
    place.runs.renew(claim)

    assert requeued == 0
    assert (await place.store.get("one")).attempt == 1


async def test_job_of_a_dead_worker_is_found_although_the_clock_jumped_ahead(place: Place) -> None:
    await place.store.create(make_job("one"))
    claim_from(place.runs)
    place.recovery.round()

    place.jump(HOUR)
    wait_until(lambda: place.recovery.round().requeued == 1, "it is queued again", seconds=3)

    assert claim_from(place.runs).attempt == 2


async def test_clock_that_jumps_ahead_by_days_ends_what_waits(place: Place) -> None:
    await place.store.create(make_job("one"))

    place.jump(2 * DAY)
    place.recovery.round()

    record = await place.store.get("one")
    assert record.error is not None
    assert record.error.type is JobErrorType.QUEUE_TIME_EXCEEDED


async def test_clock_that_jumps_ahead_by_a_week_forgets_what_has_ended(place: Place) -> None:
    await place.store.create(make_job("one"))
    await place.store.cancel("one")

    place.jump(6 * DAY)
    kept = await place.store.get("one")
    place.jump(8 * DAY)

    assert kept.status is Status.CANCELLED
    with pytest.raises(JobExpired):
        await place.store.get("one")


async def test_clock_that_jumps_back_keeps_the_order_of_jobs(place: Place) -> None:
    ids = [f"job{number}" for number in range(4)]
    await place.store.create(make_job(ids[0]))
    place.jump(-HOUR)
    for job_id in ids[1:]:
        await place.store.create(make_job(job_id))

    page = await place.store.find(JobFilter(), limit=10)
    claimed = [claim_from(place.runs).record.id for _ in ids]
    created = [(await place.store.get(job_id)).created_at_ms for job_id in ids]

    assert [record.id for record in page.records] == ids[::-1]
    assert claimed == ids
    assert created == sorted(created)


async def test_job_of_a_dead_worker_does_not_wait_for_a_clock_that_jumped_back(
    place: Place,
) -> None:
    await place.store.create(make_job("one"))
    claim_from(place.runs)
    place.recovery.round()

    place.jump(-HOUR)
    wait_until(lambda: place.recovery.round().requeued == 1, "it is queued again", seconds=3)

    assert claim_from(place.runs).attempt == 2


async def test_job_ends_although_the_clock_jumped_back_while_it_ran(place: Place) -> None:
    await place.store.create(make_job("one"))
    claim = claim_from(place.runs)

    place.jump(-HOUR)
    place.runs.renew(claim)
    place.recovery.round()
    place.runs.finish(claim, status=Status.SUCCEEDED, outcome=make_outcome(), error=None)

    assert (await place.store.get("one")).status is Status.SUCCEEDED
    assert await place.store.durations("cpu") == (0.0,)
