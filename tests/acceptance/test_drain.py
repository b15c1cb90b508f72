"""Workers that are told to stop: their jobs go on elsewhere, none lost, none twice, no bit different."""

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from app.domain.events import EventType
from app.domain.job import JobRecord, Status
from app.settings import Settings
from app.store import server
from app.store.codec import encode_rows
from tests.acceptance.pools import Pool
from tests.unit.worker.desk import TestDesk
from tests.waiting import wait_until

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(240)]

HAND_BACK_SECONDS = 2.0
LONG: dict[str, Any] = {
    "data": {"preset": "noisy"},
    "batch_size": 10,
    "steps": 10_000,
    "stop": {"loss_below": None},
    "engine": "torch",
}
ENDLESS: dict[str, Any] = {
    "steps": 10_000_000,
    "stop": {"loss_below": None},
    "engine": "torch",
}
MILLION: dict[str, Any] = {"data": {"generate": {"n": 1_000_000, "noise": 0.1}}, "loss": "huber"}
# One step of a minute: LBFGS evaluates a thousand times.
LONG_STEP: dict[str, Any] = {
    **MILLION,
    "optimizer": {
        "name": "lbfgs",
        "lr": 1e-4,
        "max_iter": 1000,
        "tolerance_grad": 0,
        "tolerance_change": 0,
    },
}
COMPARISON: dict[str, Any] = {
    "kind": "comparison",
    "optimizers": ["adam", "sgd"],
    "steps": 5_000_000,
    "engine": "torch",
}


@pytest.fixture
def desk(tmp_path: Path, settings: Settings) -> Iterator[TestDesk]:
    """Submits to a Redis of this test alone."""
    running = server.start(tmp_path / "redis", fsync="no")
    with TestDesk(running.url, settings) as opened:
        yield opened
    running.stop()


@pytest.fixture
def open_pool(desk: TestDesk, tmp_path: Path) -> Iterator[Callable[..., Pool]]:
    """Start pools; none outlives the test."""
    opened: list[Pool] = []

    def start(**given: Any) -> Pool:
        opened.append(Pool(desk.url, tmp_path, name=f"pool-{len(opened)}", **given))
        return opened[-1]

    yield start
    for pool in opened:
        pool.kill()


def is_running(desk: TestDesk, job_id: str = "j") -> bool:
    return desk.record(job_id).status is Status.RUNNING


def has_made_steps(desk: TestDesk, job_id: str = "j") -> bool:
    progress = desk.record(job_id).progress
    return is_running(desk, job_id) and progress is not None and progress.step > 0


@pytest.mark.parametrize(
    ("body", "is_in_hand"),
    [
        (ENDLESS, has_made_steps),
        (COMPARISON, has_made_steps),
        (MILLION, is_running),
        (LONG_STEP, is_running),
    ],
    ids=["steps", "comparison", "prepare", "long-step"],
)
def test_worker_hands_its_job_back_and_ends(
    desk: TestDesk,
    open_pool: Callable[..., Pool],
    body: dict[str, Any],
    is_in_hand: Callable[[TestDesk], bool],
) -> None:
    # Two processes: the other one is idle, and must not take what this one hands back.
    pool = open_pool(concurrency=2).wait_until_ready()
    desk.submit(**body)
    wait_until(lambda: is_in_hand(desk), "the job is in hand", seconds=30)
    pool.send()
    wait_until(
        lambda: not is_running(desk), "the job is handed back", seconds=HAND_BACK_SECONDS + 1
    )
    status = pool.end()
    record = desk.record()
    handed_back = [e for e in desk.events() if e.type is EventType.REQUEUED]
    started = [e for e in desk.events() if e.type is EventType.STARTED]

    assert status == 0
    assert (record.status, record.attempt) == (Status.QUEUED, 0)
    assert [event.data["reason"] for event in handed_back] == ["drained"]
    assert len(started) == 1
    assert desk.ask(lambda store: store.workers()) == ()


@pytest.mark.parametrize(
    "signals",
    [
        (signal.SIGTERM, signal.SIGTERM),
        (signal.SIGINT,),
        (signal.SIGINT, signal.SIGINT),
        (signal.SIGQUIT,),
    ],
    ids=lambda signals: "-".join(name.name for name in signals),
)
def test_worker_that_is_told_in_another_way_hands_its_job_back_too(
    desk: TestDesk, open_pool: Callable[..., Pool], signals: tuple[signal.Signals, ...]
) -> None:
    pool = open_pool(concurrency=2).wait_until_ready()
    desk.submit(**ENDLESS)
    wait_until(lambda: has_made_steps(desk), "the job makes steps", seconds=30)
    for name in signals:
        pool.send(name)
        time.sleep(0.05)
    wait_until(
        lambda: not is_running(desk), "the job is handed back", seconds=HAND_BACK_SECONDS + 1
    )
    pool.end()
    record = desk.record()

    assert (record.status, record.attempt) == (Status.QUEUED, 0)


