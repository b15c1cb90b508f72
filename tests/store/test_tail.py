"""The end of a job's log: what follows a seq, and whether anything lies between."""

import pytest
from redis import Redis

from app.domain.errors import JobNotFound
from app.domain.events import EventType
from app.domain.job import Status
from app.store.claim import Claim
from app.store.jobs import JobStore
from app.store.runs import RunStore
from tests.store.samples import claim_from, make_job, make_progress, make_rows


def record_events(runs: RunStore, claim: Claim, *, first: int, stop: int) -> None:
    for step in range(first, stop):
        progress = make_progress(step)
        rows = [make_rows(step, step + 1)]
        runs.record(claim, run=0, rows=rows, progress=progress, with_event=True)


async def test_tail_is_what_follows_a_seq(store: JobStore, runs: RunStore) -> None:
    await store.create(make_job("one"))
    record_events(runs, claim_from(runs), first=0, stop=3)
    tail = await store.tail("one", after=3)

    assert [event.seq for event in tail.events] == [4, 5]
    assert (tail.first_seq, tail.newest.seq, tail.seq) == (1, 5, 5)
    assert tail.is_whole
    assert not tail.is_done


async def test_tail_that_is_cut_says_so(store: JobStore, runs: RunStore) -> None:
    await store.create(make_job("one"))
    record_events(runs, claim_from(runs), first=0, stop=3)
    tail = await store.tail("one", after=1, limit=2)

    assert [event.seq for event in tail.events] == [2, 3]
    assert not tail.is_whole


async def test_change_that_is_no_event_moves_the_seq_alone(store: JobStore) -> None:
    await store.create(make_job("one"))
    await store.patch("one", name="new")
    tail = await store.tail("one", after=1)

    assert tail.events == ()
    assert (tail.newest.seq, tail.seq) == (1, 2)
    assert tail.is_whole
    assert tail.goes_on_from(2)


async def test_ended_job_is_done_and_its_last_event_says_how(
    store: JobStore, runs: RunStore
) -> None:
    await store.create(make_job("one"))
    runs.finish(claim_from(runs), status=Status.FAILED, outcome=None, error=None)
    tail = await store.tail("one", after=0, limit=1)

    assert tail.is_done
    assert tail.newest.type is EventType.FAILED


@pytest.mark.parametrize(("seq", "goes_on"), [(0, True), (2, True), (3, False), (9, False)])
async def test_reader_ahead_of_the_log_is_of_another_redis(
    store: JobStore, runs: RunStore, seq: int, *, goes_on: bool
) -> None:
    await store.create(make_job("one"))
    claim_from(runs)
    tail = await store.tail("one", after=seq)

    assert tail.goes_on_from(seq) is goes_on


async def test_reader_behind_what_was_trimmed_has_missed_something(
    store: JobStore, runs: RunStore, redis: Redis
) -> None:
    await store.create(make_job("one"))
    record_events(runs, claim_from(runs), first=0, stop=4)
    redis.xtrim("{fit}:job:one:events", maxlen=3, approximate=False)
    tail = await store.tail("one", after=2)

    assert tail.first_seq == 4
    assert [tail.goes_on_from(seq) for seq in range(5)] == [False, False, False, True, True]


async def test_tail_of_no_job_is_refused(store: JobStore, redis: Redis) -> None:
    await store.create(make_job("half"))
    redis.delete("{fit}:job:half:events")

    for job_id in ("none", "half"):
        with pytest.raises(JobNotFound):
            await store.tail(job_id)
