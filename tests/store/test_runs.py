"""One attempt: claim, lease, record, finish, release; and a stale one, which writes nothing."""

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from redis import Redis

from app.domain.errors import LeaseLost
from app.domain.events import EventType
from app.domain.job import Status, WorkerInfo
from app.settings import Settings
from app.store.claim import Claim, Description
from app.store.jobs import JobStore
from app.store.recovery import Recovery
from app.store.runs import RunStore
from tests.store.samples import (
    CPU,
    ENGINE,
    FAILURE,
    KEYS,
    claim_from,
    lapse,
    leased,
    make_job,
    make_outcome,
    make_progress,
    make_rows,
    write,
)
from tests.waiting import wait_until


async def test_claim_takes_the_oldest_job_of_its_queue(store: JobStore, runs: RunStore) -> None:
    cuda = CPU.model_copy(update={"queue": "cuda"})
    for job in (make_job("gpu", device=cuda), make_job("old"), make_job("young")):
        await store.create(job)

    claims = [claim_from(runs), claim_from(runs), runs.claim("cpu", worker="w1", device="cpu")]

    assert [claim and claim.record.id for claim in claims] == ["old", "young", None]
    assert await store.depth() == {"cpu": 0, "cuda": 1}


async def test_claim_says_who_runs_the_job_and_where(store: JobStore, runs: RunStore) -> None:
    await store.create(make_job("one"))

    claim = runs.claim("cpu", worker='w"1', device="cuda:0")

    assert claim is not None
    assert (claim.attempt, claim.worker) == (1, 'w"1')
    assert claim.record == await store.get("one")
    assert claim.record.status is Status.RUNNING
    assert (claim.record.device.used, claim.record.device.worker) == ("cuda:0", 'w"1')
    event = (await store.events("one"))[-1]
    assert event.type is EventType.STARTED
    assert event.data == {"attempt": 1, "worker": 'w"1', "device": "cuda:0"}


async def test_claims_at_once_never_share_a_job(
    store: JobStore, redis: Redis, settings: Settings
) -> None:
    for _ in range(20):
        await store.create(make_job())

    def claim(number: int) -> Claim:
        return claim_from(RunStore(redis, settings), worker=f"w{number}")

    with ThreadPoolExecutor(8) as pool:
        claims = list(pool.map(claim, range(20)))

    assert len({claim.record.id for claim in claims}) == 20


async def test_claim_skips_ready_entries_whose_job_is_gone(
    store: JobStore, runs: RunStore, redis: Redis
) -> None:
    redis.zadd(KEYS.ready("cpu"), {"ghost": 1})
    await store.create(make_job("one"))

    assert claim_from(runs).record.id == "one"
    assert runs.claim("cpu", worker="w1", device="cpu") is None


async def test_renew_pushes_the_lease_on(store: JobStore, runs: RunStore, redis: Redis) -> None:
    await store.create(make_job("one"))
    claim = claim_from(runs)
    lapse(redis, "one")

    runs.renew(claim)

    seconds, _ = redis.time()
    assert redis.zscore(f"{KEYS.prefix}leases", "one") > seconds * 1000


async def test_describe_makes_a_new_version_without_an_event(
    store: JobStore, runs: RunStore
) -> None:
    await store.create(make_job("one"))
    claim = claim_from(runs)
    device = CPU.model_copy(update={"used": "cpu", "worker": "w1", "reason": "cheaper"})

    runs.describe(claim, Description(device=device, engine=ENGINE))

    record = await store.get("one")
    assert (record.device, record.engine) == (device, ENGINE)
    assert record.seq == claim.record.seq + 1
    assert len(await store.events("one")) == 2


async def test_record_appends_history_and_moves_the_progress_on(
    store: JobStore, runs: RunStore
) -> None:
    await store.create(make_job("one"))
    claim = claim_from(runs)

    runs.record(
        claim,
        run=0,
        rows=[make_rows(0, 3), make_rows(3, 3), make_rows(3, 5)],
        progress=make_progress(4),
        with_event=True,
    )
    write(runs, claim, make_rows(5, 9))
    runs.record(claim, run=1, rows=[], progress=make_progress(1, run=1), with_event=False)

    assert await store.history("one") == make_rows(0, 9)
    assert len(await store.history("one", run=1)) == 0
    assert (await store.get("one")).progress == make_progress(1, run=1)
    event = (await store.events("one"))[-1]
    assert event.type is EventType.PROGRESS
    assert event.data == json.loads(make_progress(4).model_dump_json())


