"""What dead workers and lost messages leave behind is mended, by one process at a time."""

import pytest
from redis import Redis

from app.domain.errors import JobErrorType, JobNotFound
from app.domain.events import EventType
from app.domain.job import Status
from app.settings import Settings
from app.store.checkpoint import Checkpoint
from app.store.jobs import JobStore
from app.store.recovery import Recovery, Repairs
from app.store.runs import RunStore
from tests.store.samples import CPU, KEYS, claim_from, lapse, leased, make_job, make_rows, write
from tests.waiting import wait_until


def _quiet(**queues: int) -> Repairs:
    return Repairs(wake_ups={"cpu": 0, "cuda": 0, **queues})


async def test_a_lapsed_lease_puts_the_job_back_in_its_old_place(
    store: JobStore, runs: RunStore, recovery: Recovery, redis: Redis
) -> None:
    await store.create(make_job("old"))
    await store.create(make_job("young"))
    claim_from(runs)
    lapse(redis, "old")

    repairs = recovery.round()

    assert (repairs.requeued, repairs.count) == (1, 1)
    record = await store.get("old")
    assert (record.status, record.attempt) == (Status.QUEUED, 1)
    assert await store.position("old") == 0
    assert (await store.events("old"))[-1].type is EventType.REQUEUED
    assert (await store.events("old"))[-1].data == {"reason": "worker-lost"}
    assert claim_from(runs).attempt == 2


async def test_a_lease_lapses_by_itself(store: JobStore, redis: Redis, settings: Settings) -> None:
    quick = settings.model_copy(update={"lease_seconds": 0.01})
    await store.create(make_job("one"))
    claim_from(RunStore(redis, quick))
    recovery = Recovery(redis, quick)

    wait_until(lambda: recovery.round().requeued == 1, "the lease lapses")

    assert leased(redis) == set()


async def test_a_live_lease_is_left_alone(
    store: JobStore, runs: RunStore, recovery: Recovery
) -> None:
    await store.create(make_job("one"))
    claim_from(runs)

    assert recovery.round() == _quiet()


async def test_a_job_that_kills_its_workers_is_given_up(
    store: JobStore, runs: RunStore, recovery: Recovery, redis: Redis, settings: Settings
) -> None:
    await store.create(make_job("poison"))
    for _ in range(settings.max_fruitless_attempts):
        claim_from(runs)
        lapse(redis, "poison")
        last = recovery.round()

    record = await store.get("poison")

    assert (last.requeued, last.lost) == (0, 1)
    assert record.status is Status.FAILED
    assert record.error is not None
    assert record.error.type is JobErrorType.WORKER_LOST
    assert record.attempt == settings.max_fruitless_attempts
    assert (await store.events("poison"))[-1].data["type"] == "worker-lost"


async def test_attempts_that_get_further_are_not_counted(
    store: JobStore, runs: RunStore, recovery: Recovery, redis: Redis, settings: Settings
) -> None:
    await store.create(make_job("one"))
    for attempt in range(settings.max_fruitless_attempts + 2):
        kept = Checkpoint(run=0, step=9 + attempt, state=b"state")
        write(runs, claim_from(runs), make_rows(9 + attempt, 10 + attempt), checkpoint=kept)
        lapse(redis, "one")

        assert recovery.round().requeued == 1


async def test_rows_that_the_next_attempt_makes_again_are_no_progress(
    store: JobStore, runs: RunStore, recovery: Recovery, redis: Redis, settings: Settings
) -> None:
    await store.create(make_job("one"))
    for attempt in range(settings.max_fruitless_attempts):
        write(runs, claim_from(runs, worker=f"w{attempt}"), make_rows(0, 10 + attempt))
        lapse(redis, "one")
        last = recovery.round()

    error = (await store.get("one")).error
    assert last.lost == 1
    assert error is not None
    assert error.step == 11
    assert error.detail.endswith("the last was attempt 3 on w2, which came as far as step 11")


async def test_attempts_that_die_at_the_same_step_are_counted(
    store: JobStore, runs: RunStore, recovery: Recovery, redis: Redis, settings: Settings
) -> None:
    await store.create(make_job("one"))
    lost = 0
    kept = Checkpoint(run=0, step=9, state=b"state")
    # The first one comes further, and the others no more.
    for attempt in range(settings.max_fruitless_attempts + 1):
        assert lost == 0
        rows = make_rows(0 if attempt == 0 else 9, 10)
        write(runs, claim_from(runs), rows, checkpoint=kept)
        lapse(redis, "one")
        lost += recovery.round().lost

    assert lost == 1
    assert (await store.get("one")).status is Status.FAILED


