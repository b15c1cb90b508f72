"""A connection that breaks around a call, before Redis heard it or after: the repeat is right."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass
from hashlib import sha1
from typing import Literal

import pytest
from redis import Redis

from app.domain.errors import JobNotFound, LeaseLost, StoreUnavailable
from app.domain.events import EventType
from app.domain.job import Status
from app.settings import Settings
from app.store.claim import Claim, Description
from app.store.connect import connect_async, connect_sync
from app.store.jobs import Created, JobStore
from app.store.recovery import Recovery
from app.store.runs import RunStore
from app.store.scripts import source_of
from app.store.server import RedisServer
from tests.proxy import Proxy, address_of
from tests.store.samples import (
    CPU,
    ENGINE,
    FAILURE,
    claim_from,
    deliver,
    leased,
    make_job,
    make_outcome,
    make_progress,
    make_rows,
    make_sweep,
    split,
)
from tests.waiting import wait_until

When = Literal["before", "after"]
BOTH = pytest.mark.parametrize("when", ["before", "after"])


@pytest.fixture
def settings() -> Settings:
    """The shortest lease that there is."""
    return Settings.model_construct(lease_seconds=0.5, heartbeat_seconds=0.1)


@pytest.fixture
def proxy(redis_server: RedisServer) -> Iterator[Proxy]:
    passing = Proxy(address_of(redis_server.url))
    yield passing
    passing.close()


@dataclass(frozen=True, slots=True, kw_only=True)
class Far:
    """Store and runs as they are seen through a network that loses things.

    Attributes:
        store: The service's.
        runs: A worker's.
    """

    store: JobStore
    runs: RunStore
    proxy: Proxy
    redis: Redis

    def lose(self, name: str, *, when: When) -> None:
        """Break the connection around the next call of a script."""
        source = source_of(name)
        # Known already, so that the first call is the one that does it.
        self.redis.script_load(source)
        self.proxy.cut(sha1(source.encode(), usedforsecurity=False).hexdigest().encode(), when=when)

    def call(self, name: str, action: Callable[[RunStore], object], *, when: When) -> None:
        """Do something as a worker does it: lose it the first time, then repeat it."""
        self.lose(name, when=when)
        with pytest.raises(StoreUnavailable):
            action(self.runs)
        self.proxy.wait_until_cut()
        action(self.runs)

    async def ask(
        self, name: str, action: Callable[[JobStore], Awaitable[object]], *, when: When
    ) -> None:
        """Do something as the service does it, lose it, and leave the repeat to the caller."""
        self.lose(name, when=when)
        with pytest.raises(StoreUnavailable):
            await action(self.store)
        self.proxy.wait_until_cut()


@pytest.fixture
async def far(proxy: Proxy, redis: Redis, settings: Settings) -> AsyncIterator[Far]:
    url = f"redis://127.0.0.1:{proxy.port}/0"
    with connect_sync(settings, url) as near:
        async with connect_async(settings, url) as client:
            yield Far(
                store=JobStore(client, settings),
                runs=RunStore(near, settings),
                proxy=proxy,
                redis=redis,
            )


async def types_of(store: JobStore, job_id: str) -> list[EventType]:
    return [event.type for event in await store.events(job_id)]


@BOTH
@pytest.mark.parametrize("means", ["key", "id"])
async def test_a_create_repeated_makes_one_job(
    far: Far, store: JobStore, redis: Redis, *, means: str, when: When
) -> None:
    async def create(through: JobStore) -> Created:
        if means == "id":
            return await through.create(make_job("mine"), own_id=True)
        return await through.create(make_job(), idempotency_key="key")

    await far.ask("create", create, when=when)
    created = await create(far.store)

    assert created.is_new == (when == "before")
    assert await store.latest_id() == created.record.id
    assert redis.zcard("{fit}:index") == redis.zcard("{fit}:ready:cpu") == 1
    assert await types_of(store, created.record.id) == [EventType.QUEUED]


@BOTH
async def test_a_claim_repeated_is_answered_with_the_same_job(
    far: Far, store: JobStore, *, when: When
) -> None:
    for job_id in ("one", "two"):
        await store.create(make_job(job_id))
    far.lose("claim", when=when)
    with pytest.raises(StoreUnavailable):
        far.runs.claim("cpu", worker="w1", device="cpu")
    far.proxy.wait_until_cut()

    claim = claim_from(far.runs)

    assert (claim.record.id, claim.attempt) == ("one", 1)
    assert leased(far.redis) == {"one"}


async def test_a_claim_that_nobody_repeats_is_queued_again_after_its_lease(
    far: Far, store: JobStore, runs: RunStore, recovery: Recovery
) -> None:
    await store.create(make_job("one"))
    far.lose("claim", when="after")
    with pytest.raises(StoreUnavailable):
        far.runs.claim("cpu", worker="w1", device="cpu")
    far.proxy.wait_until_cut()

    assert runs.claim("cpu", worker="w2", device="cpu") is None
    wait_until(lambda: recovery.round().requeued == 1, "queued again", seconds=2)
    assert claim_from(runs, worker="w2").attempt == 2


_Write = Callable[[RunStore, Claim], object]

_WRITES: dict[str, _Write] = {
    "renew": lambda runs, claim: runs.renew(claim),
    "describe": lambda runs, claim: runs.describe(claim, Description(device=CPU, engine=ENGINE)),
    "start_over": lambda runs, claim: runs.start_over(claim),
    "record": lambda runs, claim: runs.record(
        claim, run=0, rows=[make_rows(0, 5)], progress=make_progress(4), with_event=False
    ),
    "finish": lambda runs, claim: runs.finish(
        claim, status=Status.SUCCEEDED, outcome=make_outcome(), error=None
    ),
    "release": lambda runs, claim: runs.release(claim),
}


@BOTH
@pytest.mark.parametrize("name", _WRITES)
async def test_a_write_repeated_leaves_what_one_write_leaves(
    far: Far, store: JobStore, runs: RunStore, *, name: str, when: When
) -> None:
    for job_id in ("alone", "cut"):
        await store.create(make_job(job_id))
    claims = [claim_from(runs), claim_from(runs)]

    _WRITES[name](runs, claims[0])
    far.call(name, lambda through: _WRITES[name](through, claims[1]), when=when)

    alone, twice = await store.get("alone"), await store.get("cut")
    assert (twice.status, twice.attempt, twice.progress) == (
        alone.status,
        alone.attempt,
        alone.progress,
    )
    assert (twice.outcome, twice.engine, twice.error) == (alone.outcome, alone.engine, alone.error)
    assert await store.history("cut") == await store.history("alone")
    assert await types_of(store, "cut") == await types_of(store, "alone")
    assert leased(far.redis) in ({"alone", "cut"}, set())


def advance(runs: RunStore, claim: Claim) -> None:
    runs.shards.advance(claim, runs=31)


def fail(runs: RunStore, claim: Claim) -> None:
    runs.shards.finish(claim, status=Status.FAILED, error=FAILURE)


def release(runs: RunStore, claim: Claim) -> None:
    runs.release(claim)


@BOTH
@pytest.mark.parametrize(
    ("name", "write"),
    [("advance", advance), ("deliver", deliver), ("deliver", fail), ("release", release)],
    ids=["advance", "deliver", "fail", "release"],
)
async def test_a_write_of_a_shard_repeated_leaves_what_one_write_leaves(
    far: Far, store: JobStore, runs: RunStore, *, name: str, write: _Write, when: When
) -> None:
    for job_id in ("alone", "cut"):
        await store.create(make_job(job_id, spec=make_sweep(1_000)))
    for claim in (claim_from(runs), claim_from(runs)):
        split(runs, claim)
    claims = {claim.record.id: claim for claim in (claim_from(runs) for _ in range(8))}

    write(runs, claims["alone"])
    far.call(name, lambda through: write(through, claims["cut"]), when=when)

    shards = [far.redis.smembers(f"{{fit}}:job:{job_id}:shards") for job_id in claims]
    assert shards[0] == shards[1]
    assert await store.records("cut", 0, 1_000) == await store.records("alone", 0, 1_000)
    names = ("status", "closed", "opened", "made")
    found = [far.redis.hmget(f"{{fit}}:job:{job_id}", names) for job_id in claims]
    assert found[0] == found[1]


@BOTH
async def test_a_split_repeated_opens_each_shard_once(
    far: Far, store: JobStore, runs: RunStore, *, when: When
) -> None:
    await store.create(make_job("one", spec=make_sweep(1_000)))
    claim = claim_from(runs)

    far.call("split", lambda through: split(through, claim), when=when)

    assert far.redis.zrange("{fit}:ready:cpu", 0, -1) == [b"one/%d" % n for n in range(4)]
    assert far.redis.hget("{fit}:job:one", "opened") == b"4"
    assert far.redis.hget("{fit}:clients:cpu", ":shards") == b"4"


@BOTH
async def test_a_claim_of_a_shard_repeated_is_answered_with_the_same_shard(
    far: Far, store: JobStore, runs: RunStore, *, when: When
) -> None:
    await store.create(make_job("one", spec=make_sweep(1_000)))
    split(runs, claim_from(runs))
    far.lose("claim", when=when)
    with pytest.raises(StoreUnavailable):
        far.runs.claim("cpu", worker="w1", device="cpu")
    far.proxy.wait_until_cut()

    claim = claim_from(far.runs)

    assert (claim.id, claim.attempt) == ("one/0", 1)
    assert leased(far.redis) == {"one/0"}


async def test_a_release_whose_answer_was_lost_does_not_reach_the_next_attempt(
    far: Far, store: JobStore, runs: RunStore
) -> None:
    await store.create(make_job("one"))
    claim = claim_from(runs)
    far.lose("release", when="after")
    with pytest.raises(StoreUnavailable):
        far.runs.release(claim)
    far.proxy.wait_until_cut()
    claim_from(runs, worker="w2")

    with pytest.raises(LeaseLost):
        far.runs.release(claim)
    assert (await store.get("one")).device.worker == "w2"


@BOTH
@pytest.mark.parametrize("status", [Status.QUEUED, Status.RUNNING])
async def test_a_cancel_repeated_is_asked_once(
    far: Far, store: JobStore, runs: RunStore, *, status: Status, when: When
) -> None:
    await store.create(make_job("one"))
    if status is Status.RUNNING:
        claim_from(runs)

    await far.ask("cancel", lambda through: through.cancel("one"), when=when)
    record = await far.store.cancel("one")

    assert record.cancel_requested_at_ms is not None
    ends = {EventType.CANCEL_REQUESTED, EventType.CANCELLED}
    assert len([kind for kind in await types_of(store, "one") if kind in ends]) == 1


@BOTH
async def test_a_patch_repeated_changes_what_one_changes(
    far: Far, store: JobStore, *, when: When
) -> None:
    await store.create(make_job("one"))

    await far.ask("patch", lambda through: through.patch("one", name="new"), when=when)
    record = await far.store.patch("one", name="new")

    assert record.name == "new"
    assert await types_of(store, "one") == [EventType.QUEUED]


@BOTH
async def test_a_delete_repeated_finds_nothing_or_deletes(
    far: Far, store: JobStore, *, when: When
) -> None:
    await store.create(make_job("one"))
    await store.cancel("one")

    await far.ask("delete", lambda through: through.delete("one"), when=when)
    if when == "before":
        await far.store.delete("one")

    with pytest.raises(JobNotFound):
        await far.store.delete("one")


@BOTH
async def test_a_round_whose_answer_was_lost_counts_the_missing_wake_ups_again(
    far: Far, store: JobStore, settings: Settings, proxy: Proxy, *, when: When
) -> None:
    await store.create(make_job("one"))
    with connect_sync(settings, f"redis://127.0.0.1:{proxy.port}/0") as client:
        recovery = Recovery(client, settings)
        far.lose("recover", when=when)
        with pytest.raises(StoreUnavailable):
            recovery.round()
        proxy.wait_until_cut()

        assert recovery.round().wake_ups == {"cpu": 1, "cuda": 0}