async def test_a_block_sent_twice_is_there_once(store: JobStore, runs: RunStore) -> None:
    await store.create(make_job("one"))
    claim = claim_from(runs)
    write(runs, claim, make_rows(0, 5))

    write(runs, claim, make_rows(0, 5))
    write(runs, claim, make_rows(0, 8))  # repeated together with what came after

    assert await store.history("one") == make_rows(0, 8)


async def test_a_long_event_log_keeps_the_newest(store: JobStore, runs: RunStore) -> None:
    await store.create(make_job("one"))
    claim = claim_from(runs)
    for step in range(1, 1011):
        runs.record(claim, run=0, rows=[], progress=make_progress(step), with_event=True)

    events = await store.events("one", limit=2000)

    assert len(events) == 1000
    assert [event.seq for event in events] == list(range(13, 1013))
    assert (await store.get("one")).seq == 1012


@pytest.mark.parametrize(
    ("status", "error"),
    [(Status.SUCCEEDED, None), (Status.FAILED, FAILURE), (Status.CANCELLED, None)],
)
async def test_finish_ends_the_job_and_dates_everything(
    store: JobStore,
    runs: RunStore,
    redis: Redis,
    settings: Settings,
    *,
    status: Status,
    error: object,
) -> None:
    await store.create(make_job("one", points=b"12345678" * 2))
    claim = claim_from(runs)
    write(runs, claim, make_rows(0, 5))
    write(runs, claim, make_rows(0, 5), run=2)

    runs.finish(claim, status=status, outcome=make_outcome(), error=FAILURE if error else None)

    record = await store.get("one")
    assert (record.status, record.outcome) == (status, make_outcome())
    assert record.error == error
    assert record.finished_at_ms is not None
    assert record.expires_at_ms == record.finished_at_ms + settings.retention_seconds * 1000
    assert (await store.events("one"))[-1].type == f"job.{status}"
    assert leased(redis) == set()
    names = [raw.decode() for raw in redis.keys(f"{KEYS.job('one')}*")]
    assert len(names) == 5
    assert {redis.pexpiretime(name) for name in names} == {record.expires_at_ms}
    assert redis.pexpiretime(KEYS.gone("one")) == record.expires_at_ms + 7 * 86_400_000


async def test_finish_repeated_after_a_lost_answer_changes_nothing(
    store: JobStore, runs: RunStore
) -> None:
    await store.create(make_job("one"))
    claim = claim_from(runs)
    runs.finish(claim, status=Status.SUCCEEDED, outcome=make_outcome(), error=None)
    record = await store.get("one")

    runs.finish(claim, status=Status.SUCCEEDED, outcome=None, error=None)

    assert await store.get("one") == record
    with pytest.raises(LeaseLost):
        runs.finish(claim, status=Status.FAILED, outcome=None, error=FAILURE)


async def test_last_successes_of_a_queue_tell_how_long_jobs_run(
    store: JobStore, runs: RunStore
) -> None:
    ends = [*[Status.SUCCEEDED] * 21, Status.FAILED, Status.CANCELLED]
    for number, status in enumerate(ends):
        await store.create(make_job(f"job{number}"))
        runs.finish(claim_from(runs), status=status, outcome=None, error=None)

    durations = await store.durations("cpu")

    assert len(durations) == 20
    assert all(0 <= seconds < 10 for seconds in durations)
    assert await store.durations("cuda") == ()


async def test_finish_takes_terminal_statuses_only(store: JobStore, runs: RunStore) -> None:
    await store.create(make_job("one"))
    claim = claim_from(runs)

    with pytest.raises(ValueError, match="cannot end as queued"):
        runs.finish(claim, status=Status.QUEUED, outcome=None, error=None)


async def test_release_puts_the_job_back_in_its_old_place(
    store: JobStore, runs: RunStore, redis: Redis
) -> None:
    await store.create(make_job("old"))
    await store.create(make_job("young"))
    claim = claim_from(runs)

    runs.release(claim)
    runs.release(claim)  # the first answer was lost

    record = await store.get("old")
    assert (record.status, record.attempt, record.started_at_ms) == (Status.QUEUED, 0, None)
    assert (record.device.used, record.device.worker) == (None, None)
    assert await store.position("old") == 0
    assert leased(redis) == set()
    assert [event.type for event in await store.events("old")][2:] == [EventType.REQUEUED]
    assert claim_from(runs).attempt == 1


