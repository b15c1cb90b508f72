"""Accepting a job: once for one key, once for one id, never beyond the bound."""

import asyncio
from array import array

import pytest
from redis import Redis
from redis.asyncio import Redis as AsyncRedis

from app.domain.data import Columns, StoredColumns, store_columns
from app.domain.errors import IdConflict, IdempotencyKeyReused, JobExpired, QueueFull
from app.domain.events import EventType
from app.domain.job import Status, Warn
from app.domain.spec import ComparisonSpec, FitSpec
from app.settings import Settings
from app.store.jobs import JobStore
from app.store.listing import JobFilter, Page
from app.store.runs import RunStore
from tests.store.conftest import find_leaks
from tests.store.samples import CPU, KEYS, claim_from, make_job
from tests.waiting import wait_until


async def test_create_answers_what_get_reads_back(store: JobStore) -> None:
    spec = ComparisonSpec.model_validate({"name": 'déjà "vu"', "tags": {"team": "a"}, "steps": 7})
    job = make_job(
        spec=spec,
        defaulted=("data", "optimizer/lr"),
        warnings=(Warn(code="slow", message="It may take long"),),
        rerun_of="job_0",
    )

    created = await store.create(job)

    assert created.is_new
    assert created.record == await store.get(job.id)
    assert created.record.status is Status.QUEUED
    assert created.record.spec == spec
    assert created.record.tags == {"team": "a"}


async def test_create_writes_the_first_event(store: JobStore) -> None:
    created = await store.create(make_job("one"))

    (event,) = await store.events("one")

    assert (event.seq, event.type) == (1, EventType.QUEUED)
    assert event.at_ms == created.record.created_at_ms


async def test_create_keeps_the_points_beside_the_spec(store: JobStore, runs: RunStore) -> None:
    columns = Columns(x=array("d", [0.0, 1.5]), y=array("d", [1.0, -2.5]))
    stored, raw = store_columns(columns)
    await store.create(make_job("one", spec=FitSpec(data=stored), points=raw))
    await store.create(make_job("two"))

    assert await store.points("one") == columns
    assert await store.points("two") is None
    assert claim_from(runs).columns == columns
    assert claim_from(runs).columns is None
    assert isinstance((await store.get("one")).spec.data, StoredColumns)


async def test_create_and_get_are_one_round_trip_each(store: JobStore, redis: Redis) -> None:
    await store.create(make_job())  # connects, and loads the script
    before = redis.info("stats")["total_reads_processed"]

    created = await store.create(make_job(), idempotency_key="key")
    await store.get(created.record.id)

    # The third read is the one that asks here.
    assert redis.info("stats")["total_reads_processed"] == before + 3


async def test_create_with_one_key_eight_at_once_makes_one_job(
    store: JobStore, redis: Redis
) -> None:
    answers = await asyncio.gather(
        *(store.create(make_job(), idempotency_key="key") for _ in range(8))
    )

    assert sum(answer.is_new for answer in answers) == 1
    assert len({answer.record.id for answer in answers}) == 1
    assert redis.zcard(KEYS.ready("cpu")) == 1


async def test_create_with_a_key_and_another_spec_is_refused(store: JobStore) -> None:
    await store.create(make_job("one"), idempotency_key="key")

    with pytest.raises(IdempotencyKeyReused):
        await store.create(make_job(fingerprint="two"), idempotency_key="key")

    assert (await store.depth())["cpu"] == 1


async def test_recall_finds_what_a_key_made_for_as_long_as_it_is_there(
    client: AsyncRedis, redis: Redis, settings: Settings
) -> None:
    store = JobStore(client, settings.model_copy(update={"retention_seconds": 1}))
    created = await store.create(make_job("one"), idempotency_key="key")

    assert await store.recall("key") == created.record
    assert await store.recall("another") is None

    await store.cancel("one")
    wait_until(lambda: not redis.exists(KEYS.job("one")), "the job expires", seconds=3)

    assert await store.recall("key") is None


async def test_a_key_lives_as_long_as_its_job_and_then_the_time_set(
    store: JobStore, redis: Redis, settings: Settings
) -> None:
    await store.create(make_job("one"), idempotency_key="key")
    (name,) = redis.scan_iter("{fit}:idempotency:*")

    assert redis.ttl(name) == -1

    await store.cancel("one")

    assert 0 < redis.ttl(name) <= settings.idempotency_seconds
    replay = await store.create(make_job("two"), idempotency_key="key")
    assert (replay.is_new, replay.record.status) == (False, Status.CANCELLED)


