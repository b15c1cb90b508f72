"""A run's history comes back by step, the best row included."""

from array import array

import pytest

from app.domain.errors import JobNotFound
from app.domain.history import Rows
from app.domain.job import Status
from app.domain.result import Point
from app.store.jobs import JobStore
from app.store.runs import RunStore
from tests.store.samples import (
    claim_from,
    make_job,
    make_outcome,
    make_rows,
    write,
)


async def test_history_pages_by_step(store: JobStore, runs: RunStore) -> None:
    await store.create(make_job("one"))
    claim = claim_from(runs)
    for first in range(0, 2500, 10):
        write(runs, claim, make_rows(first, first + 10))

    assert await store.history("one") == make_rows(0, 2500)
    assert await store.history("one", after_step=14, limit=3) == make_rows(15, 18)
    assert await store.history("one", after_step=2495) == make_rows(2496, 2500)
    assert await store.history("one", limit=2100) == make_rows(0, 2100)
    assert len(await store.history("one", after_step=2499)) == 0
    with pytest.raises(JobNotFound):
        await store.history("nobody")


async def test_history_contains_the_best_row_that_recording_left_out(
    store: JobStore, runs: RunStore
) -> None:
    await store.create(make_job("one"))
    claim = claim_from(runs)
    for first in range(0, 4000, 10):
        write(runs, claim, make_rows(first, first + 10, distance=5))
    best = Point(step=13, loss=0.01, excess_loss=None, a=1.0, b=2.0)
    runs.finish(claim, status=Status.SUCCEEDED, outcome=make_outcome(best), error=None)

    whole = await store.history("one")

    assert list(whole.step[:5]) == [0, 5, 10, 13, 15]
    assert (whole.loss[3], whole.a[3], whole.b[3]) == (0.01, 1.0, 2.0)
    assert whole.excess_loss is not None
    assert whole.excess_loss[3] != whole.excess_loss[3]  # NaN: not known
    assert list((await store.history("one", after_step=10, limit=2)).step) == [13, 15]
    assert list((await store.history("one", after_step=13, limit=1)).step) == [15]
    assert list((await store.history("one", limit=3)).step) == [0, 5, 10]


@pytest.mark.parametrize("best_step", [10, 9_999])
async def test_history_inserts_the_best_row_only_where_it_belongs(
    store: JobStore, runs: RunStore, best_step: int
) -> None:
    await store.create(make_job("one"))
    claim = claim_from(runs)
    rows = make_rows(0, 11)
    write(runs, claim, Rows(step=rows.step, loss=rows.loss, a=rows.a, b=rows.b, batch_loss=rows.a))
    best = Point(step=best_step, loss=0.01, a=1.0, b=2.0)
    runs.finish(claim, status=Status.SUCCEEDED, outcome=make_outcome(best), error=None)

    found = await store.history("one")

    assert found.step[-1] == best_step
    assert len(found) == (11 if best_step == 10 else 12)
    assert found.excess_loss is None
    assert found.batch_loss is not None
    assert len(await store.history("one", run=1)) == 0


async def test_a_later_best_row_waits_for_its_page(store: JobStore, runs: RunStore) -> None:
    await store.create(make_job("one"))
    claim = claim_from(runs)
    for first in range(250):
        write(runs, claim, make_rows(2 * first, 2 * first + 1))
    best = Point(step=449, loss=0.01, a=1.0, b=2.0)
    runs.finish(claim, status=Status.SUCCEEDED, outcome=make_outcome(best), error=None)

    steps = array("q")
    while len(page := await store.history("one", after_step=steps[-1] if steps else -1, limit=60)):
        steps.extend(page.step)

    assert list(steps) == sorted([*range(0, 500, 2), 449])