async def test_release_after_a_cancel_cancels(store: JobStore, runs: RunStore) -> None:
    await store.create(make_job("one"))
    claim = claim_from(runs)
    await store.cancel("one")

    runs.release(claim)

    assert (await store.get("one")).status is Status.CANCELLED


async def test_a_new_attempt_begins_with_an_empty_history(
    store: JobStore, runs: RunStore, redis: Redis
) -> None:
    await store.create(make_job("one"))
    claim = claim_from(runs)
    write(runs, claim, make_rows(0, 5))
    write(runs, claim, make_rows(0, 5), run=1)
    runs.release(claim)

    again = claim_from(runs)

    assert again.record.progress is None
    assert len(await store.history("one")) == 0
    assert not redis.exists(KEYS.history("one", run=0), KEYS.history("one", run=1))
    write(runs, again, make_rows(0, 2))
    assert await store.history("one") == make_rows(0, 2)


_WRITES: dict[str, Callable[[RunStore, Claim], object]] = {
    "renew": lambda runs, claim: runs.renew(claim),
    "is_cancel_requested": lambda runs, claim: runs.is_cancel_requested(claim),
    "describe": lambda runs, claim: runs.describe(claim, Description(device=CPU, engine=ENGINE)),
    "record": lambda runs, claim: write(runs, claim, make_rows(0, 5)),
    "succeed": lambda runs, claim: runs.finish(
        claim, status=Status.SUCCEEDED, outcome=make_outcome(), error=None
    ),
    "fail": lambda runs, claim: runs.finish(
        claim, status=Status.FAILED, outcome=None, error=FAILURE
    ),
    "release": lambda runs, claim: runs.release(claim),
}


def _dump(redis: Redis) -> dict[bytes, object]:
    """Return every key's content, times of death included."""
    return {name: (redis.dump(name), redis.pexpiretime(name)) for name in redis.scan_iter()}


@pytest.mark.parametrize("name", _WRITES)
@pytest.mark.parametrize("fate", ["requeued", "taken", "released", "ended", "deleted"])
async def test_a_stale_attempt_writes_nothing(
    store: JobStore, runs: RunStore, recovery: Recovery, redis: Redis, *, name: str, fate: str
) -> None:
    await store.create(make_job("one"))
    stale = claim_from(runs)
    if fate in {"requeued", "taken"}:
        lapse(redis, "one")
        assert recovery.round().requeued == 1
    if fate == "taken":
        claim_from(runs, worker="w2")
    if fate == "released":
        # The attempt's number is given back, so the next claim has the same one.
        runs.release(stale)
        assert claim_from(runs, worker="w2").attempt == stale.attempt
    if fate in {"ended", "deleted"}:
        await store.cancel("one")
        runs.finish(stale, status=Status.CANCELLED, outcome=None, error=None)
    if fate == "deleted":
        await store.delete("one")
    before = _dump(redis)

    with pytest.raises(LeaseLost):
        _WRITES[name](runs, stale)

    assert _dump(redis) == before


async def test_is_cancel_requested_sees_the_request(store: JobStore, runs: RunStore) -> None:
    await store.create(make_job("one"))
    claim = claim_from(runs)

    assert not runs.is_cancel_requested(claim)

    await store.cancel("one")

    assert runs.is_cancel_requested(claim)


async def test_workers_are_listed_while_they_live(
    store: JobStore, runs: RunStore, redis: Redis
) -> None:
    def announce(name: str, seconds: float) -> None:
        info = WorkerInfo(
            name=name, queue="cpu", devices=("cpu",), torch="2.13.0", started_at_ms=1, job=None
        )
        runs.announce(info, ttl_seconds=seconds)

    announce("b", 30)
    announce("a", 30)
    announce("dead", 0.02)
    announce("gone", 30)
    runs.retire("gone")
    wait_until(lambda: not redis.exists(KEYS.worker("dead")), "the worker's word lapses")

    assert [worker.name for worker in await store.workers()] == ["a", "b"]


async def test_warm_store_runs_an_attempt_without_teaching_redis(
    store: JobStore, runs: RunStore, redis: Redis
) -> None:
    await store.create(make_job("one"))
    redis.script_flush()
    runs.warm()
    known = redis.info("memory")["number_of_cached_scripts"]
    claim = claim_from(runs)
    runs.renew(claim)
    write(runs, claim, make_rows(0, 1))
    runs.finish(claim, status=Status.SUCCEEDED, outcome=make_outcome(), error=None)

    assert redis.info("memory")["number_of_cached_scripts"] == known > 0