async def test_a_key_whose_job_was_forgotten_does_not_run_it_again(store: JobStore) -> None:
    await store.create(make_job("one"), idempotency_key="key")
    await store.cancel("one")
    await store.patch("one", expires_at_ms=1)

    with pytest.raises(JobExpired):
        await store.create(make_job("two"), idempotency_key="key")


async def test_an_own_id_met_again_is_the_same_job(store: JobStore) -> None:
    first = await store.create(make_job("mine"), own_id=True)
    again = await store.create(make_job("mine"), own_id=True)

    assert (first.is_new, again.is_new) == (True, False)
    assert again.record == first.record


async def test_an_own_id_with_another_spec_is_a_conflict(store: JobStore) -> None:
    await store.create(make_job("mine"), own_id=True)

    with pytest.raises(IdConflict):
        await store.create(make_job("mine", fingerprint="two"), own_id=True)


async def test_an_id_of_ours_is_never_given_twice(store: JobStore) -> None:
    await store.create(make_job("mine"))

    with pytest.raises(IdConflict):
        await store.create(make_job("mine"))


async def test_an_id_whose_job_was_forgotten_is_not_given_again(store: JobStore) -> None:
    await store.create(make_job("mine"), own_id=True)
    await store.cancel("mine")
    await store.patch("mine", expires_at_ms=1)

    with pytest.raises(JobExpired):
        await store.create(make_job("mine"), own_id=True)


async def test_create_beyond_the_bound_is_refused_and_leaves_nothing(
    client: AsyncRedis, redis: Redis, settings: Settings
) -> None:
    store = JobStore(client, settings.model_copy(update={"max_queued_jobs": 2}))
    await store.create(make_job())
    await store.create(make_job(device=CPU.model_copy(update={"queue": "cuda"})))
    keys = set(redis.keys())

    with pytest.raises(QueueFull) as caught:
        await store.create(make_job(points=b"12345678" * 2), idempotency_key="key")

    assert caught.value.retry_after_seconds
    assert set(redis.keys()) == keys


async def test_order_rises_even_when_the_clock_stands_behind(store: JobStore, redis: Redis) -> None:
    ahead = 4_000_000_000_000_000
    redis.set(f"{KEYS.prefix}order", ahead)

    first = await store.create(make_job("one"))
    await store.create(make_job("two"))

    assert first.record.created_at_ms == (ahead + 1) // 1000
    assert redis.zrange(f"{KEYS.prefix}index", 0, -1, withscores=True) == [
        (b"one", ahead + 1),
        (b"two", ahead + 2),
    ]
    assert (await store.get("one")) == first.record


async def test_the_leak_check_sees_a_key_without_an_owner(redis: Redis) -> None:
    redis.set("{fit}:job:ghost:points", b"x")
    redis.set("{fit}:surprise", b"x")
    redis.hset("{fit}:idempotency:1", "id", "ghost")

    leaks = find_leaks(redis)

    assert len(leaks) == 3
    redis.flushall()


async def test_scripts_are_loaded_again_after_redis_forgot_them(
    store: JobStore, runs: RunStore, redis: Redis
) -> None:
    await store.create(make_job("one"))
    redis.script_flush()

    await store.create(make_job("two"))
    redis.script_flush()

    assert claim_from(runs).record.id == "one"


async def test_retention_forgets_everything_but_the_tombstone(
    client: AsyncRedis, redis: Redis, settings: Settings
) -> None:
    quick = settings.model_copy(update={"retention_seconds": 1, "idempotency_seconds": 1})
    store = JobStore(client, quick)
    await store.create(make_job("one", points=b"12345678" * 2), idempotency_key="key")
    await store.cancel("one")

    wait_until(lambda: not redis.exists(KEYS.job("one")), "the job expires", seconds=3)

    with pytest.raises(JobExpired):
        await store.get("one")
    left = {raw.decode().removeprefix(KEYS.prefix).split(":")[0] for raw in redis.scan_iter()}
    assert left - {"idempotency"} == {"gone", "index", "expiries", "order", "turn"}
    assert await store.find(JobFilter(), limit=5) == Page(records=(), next_cursor=None)
    assert await store.latest_id() is None
