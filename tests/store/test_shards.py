"""Jobs that are split: shards in the queue, their ends, and everything that goes wrong with them."""

from collections.abc import Callable

import pytest
from redis import Redis

from app.domain.errors import JobErrorType, JobNotFound, LeaseLost
from app.domain.events import EventType
from app.domain.job import Status, WorkerInfo
from app.domain.run_records import never_made
from app.settings import Settings
from app.store.claim import Claim
from app.store.jobs import JobStore
from app.store.recovery import Recovery
from app.store.runs import RunStore
from tests.store.samples import (
    FAILURE,
    KEYS,
    claim_from,
    deliver,
    gather,
    lapse,
    leased,
    make_job,
    make_outcome,
    make_sweep,
    records_of,
    split,
)


@pytest.fixture
def settings() -> Settings:
    return Settings.model_construct(max_fruitless_attempts=2)


async def put(store: JobStore, job_id: str = "one", *, client: str = "", **changes: object) -> None:
    await store.create(make_job(job_id, spec=make_sweep(**changes), client=client))  # type: ignore[arg-type]  # fields of a spec


async def open_split(store: JobStore, runs: RunStore, *, num_shards: int = 16) -> Claim:
    """Submit a sweep and split it; return the claim that has split it."""
    await put(store)
    claim = claim_from(runs)
    split(runs, claim, num_shards=num_shards)
    return claim


def ready(redis: Redis) -> list[str]:
    return [raw.decode() for raw in redis.zrange(KEYS.ready("cpu"), 0, -1)]


def finish(runs: RunStore, claim: Claim, *, status: Status = Status.SUCCEEDED) -> None:
    runs.finish(claim, status=status, outcome=make_outcome(), error=None)


def finish_all(runs: RunStore) -> Claim:
    """Compute every shard; return the claim to assemble."""
    while (claim := claim_from(runs)).shard is not None:
        deliver(runs, claim)
    return claim


async def test_split_opens_a_window_and_lets_the_job_go(
    store: JobStore, runs: RunStore, redis: Redis
) -> None:
    claim = await open_split(store, runs)

    assert ready(redis) == ["one/0", "one/1", "one/2", "one/3"]
    assert leased(redis) == set()
    record = await store.get("one")
    assert record.status is Status.RUNNING
    assert record.engine is not None
    for write in (runs.renew, runs.release, runs.is_cancel_requested):
        with pytest.raises(LeaseLost):
            write(claim)
    assert await store.latest_id() == "one"
    assert await store.standing(record) is None


async def test_window_is_twice_as_wide_as_there_are_workers(
    store: JobStore, runs: RunStore, redis: Redis
) -> None:
    for number in range(5):
        info = WorkerInfo(
            name=f"w{number}", queue="cpu", devices=("cpu",), torch="2", started_at_ms=0
        )
        runs.announce(info, ttl_seconds=60)
    await open_split(store, runs)

    assert len(ready(redis)) == 10


async def test_claim_of_a_shard_says_what_it_is(store: JobStore, runs: RunStore) -> None:
    await open_split(store, runs)
    claim = claim_from(runs)

    assert (claim.id, claim.record.id, claim.shard, claim.attempt) == ("one/0", "one", 0, 1)
    assert claim.record.status is Status.RUNNING
    assert claim.split is not None
    assert claim.split.shelf.cut == (1_000, 16)
    assert not runs.is_cancel_requested(claim)
    runs.renew(claim)


async def test_end_of_a_shard_opens_the_next(store: JobStore, runs: RunStore, redis: Redis) -> None:
    await open_split(store, runs)
    deliver(runs, claim_from(runs))

    assert ready(redis) == ["one/1", "one/2", "one/3", "one/4"]
    assert redis.smembers(KEYS.shards("one")) == {b"1", b"2", b"3", b"4"}
    assert not redis.exists(KEYS.job("one/0"))


async def test_shards_do_not_fill_the_queue_nor_a_share_of_it(
    redis: Redis, store: JobStore, runs: RunStore
) -> None:
    await put(store, client="a")
    split(runs, claim_from(runs))

    assert redis.zcard(KEYS.waiting) == 0
    assert redis.hgetall(KEYS.clients("cpu")).keys() == {b"a:shards", b"a:turn"}
    await store.create(make_job("two", client="b"))
    # b waits behind one shard at most.
    assert ready(redis).index("two") <= 1


