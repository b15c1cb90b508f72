"""A Redis whose clock was set back, or that has forgotten its last second, misleads nobody."""

import pytest
from redis import Redis

from app.domain.errors import JobErrorType, LeaseLost, StoreUnavailable
from app.domain.events import EventType
from app.domain.job import Status
from app.settings import Settings
from app.store.checkpoint import Checkpoint
from app.store.connect import connect_sync
from app.store.jobs import JobStore
from app.store.recovery import Recovery
from app.store.runs import RunStore
from app.store.scripts import source_of
from app.store.server import RedisServer
from tests.proxy import Proxy, address_of
from tests.store.samples import KEYS, claim_from, lapse, make_job, make_outcome, make_rows, write

_HOUR_MS = 3_600_000


def _clock_ms(redis: Redis) -> int:
    seconds, microseconds = redis.time()
    return int(seconds) * 1000 + int(microseconds) // 1000


async def test_a_lease_from_before_the_clock_was_set_back_lapses_all_the_same(
    store: JobStore, runs: RunStore, recovery: Recovery, redis: Redis, settings: Settings
) -> None:
    await store.create(make_job("one"))
    claim_from(runs)
    redis.zadd(f"{KEYS.prefix}leases", {"one": _clock_ms(redis) + _HOUR_MS})

    recovery.round()

    left_ms = (redis.zscore(f"{KEYS.prefix}leases", "one") or 0) - _clock_ms(redis)
    assert 0 < left_ms <= settings.lease_seconds * 1000


async def test_a_live_lease_of_full_length_is_not_cut(
    store: JobStore, runs: RunStore, recovery: Recovery, redis: Redis
) -> None:
    await store.create(make_job("one"))
    claim_from(runs)
    before = redis.zscore(f"{KEYS.prefix}leases", "one")

    recovery.round()

    assert redis.zscore(f"{KEYS.prefix}leases", "one") == before


async def test_an_election_from_before_the_clock_was_set_back_is_over(
    redis: Redis, settings: Settings
) -> None:
    first, second = Recovery(redis, settings), Recovery(redis, settings)
    assert first.round().is_elected
    assert not second.round().is_elected
    redis.pexpire(f"{KEYS.prefix}recovery", _HOUR_MS)

    assert second.round().is_elected


async def test_a_holder_whose_claim_was_forgotten_may_not_write(
    store: JobStore, runs: RunStore, redis: Redis
) -> None:
    await store.create(make_job("one"))
    kept = {key: redis.dump(key) for key in (KEYS.job("one"), KEYS.events("one"))}
    forgotten = claim_from(runs, worker="before")
    # What a failover to a replica that lags by one claim leaves behind.
    for key, value in kept.items():
        redis.restore(key, 0, value, replace=True)
    redis.zrem(f"{KEYS.prefix}leases", "one")
    redis.zadd(KEYS.ready("cpu"), {"one": 1})
    held = claim_from(runs, worker="after")

    assert held.attempt == forgotten.attempt
    for write_late in (
        lambda: runs.renew(forgotten),
        lambda: write(runs, forgotten, make_rows(0, 5)),
        lambda: runs.is_cancel_requested(forgotten),
        lambda: runs.release(forgotten),
        lambda: runs.finish(forgotten, status=Status.SUCCEEDED, outcome=make_outcome(), error=None),
    ):
        with pytest.raises(LeaseLost):
            write_late()
    write(runs, held, make_rows(0, 5))
    assert (await store.get("one")).status is Status.RUNNING


async def test_workers_that_cannot_read_each_others_checkpoints_do_not_pass_a_job_for_ever(
    store: JobStore, runs: RunStore, recovery: Recovery, redis: Redis, settings: Settings
) -> None:
    await store.create(make_job("one"))
    lost = 0
    for _ in range(settings.max_fruitless_attempts + 1):
        claim = claim_from(runs)
        runs.start_over(claim)
        kept = Checkpoint(run=0, step=9, state=b"state")
        write(runs, claim, make_rows(0, 10), checkpoint=kept)
        lapse(redis, "one")
        assert lost == 0
        lost = recovery.round().lost

    record = await store.get("one")

    assert lost == 1
    assert record.error is not None
    assert record.error.type is JobErrorType.WORKER_LOST
    assert "began anew" in record.error.detail


async def test_one_start_over_is_forgiven(
    store: JobStore, runs: RunStore, recovery: Recovery, redis: Redis, settings: Settings
) -> None:
    await store.create(make_job("one"))
    for attempt in range(2 * settings.max_fruitless_attempts):
        claim = claim_from(runs)
        if attempt == 0:
            runs.start_over(claim)
        kept = Checkpoint(run=0, step=9 + attempt, state=b"state")
        write(runs, claim, make_rows(9 + attempt, 10 + attempt), checkpoint=kept)
        lapse(redis, "one")

        assert recovery.round().requeued == 1


async def test_a_claim_asked_again_is_answered_with_the_same_job(
    store: JobStore, redis_server: RedisServer, settings: Settings
) -> None:
    await store.create(make_job("one"))
    await store.create(make_job("two"))
    proxy = Proxy(address_of(redis_server.url))
    with connect_sync(settings, f"redis://127.0.0.1:{proxy.port}/0") as far:
        runs = RunStore(far, settings)
        # Known already, so that the first call is the one that does it.
        far.script_load(source_of("claim"))
        proxy.cut(b"w1", when="after")
        with pytest.raises(StoreUnavailable):
            runs.claim("cpu", worker="w1", device="cpu")
        again = claim_from(runs)
        other = claim_from(runs)
    proxy.close()

    assert (again.record.id, again.attempt, other.record.id) == ("one", 1, "two")
    assert [str(event.type) for event in await store.events("one")] == ["job.queued", "job.started"]


