"""A checkpoint is written with the rows that it belongs to, and the next claim goes back to it."""

from collections.abc import Callable

import pytest
from redis import Redis

from app.domain.errors import LeaseLost
from app.domain.job import Status
from app.settings import Settings
from app.store.checkpoint import Checkpoint, decode_checkpoint, encode_checkpoint
from app.store.claim import Claim
from app.store.jobs import JobStore
from app.store.recovery import Recovery
from app.store.runs import RunStore
from tests.store.samples import (
    FAILURE,
    KEYS,
    claim_from,
    lapse,
    make_job,
    make_outcome,
    make_progress,
    make_rows,
    write,
)

STATE = bytes(range(256))


def make_checkpoint(step: int, *, run: int = 0, state: bytes = STATE) -> Checkpoint:
    results = make_outcome().runs * run
    return Checkpoint(run=run, step=step, state=state, results=results, seconds=0.1 + 0.2)


def save(runs: RunStore, claim: Claim, first: int, stop: int, *, run: int = 0) -> None:
    """Record rows and a checkpoint at their end."""
    runs.record(
        claim,
        run=run,
        rows=[make_rows(first, stop)],
        progress=make_progress(stop - 1, run=run),
        with_event=False,
        checkpoint=make_checkpoint(stop - 1, run=run),
    )


def lose(redis: Redis, recovery: Recovery) -> None:
    lapse(redis, "one")
    assert recovery.round().requeued == 1


async def test_first_claim_has_no_checkpoint(store: JobStore, runs: RunStore) -> None:
    await store.create(make_job("one"))

    assert claim_from(runs).checkpoint is None


@pytest.mark.parametrize("fate", ["released", "lost"])
async def test_next_claim_is_handed_the_last_checkpoint(
    store: JobStore, runs: RunStore, redis: Redis, recovery: Recovery, *, fate: str
) -> None:
    await store.create(make_job("one"))
    claim = claim_from(runs)
    save(runs, claim, 0, 5)
    save(runs, claim, 5, 9)
    if fate == "released":
        runs.release(claim)
    else:
        lose(redis, recovery)

    again = claim_from(runs)

    assert again.checkpoint == make_checkpoint(8)
    assert again.record.progress == make_progress(8)
    assert again.record == await store.get("one")
    assert await store.history("one") == make_rows(0, 9)


@pytest.mark.parametrize("after", [1, 3])
async def test_rows_after_the_checkpoint_are_cut_off(
    store: JobStore, runs: RunStore, redis: Redis, recovery: Recovery, *, after: int
) -> None:
    await store.create(make_job("one"))
    claim = claim_from(runs)
    write(runs, claim, make_rows(0, 3))
    save(runs, claim, 3, 6)
    for first in range(6, 6 + after):
        write(runs, claim, make_rows(first, first + 1))
    lose(redis, recovery)

    again = claim_from(runs)

    assert again.record.progress == make_progress(5)
    assert await store.history("one") == make_rows(0, 6)
    assert redis.xlen(KEYS.history("one", run=0)) == 2
    write(runs, again, make_rows(6, 8))
    assert await store.history("one") == make_rows(0, 8)


async def test_thinned_rows_may_end_before_the_checkpoint(
    store: JobStore, runs: RunStore, redis: Redis, recovery: Recovery
) -> None:
    await store.create(make_job("one"))
    claim = claim_from(runs)
    runs.record(
        claim,
        run=0,
        rows=[make_rows(0, 21, distance=10)],
        progress=make_progress(27),
        with_event=False,
        checkpoint=make_checkpoint(27),
    )
    write(runs, claim, make_rows(30, 31))
    lose(redis, recovery)
    again = claim_from(runs)
    write(runs, again, make_rows(30, 41, distance=10))

    assert await store.history("one") == make_rows(0, 41, distance=10)


async def test_runs_before_the_checkpoint_stay_and_those_after_it_go(
    store: JobStore, runs: RunStore, redis: Redis, recovery: Recovery
) -> None:
    await store.create(make_job("one"))
    claim = claim_from(runs)
    write(runs, claim, make_rows(0, 9))
    save(runs, claim, 0, 4, run=1)
    write(runs, claim, make_rows(4, 6), run=1)
    write(runs, claim, make_rows(0, 6), run=2)
    lose(redis, recovery)

    again = claim_from(runs)

    assert again.checkpoint == make_checkpoint(3, run=1)
    assert again.checkpoint.results == make_outcome().runs
    assert [len(await store.history("one", run=run)) for run in range(3)] == [9, 4, 0]
    assert not redis.exists(KEYS.history("one", run=2))