def test_whole_unit_that_is_told_at_once_hands_its_jobs_back(
    desk: TestDesk, open_pool: Callable[..., Pool]
) -> None:
    # As systemd does it by default: every process of the unit gets the signal.
    pool = open_pool(concurrency=2).wait_until_ready()
    for job_id in ("a", "b"):
        desk.submit(job_id=job_id, **ENDLESS)
        wait_until(lambda: has_made_steps(desk, job_id), "it makes steps", seconds=30)  # noqa: B023
    os.killpg(pool.process.pid, signal.SIGTERM)
    pool.end()

    assert [desk.record(job).status for job in "ab"] == [Status.QUEUED] * 2
    assert [desk.record(job).attempt for job in "ab"] == [0, 0]


def test_child_that_is_told_hands_its_job_to_another(
    desk: TestDesk, open_pool: Callable[..., Pool]
) -> None:
    pool = open_pool(concurrency=1).wait_until_ready()
    desk.submit(**ENDLESS)
    wait_until(lambda: has_made_steps(desk), "the job makes steps", seconds=30)
    (child,) = pool.children()
    os.kill(child, signal.SIGTERM)
    wait_until(lambda: "job.resumed" in pool.log, "another child goes on", seconds=30)
    (successor,) = pool.children()

    assert successor != child
    assert desk.record().attempt == 1, "the first one was not counted"
    assert pool.process.poll() is None


def test_rolling_restart_loses_nothing_and_doubles_nothing(
    desk: TestDesk, open_pool: Callable[..., Pool]
) -> None:
    longs = [f"long-{number}" for number in range(2)]
    shorts = [f"short-{number}" for number in range(200)]
    old = [open_pool(concurrency=2), open_pool(concurrency=2)]
    for pool in old:
        pool.wait_until_ready()
    for job_id in longs:
        desk.submit(job_id=job_id, optimizer="adam", seed=int(job_id[-1]), **LONG)
    with TestDesk(desk.url, desk.settings) as other:
        client = threading.Thread(target=submit_slowly, args=(other, shorts))
        client.start()
        for pool in old:
            new = open_pool(concurrency=2).wait_until_ready()
            pool.send()
            assert pool.end() == 0
            assert new.process.poll() is None
        client.join()
    everyone = [*longs, *shorts]
    wait_until(lambda: not unfinished(desk, everyone), "every job ended", seconds=90)
    for job_id in longs:
        desk.submit(job_id=f"again-{job_id}", optimizer="adam", seed=int(job_id[-1]), **LONG)
    again = [f"again-{job_id}" for job_id in longs]
    wait_until(lambda: not unfinished(desk, again), "the undisturbed ones ended", seconds=90)
    drained = [job for job in longs if EventType.REQUEUED in types_of(desk, job)]

    assert drained, "the restart met a job"
    for job_id in everyone:
        record = desk.record(job_id)
        assert (record.status, record.attempt) == (Status.SUCCEEDED, 1), job_id
        assert sum(kind.is_terminal for kind in types_of(desk, job_id)) == 1
    for job_id in longs:
        assert found_by(desk.record(job_id)) == found_by(desk.record(f"again-{job_id}"))
        assert encode_rows(desk.history(job_id)) == encode_rows(desk.history(f"again-{job_id}"))


def submit_slowly(desk: TestDesk, job_ids: list[str]) -> None:
    """Keep a queue of small jobs, from before the first stop until after the last start."""
    for job_id in job_ids:
        desk.submit(job_id=job_id, lr=0.1)
        time.sleep(0.1)


def unfinished(desk: TestDesk, job_ids: list[str]) -> list[str]:
    """Return the jobs that have not ended; a quick look, so that it takes no time from them."""
    with desk.redis.pipeline(transaction=False) as pipeline:
        for job_id in job_ids:
            pipeline.hget(f"{{fit}}:job:{job_id}", "status")
        statuses = pipeline.execute()
    return [
        job
        for job, status in zip(job_ids, statuses, strict=True)
        if status in {b"queued", b"running"}
    ]


def types_of(desk: TestDesk, job_id: str) -> list[EventType]:
    return [event.type for event in desk.events(job_id)]


def found_by(record: JobRecord) -> object:
    """Return what a job found out, without how long that took."""
    assert record.outcome is not None
    runs = [run.model_copy(update={"run_seconds": 0.0}) for run in record.outcome.runs]
    return record.outcome.model_copy(update={"runs": tuple(runs)})
