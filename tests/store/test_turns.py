"""Clients take turns: nobody waits behind another's backlog, and nobody fills the whole queue."""

import itertools

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from redis import Redis

from app.domain.errors import QueueFull, ShareFull
from app.settings import Settings
from app.store.jobs import JobStore
from app.store.recovery import Recovery
from app.store.runs import RunStore
from tests.store.samples import CPU, KEYS, claim_from, lapse, make_job

_NUMBERS = itertools.count(1)


async def _submit(store: JobStore, client: str, count: int = 1) -> list[str]:
    names = [f"{client}{next(_NUMBERS):04}" for _ in range(count)]
    for name in names:
        await store.create(make_job(name, client=client))
    return names


def _claim(runs: RunStore, count: int) -> list[str]:
    return [claim_from(runs).record.id for _ in range(count)]


async def test_one_client_is_served_in_the_order_of_arrival(
    store: JobStore, runs: RunStore
) -> None:
    names = await _submit(store, "a", 12)

    assert _claim(runs, 12) == names


async def test_a_client_does_not_wait_behind_the_backlog_of_another(
    store: JobStore, runs: RunStore
) -> None:
    await _submit(store, "a", 50)
    _claim(runs, 3)
    late = await _submit(store, "b", 3)

    served = _claim(runs, 7)

    assert await store.position(late[0]) is None
    assert [name for name in served if name in late] == late
    assert [name[0] for name in served] == list("abababa")


async def test_the_place_told_is_the_place_served(store: JobStore, runs: RunStore) -> None:
    names = await _submit(store, "a", 5) + await _submit(store, "b", 2)
    places = {name: await store.position(name) for name in names}

    served = _claim(runs, 7)

    assert sorted(names, key=lambda name: places[name] or 0) == served


async def test_a_client_that_has_cancelled_its_backlog_does_not_pay_for_it(
    store: JobStore, runs: RunStore
) -> None:
    for name in await _submit(store, "a", 20):
        await store.cancel(name)
    others = await _submit(store, "b", 5)
    (again,) = await _submit(store, "a")

    assert again in _claim(runs, 2)
    assert _claim(runs, 4) == others[1:]


async def test_a_job_of_a_lost_worker_keeps_its_turn(
    store: JobStore, runs: RunStore, recovery: Recovery, redis: Redis
) -> None:
    (first, *_) = await _submit(store, "a", 5)
    _claim(runs, 3)
    lapse(redis, first)
    recovery.round()
    await _submit(store, "b", 3)

    assert _claim(runs, 1) == [first]


async def test_a_queue_of_a_version_without_turns_is_served_first(
    store: JobStore, runs: RunStore, recovery: Recovery, redis: Redis
) -> None:
    names = await _submit(store, "a", 3)
    for number, name in enumerate(names):
        redis.hdel(KEYS.job(name), "turn", "client")
        redis.zadd(KEYS.ready("cpu"), {name: 1_700_000_000_000_000 + number})
    redis.delete(KEYS.clients("cpu"), KEYS.waiting, KEYS.turn("cpu"))
    first = claim_from(runs)
    new = await _submit(store, "b", 2)
    runs.release(first)

    assert recovery.round().strayed == 2
    assert redis.zcard(KEYS.waiting) == 5
    assert _claim(runs, 5) == [*names, *new]
    assert not redis.exists(KEYS.clients("cpu"))


async def test_a_client_may_hold_as_many_places_as_are_free(
    redis: Redis, store: JobStore, settings: Settings
) -> None:
    small = JobStore(store._redis, settings.model_copy(update={"max_queued_jobs": 8}))
    names = await _submit(small, "a", 4)
    with pytest.raises(ShareFull, match="4 of the 8 places"):
        await _submit(small, "a")
    await _submit(small, "b", 2)
    with pytest.raises(ShareFull):
        await _submit(small, "b")
    await small.cancel(names[0])
    await _submit(small, "c", 1)

    assert redis.hget(KEYS.clients("cpu"), "a:waiting") == b"3"


async def test_one_client_alone_may_fill_the_queue(store: JobStore, settings: Settings) -> None:
    small = JobStore(store._redis, settings.model_copy(update={"max_queued_jobs": 4}))
    await _submit(small, "", 4)

    with pytest.raises(QueueFull) as caught:
        await _submit(small, "")

    assert not isinstance(caught.value, ShareFull)


async def test_shares_count_both_queues(store: JobStore, settings: Settings) -> None:
    small = JobStore(store._redis, settings.model_copy(update={"max_queued_jobs": 4}))
    await _submit(small, "a")
    cuda = CPU.model_copy(update={"queue": "cuda"})
    await small.create(make_job("gpu", client="a", device=cuda))

    with pytest.raises(ShareFull):
        await _submit(small, "a")


@given(arrivals=st.lists(st.sampled_from("abc"), min_size=1, max_size=40))
@hypothesis_settings(
    max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
async def test_no_client_is_served_twice_while_another_waits_that_was_served_less(
    store: JobStore, runs: RunStore, redis: Redis, arrivals: list[str]
) -> None:
    redis.flushall()
    for client in arrivals:
        await _submit(store, client)
    waiting = {client: arrivals.count(client) for client in "abc"}
    served = dict.fromkeys("abc", 0)
    for name in _claim(runs, len(arrivals)):
        waiting[name[0]] -= 1
        served[name[0]] += 1

        assert all(served[name[0]] - served[other] <= 1 for other in "abc" if waiting[other]), (
            arrivals,
            served,
            waiting,
        )
    assert not redis.exists(KEYS.clients("cpu"), KEYS.waiting, KEYS.ready("cpu"))