async def test_checkpoint_before_the_first_row_of_a_run_keeps_none_of_it(
    store: JobStore, runs: RunStore, redis: Redis, recovery: Recovery
) -> None:
    await store.create(make_job("one"))
    claim = claim_from(runs)
    runs.record(
        claim,
        run=0,
        rows=[make_rows(0, 5)],
        progress=make_progress(4),
        with_event=False,
        checkpoint=make_checkpoint(-1, run=1),
    )
    write(runs, claim, make_rows(0, 3), run=1)
    lose(redis, recovery)

    assert claim_from(runs).record.progress == make_progress(4)
    assert [len(await store.history("one", run=run)) for run in range(2)] == [5, 0]


async def test_checkpoint_sent_twice_is_there_once(store: JobStore, runs: RunStore) -> None:
    await store.create(make_job("one"))
    claim = claim_from(runs)
    save(runs, claim, 0, 5)
    save(runs, claim, 0, 5)
    runs.release(claim)

    assert claim_from(runs).checkpoint == make_checkpoint(4)
    assert await store.history("one") == make_rows(0, 5)


@pytest.mark.parametrize("status", [Status.SUCCEEDED, Status.FAILED, Status.CANCELLED])
async def test_checkpoint_dies_with_its_job(
    store: JobStore, runs: RunStore, redis: Redis, *, status: Status
) -> None:
    await store.create(make_job("one"))
    claim = claim_from(runs)
    save(runs, claim, 0, 5)
    runs.finish(
        claim,
        status=status,
        outcome=make_outcome(),
        error=FAILURE if status is Status.FAILED else None,
    )

    expires = (await store.get("one")).expires_at_ms
    assert redis.pexpiretime(KEYS.checkpoint("one")) == expires

    await store.delete("one")

    assert not redis.exists(KEYS.checkpoint("one"))


async def test_start_over_forgets_all_steps(store: JobStore, runs: RunStore, redis: Redis) -> None:
    await store.create(make_job("one"))
    claim = claim_from(runs)
    write(runs, claim, make_rows(0, 9))
    save(runs, claim, 0, 5, run=1)
    runs.release(claim)
    again = claim_from(runs)
    seq = again.record.seq

    runs.start_over(again)
    runs.start_over(again)  # the first answer was lost

    record = await store.get("one")
    assert record.progress is None
    assert record.seq > seq
    assert not redis.exists(KEYS.checkpoint("one"), *(KEYS.history("one", run=r) for r in (0, 1)))
    write(runs, again, make_rows(0, 2))
    assert await store.history("one") == make_rows(0, 2)


async def test_steps_after_a_start_over_are_new_ones(
    store: JobStore, redis: Redis, redis_url: str
) -> None:
    assert redis_url
    settings = Settings.model_construct(max_fruitless_attempts=2)
    runs, recovery = RunStore(redis, settings), Recovery(redis, settings)
    await store.create(make_job("one"))
    save(runs, claim_from(runs), 0, 100)
    for stop in (3, 5, 7):
        lose(redis, recovery)
        claim = claim_from(runs)
        runs.start_over(claim)
        save(runs, claim, 0, stop)

    assert (await store.get("one")).status is Status.RUNNING


@pytest.mark.parametrize(
    "act",
    [
        lambda runs, claim: save(runs, claim, 5, 9),
        lambda runs, claim: runs.start_over(claim),
    ],
    ids=["record", "start_over"],
)
async def test_stale_attempt_changes_no_checkpoint(
    store: JobStore,
    runs: RunStore,
    redis: Redis,
    recovery: Recovery,
    *,
    act: Callable[[RunStore, Claim], object],
) -> None:
    await store.create(make_job("one"))
    stale = claim_from(runs)
    save(runs, stale, 0, 5)
    lose(redis, recovery)
    claim_from(runs, worker="w2")
    before = {name: redis.dump(name) for name in redis.scan_iter()}

    with pytest.raises(LeaseLost):
        act(runs, stale)

    assert {name: redis.dump(name) for name in redis.scan_iter()} == before


@pytest.mark.parametrize(
    "change",
    [{"run": "x"}, {"seconds": ""}, {"results": "[{}]"}, {"results": "pickle"}, {"state": None}],
    ids=str,
)
def test_checkpoint_that_cannot_be_read_is_an_empty_one(change: dict[str, str | None]) -> None:
    fields = {**encode_checkpoint(make_checkpoint(4, run=2)), **change}
    raw = {
        name.encode(): value if isinstance(value, bytes) else value.encode()
        for name, value in fields.items()
        if value is not None
    }

    assert decode_checkpoint(raw) == Checkpoint(run=0, step=-1, state=b"")