async def test_drained_attempts_are_not_counted(
    store: JobStore, runs: RunStore, recovery: Recovery, redis: Redis, settings: Settings
) -> None:
    await store.create(make_job("one"))
    for _ in range(settings.max_fruitless_attempts + 2):
        runs.release(claim_from(runs))
    claim_from(runs)
    lapse(redis, "one")

    assert recovery.round().requeued == 1


async def test_a_silent_worker_cannot_hold_up_a_cancel(
    store: JobStore, runs: RunStore, recovery: Recovery, redis: Redis
) -> None:
    await store.create(make_job("one"))
    claim_from(runs)
    await store.cancel("one")
    lapse(redis, "one")

    repairs = recovery.round()

    assert repairs.cancelled == 1
    assert (await store.get("one")).status is Status.CANCELLED


async def test_a_job_that_waits_too_long_fails(
    store: JobStore, recovery: Recovery, redis: Redis, settings: Settings
) -> None:
    await store.create(make_job("late"))
    await store.create(make_job("young"))
    redis.zadd(KEYS.waiting, {"late": 1_000_000})

    repairs = recovery.round()

    assert repairs.expired == 1
    record = await store.get("late")
    assert record.status is Status.FAILED
    assert record.error is not None
    assert record.error.type is JobErrorType.QUEUE_TIME_EXCEEDED
    assert await store.position("late") is None
    assert await store.position("young") == 0
    assert record.expires_at_ms is not None
    assert record.expires_at_ms > settings.retention_seconds * 1000


async def test_an_old_job_that_has_just_been_requeued_has_not_waited(
    store: JobStore, runs: RunStore, recovery: Recovery, redis: Redis
) -> None:
    await store.create(make_job("one"))
    redis.zadd(KEYS.waiting, {"one": 1_000_000})
    runs.release(claim_from(runs))

    assert recovery.round() == _quiet(cpu=1)


async def test_forgotten_jobs_leave_the_index(
    store: JobStore, recovery: Recovery, redis: Redis
) -> None:
    for job_id in ("a", "b"):
        await store.create(make_job(job_id))
    await store.cancel("a")
    await store.patch("a", expires_at_ms=1)

    assert recovery.round().trimmed == 1
    assert redis.zrange(f"{KEYS.prefix}index", 0, -1) == [b"b"]
    assert not redis.exists(f"{KEYS.prefix}expiries")


async def test_entries_without_a_job_are_swept_out(recovery: Recovery, redis: Redis) -> None:
    redis.zadd(KEYS.waiting, {"ghost": 1})
    redis.zadd(f"{KEYS.prefix}leases", {"ghost": 1})

    recovery.round()

    assert redis.zcard(KEYS.waiting) == 0
    assert leased(redis) == set()
    assert recovery.round() == _quiet()


@pytest.mark.parametrize(
    ("waiting", "sent", "missing"), [(0, 0, 0), (3, 0, 3), (3, 2, 1), (3, 9, 0), (40, 4, 12)]
)
async def test_missing_wake_ups_are_counted(
    store: JobStore, recovery: Recovery, redis: Redis, *, waiting: int, sent: int, missing: int
) -> None:
    for _ in range(waiting):
        await store.create(make_job(device=CPU.model_copy(update={"queue": "cuda"})))
    if sent:
        redis.rpush("{fit}:celery:cuda", *range(sent))

    assert recovery.round().wake_ups == {"cpu": 0, "cuda": missing}
    redis.delete("{fit}:celery:cuda")


async def test_one_process_is_elected_until_it_falls_silent(
    store: JobStore, runs: RunStore, redis: Redis, settings: Settings
) -> None:
    await store.create(make_job("one"))
    claim_from(runs)
    lapse(redis, "one")
    first, second = Recovery(redis, settings), Recovery(redis, settings)

    assert first.round().requeued == 1
    assert second.round() == Repairs(is_elected=False)
    assert first.round().is_elected
    assert 0 < redis.pttl(f"{KEYS.prefix}recovery") <= 3 * settings.recovery_seconds * 1000

    redis.delete(f"{KEYS.prefix}recovery")

    assert second.round().is_elected
    assert not first.round().is_elected


async def test_a_round_is_bounded(
    store: JobStore, runs: RunStore, recovery: Recovery, redis: Redis
) -> None:
    for number in range(120):
        await store.create(make_job(f"n{number}"))
    for _ in range(120):
        lapse(redis, claim_from(runs).record.id)

    assert [recovery.round().requeued for _ in range(3)] == [100, 20, 0]


async def test_a_deleted_job_is_unknown_to_recovery(store: JobStore, recovery: Recovery) -> None:
    await store.create(make_job("one"))
    await store.cancel("one")
    await store.delete("one")

    assert recovery.round() == _quiet()
    with pytest.raises(JobNotFound):
        await store.get("one")