async def test_last_shard_makes_the_job_ready_to_be_assembled(
    store: JobStore, runs: RunStore, redis: Redis
) -> None:
    await open_split(store, runs, num_shards=5)
    claim = finish_all(runs)

    assert (claim.id, claim.attempt) == ("one", 1)
    assert claim.split is not None
    assert claim.split.closed is None
    assert gather(runs, claim) == records_of(range(1_000))
    assert leased(redis) == {"one"}
    finish(runs, claim)
    assert (await store.get("one")).status is Status.SUCCEEDED
    assert [event.type for event in await store.events("one")][-1] is EventType.SUCCEEDED
    assert ready(redis) == []


async def test_records_are_one_string_read_in_pieces(
    store: JobStore, runs: RunStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.store.shards._BYTES_A_READ", 52 * 7)
    await open_split(store, runs)

    assert gather(runs, finish_all(runs)) == records_of(range(1_000))


async def test_shard_that_waits_keeps_its_place_in_the_records(
    store: JobStore, runs: RunStore
) -> None:
    await open_split(store, runs)
    claims = [claim_from(runs, worker=f"w{number}") for number in range(4)]
    for claim in (claims[3], claims[1]):
        deliver(runs, claim)
    found = await store.records("one", 0, 1_000)

    assert found[62 * 52 : 125 * 52] == records_of(range(62, 125))
    assert found[187 * 52 : 250 * 52] == records_of(range(187, 250))
    assert found[: 62 * 52] == never_made(62, is_batch=False)
    assert found[250 * 52 :] == never_made(750, is_batch=False)
    assert await store.records("one", 60, 4) == found[60 * 52 : 64 * 52]
    assert await store.records("one", 998, 10) == found[998 * 52 :]
    assert await store.records("one", 2_000, 10) == b""
    assert await store.records_at("one", [187, 0]) == [found[187 * 52 : 188 * 52], found[:52]]


async def test_records_of_a_job_that_has_not_begun_are_none(store: JobStore) -> None:
    await put(store)

    assert await store.records("one", 0, 10) == b""
    assert await store.records_at("one", [3]) == [b""]
    assert list(await store.order("one", "loss", 0, 10)) == []
    for read in (store.records("none", 0, 1), store.order("none", "loss", 0, 1)):
        with pytest.raises(JobNotFound):
            await read
    await store.cancel("one")


async def test_records_of_the_wrong_length_are_refused(store: JobStore, runs: RunStore) -> None:
    await open_split(store, runs)
    claim = claim_from(runs)

    with pytest.raises(ValueError, match="62 runs"):
        runs.shards.finish(claim, status=Status.SUCCEEDED, records=b"short")


async def test_stale_shard_writes_nothing(
    store: JobStore, runs: RunStore, recovery: Recovery, redis: Redis
) -> None:
    await open_split(store, runs)
    old = claim_from(runs)
    lapse(redis, "one/0")
    assert recovery.round().requeued == 1
    new = claim_from(runs, worker="w2")

    assert (new.id, new.attempt) == ("one/0", 2)
    with pytest.raises(LeaseLost):
        deliver(runs, old)
    with pytest.raises(LeaseLost):
        runs.shards.advance(old, runs=3)
    deliver(runs, new)
    deliver(runs, old)
    assert EventType.REQUEUED not in {event.type for event in await store.events("one")}


async def test_shard_that_comes_no_further_fails_its_job(
    store: JobStore, runs: RunStore, recovery: Recovery, redis: Redis
) -> None:
    await open_split(store, runs)
    deliver(runs, claim_from(runs))
    for _ in range(2):
        assert claim_from(runs).id == "one/1"
        lapse(redis, "one/1")
        found = recovery.round()
    claim = claim_from(runs)

    assert (found.lost, found.requeued) == (1, 0)
    assert claim.split is not None
    assert (claim.shard, claim.split.closed) == (None, Status.FAILED)
    assert claim.split.fault is not None
    assert claim.split.fault.type is JobErrorType.WORKER_LOST
    assert "the last was attempt 2 on w1" in claim.split.fault.detail
    assert gather(runs, claim)[: 62 * 52] == records_of(range(62))
    assert ready(redis) == []


@pytest.mark.parametrize("how", ["cancel", "fail", "time"])
async def test_closed_job_waits_for_the_shards_that_run(
    store: JobStore, runs: RunStore, recovery: Recovery, redis: Redis, how: str
) -> None:
    await open_split(store, runs)
    running, other = claim_from(runs), claim_from(runs, worker="w2")
    if how == "cancel":
        await store.cancel("one")
    elif how == "fail":
        runs.shards.finish(other, status=Status.FAILED, error=FAILURE)
    else:
        redis.zadd(f"{KEYS.prefix}deadlines", {"one": 1}, xx=True)
        recovery.round()

    assert ready(redis) == []
    assert runs.is_cancel_requested(running)
    runs.shards.finish(running, status=Status.CANCELLED)
    if how != "fail":
        # It was faster than whoever asked it to stop.
        deliver(runs, other)
    claim = claim_from(runs)
    assert claim.split is not None
    assert claim.split.closed is (Status.CANCELLED if how == "cancel" else Status.FAILED)
    done = range(62, 125) if how != "fail" else range(0)
    assert gather(runs, claim)[62 * 52 : (62 + len(done)) * 52] == records_of(done)
    assert not redis.exists(f"{KEYS.prefix}deadlines")


async def test_shard_that_fails_when_its_job_is_closed_lets_it_be_assembled(
    store: JobStore, runs: RunStore
) -> None:
    await open_split(store, runs)
    running = claim_from(runs)
    await store.cancel("one")
    runs.shards.finish(running, status=Status.FAILED, error=FAILURE)
    claim = claim_from(runs)

    assert claim.split is not None
    assert (claim.id, claim.split.closed) == ("one", Status.CANCELLED)


async def test_time_limit_says_how_far_the_job_came(
    store: JobStore, runs: RunStore, recovery: Recovery, redis: Redis
) -> None:
    await put(store, timeout_seconds=20)
    split(runs, claim_from(runs))
    deliver(runs, claim_from(runs))
    started = (await store.get("one")).started_at_ms
    assert redis.zscore(f"{KEYS.prefix}deadlines", "one") == (started or 0) + 20_000
    redis.zadd(f"{KEYS.prefix}deadlines", {"one": 1})
    recovery.round()
    claim = claim_from(runs)

    assert claim.split is not None
    assert claim.split.fault is not None
    assert claim.split.fault.type is JobErrorType.TIME_LIMIT_EXCEEDED
    assert claim.split.fault.detail == (
        "62 of 1000 runs were made when timeout_seconds (20) were over"
    )


async def test_cancelled_shard_whose_worker_dies_does_not_run_again(
    store: JobStore, runs: RunStore, recovery: Recovery, redis: Redis
) -> None:
    await open_split(store, runs)
    claim_from(runs)
    await store.cancel("one")
    lapse(redis, "one/0")
    recovery.round()

    assert ready(redis) == ["one"]
    claim = claim_from(runs)
    assert claim.split is not None
    assert claim.split.closed is Status.CANCELLED


async def test_drained_shard_goes_back_and_a_closed_one_does_not(
    store: JobStore, runs: RunStore, redis: Redis
) -> None:
    await open_split(store, runs)
    claim = claim_from(runs)
    runs.release(claim)
    runs.release(claim)

    assert ready(redis)[0] == "one/0"
    claim = claim_from(runs)
    assert (claim.id, claim.attempt) == ("one/0", 1)
    await store.cancel("one")
    runs.release(claim)
    runs.release(claim)
    assert ready(redis) == ["one"]


async def test_assembly_that_is_lost_or_drained_begins_again(
    store: JobStore, runs: RunStore, recovery: Recovery, redis: Redis
) -> None:
    await open_split(store, runs, num_shards=2)
    first = finish_all(runs)
    lapse(redis, "one")
    assert recovery.round().requeued == 1
    second = claim_from(runs)
    runs.release(second)
    runs.release(second)
    third = claim_from(runs)

    for old in (first, second):
        with pytest.raises(LeaseLost):
            finish(runs, old)
    with pytest.raises(LeaseLost):
        runs.release(second)
    assert (await store.get("one")).status is Status.RUNNING
    assert gather(runs, third) == records_of(range(1_000))
    finish(runs, third)
    assert (await store.get("one")).attempt == 1


@pytest.mark.parametrize("is_cancelled", [False, True])
async def test_assembly_that_comes_to_nothing_ends_the_job(
    store: JobStore, runs: RunStore, recovery: Recovery, redis: Redis, *, is_cancelled: bool
) -> None:
    await open_split(store, runs)
    if is_cancelled:
        await store.cancel("one")
    else:
        runs.shards.finish(claim_from(runs), status=Status.FAILED, error=FAILURE)
    for _ in range(2):
        assert claim_from(runs).id == "one"
        lapse(redis, "one")
        recovery.round()
    record = await store.get("one")

    assert record.status is (Status.CANCELLED if is_cancelled else Status.FAILED)
    assert record.error == (None if is_cancelled else FAILURE)


@pytest.mark.parametrize("is_cancelled", [False, True])
async def test_job_that_nobody_assembles_fails_in_the_end(
    store: JobStore, runs: RunStore, recovery: Recovery, redis: Redis, *, is_cancelled: bool
) -> None:
    await open_split(store, runs)
    if is_cancelled:
        await store.cancel("one")
    else:
        redis.zadd(f"{KEYS.prefix}deadlines", {"one": 1})
        recovery.round()
    redis.zadd(KEYS.waiting, {"one": 1}, xx=True)
    found = recovery.round()
    record = await store.get("one")

    assert (found.cancelled, found.expired) == ((1, 0) if is_cancelled else (0, 1))
    assert record.status is (Status.CANCELLED if is_cancelled else Status.FAILED)
    if record.error is not None:
        assert record.error.type is JobErrorType.TIME_LIMIT_EXCEEDED
    assert ready(redis) == []


def _lose(*places: str) -> Callable[[Redis], None]:
    def lose(redis: Redis) -> None:
        for place in places:
            key, _, member = place.partition(" ")
            assert redis.zrem(f"{KEYS.prefix}{key}", member) == 1

    return lose


@pytest.mark.parametrize(
    "lose",
    [
        _lose("ready:cpu one/1"),
        _lose("leases one/0"),
        _lose("deadlines one"),
        lambda redis: redis.delete(KEYS.job("one/1")),
    ],
    ids=["ready", "lease", "deadline", "shard"],
)
async def test_split_job_in_no_place_is_put_back_into_one(
    store: JobStore,
    runs: RunStore,
    recovery: Recovery,
    redis: Redis,
    lose: Callable[[Redis], None],
) -> None:
    await open_split(store, runs)
    held = claim_from(runs)
    lose(redis)

    assert recovery.round().strayed == 1
    assert recovery.round().strayed == 0
    deliver(runs, held)
    assert gather(runs, finish_all(runs)) == records_of(range(1_000))


async def test_split_job_without_any_shard_goes_on(
    store: JobStore, runs: RunStore, recovery: Recovery, redis: Redis
) -> None:
    await open_split(store, runs)
    for number in range(4):
        redis.zrem(KEYS.ready("cpu"), f"one/{number}")
        redis.delete(KEYS.job(f"one/{number}"))
    redis.delete(KEYS.shards("one"))

    assert recovery.round().strayed == 1
    assert ready(redis) == ["one/4", "one/5", "one/6", "one/7"]


async def test_job_to_be_assembled_in_no_place_is_put_back(
    store: JobStore, runs: RunStore, recovery: Recovery, redis: Redis
) -> None:
    await open_split(store, runs)
    await store.cancel("one")
    redis.zrem(KEYS.ready("cpu"), "one")

    assert recovery.round().strayed == 1
    assert claim_from(runs).id == "one"


async def test_recovery_asks_for_workers_for_shards_too(
    store: JobStore, runs: RunStore, recovery: Recovery
) -> None:
    await open_split(store, runs)

    assert recovery.round().wake_ups["cpu"] == 4


async def test_deleted_job_leaves_nothing(store: JobStore, runs: RunStore, redis: Redis) -> None:
    await open_split(store, runs)
    finish(runs, finish_all(runs))
    await store.delete("one")

    assert list(redis.scan_iter("{fit}:job:one*")) == []
    assert ready(redis) == []