async def test_a_claim_asked_again_too_late_is_a_new_one(
    store: JobStore, recovery: Recovery, redis: Redis, redis_server: RedisServer, settings: Settings
) -> None:
    await store.create(make_job("one"))
    proxy = Proxy(address_of(redis_server.url))
    with connect_sync(settings, f"redis://127.0.0.1:{proxy.port}/0") as far:
        runs = RunStore(far, settings)
        # Known already, so that the first call is the one that does it.
        far.script_load(source_of("claim"))
        proxy.cut(b"w1", when="after")
        with pytest.raises(StoreUnavailable):
            runs.claim("cpu", worker="w1", device="cpu")
        lapse(redis, "one")
        recovery.round()
        again = claim_from(runs)
    proxy.close()

    assert (again.record.id, again.attempt) == ("one", 2)


async def test_a_job_in_no_place_is_found_however_many_there_are(
    store: JobStore, recovery: Recovery, redis: Redis
) -> None:
    names = [f"j{number:04}" for number in range(250)]
    for name in names:
        await store.create(make_job(name))
    redis.zrem(KEYS.ready("cpu"), names[-1])

    strayed = [recovery.round().strayed for _ in range(3)]

    assert strayed == [0, 0, 1]
    assert await store.position(names[-1]) == 249
    assert sum(recovery.round().strayed for _ in range(3)) == 0


async def test_leases_begin_anew_when_nobody_could_renew_them(
    store: JobStore, runs: RunStore, recovery: Recovery, redis: Redis
) -> None:
    await store.create(make_job("one"))
    claim = claim_from(runs)
    recovery.round()
    # What an outage of a minute leaves behind.
    redis.set(f"{KEYS.prefix}round", _clock_ms(redis) - 60_000)
    lapse(redis, "one")

    assert recovery.round().requeued == 0
    runs.renew(claim)
    lapse(redis, "one")
    assert recovery.round().requeued == 1


def _forget(redis: Redis, kept: dict[str, bytes]) -> None:
    """Put keys back as they were: what a failover to a replica that lags leaves behind."""
    for key, value in kept.items():
        redis.restore(key, 0, value, replace=True)


@pytest.mark.parametrize("how", ["record", "finish"])
async def test_rows_that_were_forgotten_leave_no_hole(
    store: JobStore, runs: RunStore, redis: Redis, how: str
) -> None:
    await store.create(make_job("one"))
    claim = claim_from(runs)
    kept = Checkpoint(run=0, step=9, state=b"state")
    write(runs, claim, make_rows(0, 10), checkpoint=kept)
    names = (KEYS.job("one"), KEYS.events("one"), KEYS.history("one", run=0))
    before = {name: redis.dump(name) for name in names}
    write(runs, claim, make_rows(10, 20))
    _forget(redis, before)

    def go_on() -> None:
        if how == "record":
            write(runs, claim, make_rows(20, 30))
        else:
            runs.finish(claim, status=Status.SUCCEEDED, outcome=make_outcome(), error=None)

    with pytest.raises(LeaseLost):
        go_on()

    record = await store.get("one")
    again = claim_from(runs)
    assert (record.status, record.outcome) == (Status.QUEUED, None)
    assert (await store.events("one"))[-2].data == {"reason": "rows-forgotten"}
    assert again.checkpoint == kept
    write(runs, again, make_rows(10, 20))
    runs.finish(again, status=Status.SUCCEEDED, outcome=make_outcome(), error=None)
    assert list((await store.history("one")).step) == list(range(20))


async def test_an_end_without_any_row_is_an_end(store: JobStore, runs: RunStore) -> None:
    await store.create(make_job("one"))
    claim = claim_from(runs)
    kept = Checkpoint(run=0, step=9, state=b"state")

    runs.finish(claim, status=Status.SUCCEEDED, outcome=make_outcome(), error=None, checkpoint=kept)

    assert (await store.get("one")).status is Status.SUCCEEDED


async def test_an_end_that_was_half_written_is_made_whole(
    store: JobStore, recovery: Recovery, redis: Redis
) -> None:
    await store.create(make_job("one"))
    await store.cancel("one")
    redis.zrem(f"{KEYS.prefix}expiries", "one")
    redis.persist(KEYS.job("one"))
    (last,) = redis.xrevrange(KEYS.events("one"), count=1)
    redis.xdel(KEYS.events("one"), last[0])

    assert recovery.round().strayed == 1
    assert (await store.events("one"))[-1].type is EventType.CANCELLED
    assert redis.ttl(KEYS.job("one")) > 0
    assert recovery.round().strayed == 0


async def test_counts_that_are_wrong_end_with_the_queue(
    store: JobStore, runs: RunStore, recovery: Recovery, redis: Redis
) -> None:
    await store.create(make_job("one", client="a"))
    redis.hincrby(KEYS.clients("cpu"), "a:waiting", 3)
    claim_from(runs)
    assert redis.exists(KEYS.clients("cpu"))

    recovery.round()

    assert not redis.exists(KEYS.clients("cpu"))
