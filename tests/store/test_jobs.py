"""What the service does to jobs that exist: read, list, cancel, patch, delete."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from redis import Redis
from redis.asyncio import Redis as AsyncRedis

from app.domain.errors import (
    InvalidCursor,
    JobExpired,
    JobNotFinished,
    JobNotFound,
    PreconditionFailed,
)
from app.domain.events import EventType
from app.domain.job import JobRecord, Status
from app.domain.spec import ComparisonSpec, FitSpec
from app.settings import Settings
from app.store import jobs
from app.store.jobs import JobStore
from app.store.listing import JobFilter, make_cursor, read_cursor
from app.store.runs import RunStore
from tests.store.samples import CPU, KEYS, claim_from, make_job, make_outcome, make_rows, write

_BY_ID: dict[str, Callable[[JobStore], Awaitable[object]]] = {
    "get": lambda store: store.get("x"),
    "cancel": lambda store: store.cancel("x"),
    "patch": lambda store: store.patch("x", name="n"),
    "delete": lambda store: store.delete("x"),
    "history": lambda store: store.history("x"),
    "points": lambda store: store.points("x"),
    "events": lambda store: store.events("x"),
}


@pytest.mark.parametrize("name", _BY_ID)
async def test_an_unknown_id_is_not_found(store: JobStore, name: str) -> None:
    with pytest.raises(JobNotFound):
        await _BY_ID[name](store)


@pytest.mark.parametrize("name", _BY_ID)
async def test_an_id_whose_time_is_over_is_expired(store: JobStore, name: str) -> None:
    await store.create(make_job("x"))
    await store.cancel("x")
    await store.patch("x", expires_at_ms=1)

    with pytest.raises(JobExpired):
        await _BY_ID[name](store)


async def test_cancel_ends_a_queued_job_at_once(store: JobStore, runs: RunStore) -> None:
    await store.create(make_job("one"))

    record = await store.cancel("one")

    assert record.status is Status.CANCELLED
    assert record.cancel_requested_at_ms == record.finished_at_ms
    assert record == await store.get("one")
    assert runs.claim("cpu", worker="w1", device="cpu") is None
    assert (await store.events("one"))[-1].type is EventType.CANCELLED


async def test_cancel_asks_a_running_job_once(store: JobStore, runs: RunStore) -> None:
    await store.create(make_job("one"))
    claim_from(runs)

    first = await store.cancel("one")
    second = await store.cancel("one")

    assert first == second
    assert first.status is Status.RUNNING
    assert first.cancel_requested_at_ms is not None
    types = [event.type for event in await store.events("one")]
    assert types.count(EventType.CANCEL_REQUESTED) == 1


@pytest.mark.parametrize("status", [Status.SUCCEEDED, Status.FAILED, Status.CANCELLED])
async def test_cancel_leaves_a_finished_job_alone(
    store: JobStore, runs: RunStore, status: Status
) -> None:
    await store.create(make_job("one"))
    runs.finish(claim_from(runs), status=status, outcome=make_outcome(), error=None)
    before = await store.get("one")

    assert await store.cancel("one") == before
    assert await store.get("one") == before


async def test_cancel_and_claim_at_once_agree(
    store: JobStore, redis: Redis, settings: Settings
) -> None:
    runs = RunStore(redis, settings)
    for _ in range(20):
        await store.create(make_job("race"))
        _, claim = await asyncio.gather(
            store.cancel("race"),
            asyncio.to_thread(runs.claim, "cpu", worker="w1", device="cpu"),
        )
        record = await store.get("race")

        assert (record.status is Status.RUNNING) == (claim is not None)
        assert record.cancel_requested_at_ms is not None
        if claim is not None:
            runs.finish(claim, status=Status.CANCELLED, outcome=None, error=None)
        await store.delete("race")


async def test_patch_changes_only_what_is_named(store: JobStore) -> None:
    await store.create(make_job("one", spec=FitSpec(name="old", tags={"a": "1"})))

    renamed = await store.patch("one", name="new")
    tagged = await store.patch("one", tags={"b": "é"})
    cleared = await store.patch("one", name=None)

    assert (renamed.name, renamed.tags) == ("new", {"a": "1"})
    assert (tagged.name, tagged.tags) == ("new", {"b": "é"})
    assert (cleared.name, cleared.spec.name) == (None, "old")
    assert [renamed.seq, tagged.seq, cleared.seq] == [2, 3, 4]
    assert len(await store.events("one")) == 1
    assert await store.get("one") == cleared


async def test_patch_holds_to_the_version_that_the_client_saw(store: JobStore) -> None:
    await store.create(make_job("one"))

    with pytest.raises(PreconditionFailed):
        await store.patch("one", name="new", if_seq=9)

    assert (await store.get("one")).name is None
    assert (await store.patch("one", name="new", if_seq=1)).name == "new"


async def test_patch_moves_the_time_of_death_of_everything(
    store: JobStore, runs: RunStore, redis: Redis
) -> None:
    await store.create(make_job("one"), idempotency_key="key")
    claim = claim_from(runs)
    write(runs, claim, make_rows(0, 3))
    runs.finish(claim, status=Status.SUCCEEDED, outcome=None, error=None)
    at_ms = 4_000_000_000_000

    record = await store.patch("one", expires_at_ms=at_ms)

    assert record.expires_at_ms == at_ms
    assert {redis.pexpiretime(name) for name in redis.keys(f"{KEYS.job('one')}*")} == {at_ms}
    assert redis.pexpiretime(KEYS.gone("one")) > at_ms


async def test_patch_of_the_time_of_death_needs_an_end(store: JobStore) -> None:
    await store.create(make_job("one"))

    with pytest.raises(JobNotFinished):
        await store.patch("one", expires_at_ms=4_000_000_000_000)


async def test_delete_leaves_no_trace(store: JobStore, runs: RunStore, redis: Redis) -> None:
    await store.create(make_job("one", points=b"12345678" * 2), idempotency_key="key")
    claim = claim_from(runs)
    write(runs, claim, make_rows(0, 3))
    runs.finish(claim, status=Status.SUCCEEDED, outcome=None, error=None)

    await store.delete("one")

    # None names the job but the last claim, for five seconds.
    own = (KEYS.durations("cpu"), KEYS.turn("cpu"))
    left = {f"{KEYS.prefix}order", *own, KEYS.claim("w1")}
    assert set(redis.scan_iter()) == {name.encode() for name in left}
    assert (await store.create(make_job("two"), idempotency_key="key")).is_new


@pytest.mark.parametrize("is_running", [False, True])
async def test_delete_refuses_a_job_that_has_not_ended(
    store: JobStore, runs: RunStore, *, is_running: bool
) -> None:
    await store.create(make_job("one"))
    if is_running:
        claim_from(runs)

    with pytest.raises(JobNotFinished):
        await store.delete("one")


async def test_events_page_by_seq(store: JobStore, runs: RunStore) -> None:
    await store.create(make_job("one"))
    runs.release(claim_from(runs))
    claim_from(runs)

    assert [event.seq for event in await store.events("one", after=1, limit=2)] == [2, 3]
    assert [event.seq for event in await store.events("one", after=3)] == [4]
    assert await store.events("one", after=4) == ()


async def test_position_counts_the_jobs_before(store: JobStore, runs: RunStore) -> None:
    for job_id in ("a", "b", "c"):
        await store.create(make_job(job_id))
    await store.create(make_job("g", device=CPU.model_copy(update={"queue": "cuda"})))
    claim_from(runs)

    assert [await store.position(job_id) for job_id in "abcg"] == [None, 0, 1, 0]
    assert await store.depth() == {"cpu": 2, "cuda": 1}


async def test_latest_id_is_the_newest_that_is_left(store: JobStore) -> None:
    assert await store.latest_id() is None

    for job_id in ("a", "b"):
        await store.create(make_job(job_id))

    assert await store.latest_id() == "b"

    await store.cancel("b")
    await store.delete("b")

    assert await store.latest_id() == "a"


async def _fill(store: JobStore, runs: RunStore) -> list[JobRecord]:
    """Make a succeeded fit, a running comparison, and queued fits with tags."""
    comparison = ComparisonSpec.model_validate({"optimizers": ["Adam", "LBFGS"]})
    await store.create(make_job("done"))
    runs.finish(claim_from(runs), status=Status.SUCCEEDED, outcome=None, error=None)
    await store.create(make_job("running", spec=comparison))
    claim_from(runs)
    sgd = FitSpec.model_validate({"optimizer": "SGD", "tags": {"team": "a", "n": "1"}})
    await store.create(make_job("sgd", spec=sgd))
    await store.create(make_job("gpu", device=CPU.model_copy(update={"queue": "cuda"})))
    return [await store.get(job_id) for job_id in ("gpu", "sgd", "running", "done")]


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        (JobFilter(), ["gpu", "sgd", "running", "done"]),
        (JobFilter(statuses=frozenset({Status.QUEUED})), ["gpu", "sgd"]),
        (JobFilter(statuses=frozenset({Status.RUNNING, Status.SUCCEEDED})), ["running", "done"]),
        (JobFilter(kinds=frozenset({"comparison"})), ["running"]),
        (JobFilter(optimizers=frozenset({"LBFGS", "SGD"})), ["sgd", "running"]),
        (JobFilter(optimizers=frozenset({"Adam"})), ["gpu", "running", "done"]),
        (JobFilter(optimizers=frozenset({"Ada"})), []),
        (JobFilter(queues=frozenset({"cuda"})), ["gpu"]),
        (JobFilter(tags={"team": "a"}), ["sgd"]),
        (JobFilter(tags={"team": "a", "n": "1"}), ["sgd"]),
        (JobFilter(tags={"team": "a", "n": "2"}), []),
        (JobFilter(tags={"team": "a"}, queues=frozenset({"cuda"})), []),
    ],
)
async def test_find_filters(
    store: JobStore, runs: RunStore, wanted: JobFilter, found: list[str]
) -> None:
    records = {record.id: record for record in await _fill(store, runs)}

    page = await store.find(wanted, limit=10)

    assert list(page.records) == [records[job_id] for job_id in found]
    assert page.next_cursor is None


async def test_find_filters_by_time(store: JobStore, redis: Redis) -> None:
    base_us = 4_000_000_000_000_000
    for second, job_id in enumerate(("a", "b", "c")):
        redis.set(f"{KEYS.prefix}order", base_us + second * 1_000_000)
        await store.create(make_job(job_id))

    async def ids(**bounds: int) -> list[str]:
        page = await store.find(JobFilter(**bounds), limit=10)
        return [record.id for record in page.records]

    at_ms = (await store.get("b")).created_at_ms
    assert await ids(created_after_ms=at_ms) == ["c", "b"]
    assert await ids(created_before_ms=at_ms) == ["a"]
    assert await ids(created_after_ms=at_ms, created_before_ms=at_ms + 1) == ["b"]


async def test_find_pages_through_what_passes(
    store: JobStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jobs, "_LOOKED_AT_ONCE", 7)
    for number in range(40):
        spec = FitSpec(tags={"even": str(number % 2 == 0)})
        await store.create(make_job(f"n{number}", spec=spec))

    wanted, cursor, pages = JobFilter(tags={"even": "True"}), None, list[list[str]]()
    while True:
        page = await store.find(wanted, cursor=cursor, limit=6)
        pages.append([record.id for record in page.records])
        cursor = page.next_cursor
        if cursor is None:
            break
        # A job that arrives meanwhile is newer than every page.
        await store.create(make_job(spec=FitSpec(tags={"even": "True"})))

    assert [len(page) for page in pages] == [6, 6, 6, 2]
    assert [job_id for page in pages for job_id in page] == [f"n{k}" for k in range(38, -2, -2)]


async def test_find_passes_over_forgotten_jobs(store: JobStore) -> None:
    for job_id in ("a", "b"):
        await store.create(make_job(job_id))
    await store.cancel("b")
    await store.patch("b", expires_at_ms=1)

    page = await store.find(JobFilter(), limit=10)

    assert [record.id for record in page.records] == ["a"]
    assert await store.latest_id() == "a"


@pytest.mark.parametrize(
    "cursor", ["", "x", "é", "MTo=", make_cursor(5) + "=", "MTo1x", "A" * 200, "MjoxMA", "MTowMDU"]
)
async def test_a_cursor_made_elsewhere_is_refused(store: JobStore, cursor: str) -> None:
    with pytest.raises(InvalidCursor):
        await store.find(JobFilter(), cursor=cursor, limit=1)


def test_a_cursor_comes_back() -> None:
    assert read_cursor(make_cursor(1_795_412_545_563_352)) == 1_795_412_545_563_352


async def test_durability_says_what_redis_promises(store: JobStore) -> None:
    assert await store.durability() == {
        "appendonly": "yes",
        "appendfsync": "no",
        "maxmemory-policy": "noeviction",
    }


async def test_durability_is_unknown_where_config_is_forbidden(
    store: JobStore, client: AsyncRedis, redis: Redis
) -> None:
    await store.check()
    redis.acl_setuser(
        "narrow", enabled=True, nopass=True, keys=["*"], commands=["+@all", "-config"]
    )
    try:
        await client.execute_command("AUTH", "narrow", "")
        found = await store.durability()
    finally:
        redis.acl_deluser("narrow")

    assert set(found.values()) == {"unknown"}
