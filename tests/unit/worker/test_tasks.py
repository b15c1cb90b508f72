"""A worker process answers a wake-up: it builds its desk once and runs what is ready."""

import os
import signal
import threading
from collections.abc import Iterator

import pytest

from app.domain.job import Status
from tests.unit.worker.desk import TestDesk
from tests.waiting import wait_until
from worker import tasks
from worker.tasks import WAKE_SECONDS


@pytest.fixture
def environment(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """This process as a worker process of the private Redis."""
    monkeypatch.setenv("FITJOBS_REDIS_URL", redis_url)
    tasks.settings.cache_clear()
    yield
    tasks.close_desks()
    tasks._DRAINING[0] = 0
    tasks.settings.cache_clear()


@pytest.mark.usefixtures("environment")
def test_wake_up_runs_everything_that_is_ready(desk: TestDesk) -> None:
    for job_id in ("one", "two"):
        desk.submit(job_id=job_id, lr=0.1)
    may_be_more = tasks.open_desk("cpu").serve()
    records = [desk.record(job_id) for job_id in ("one", "two")]

    assert not may_be_more
    assert {record.status for record in records} == {Status.SUCCEEDED}
    assert records[0].outcome is not None
    assert records[0].outcome.runs[0].a == pytest.approx(1, abs=1e-3)
    assert records[0].device.worker == tasks.open_desk("cpu").info.name


@pytest.mark.usefixtures("environment")
def test_wake_up_ends_in_time_and_says_that_more_may_wait(desk: TestDesk) -> None:
    for job_id in ("one", "two"):
        desk.submit(job_id=job_id, steps=1)
    times = iter([0.0, 1.0, WAKE_SECONDS])

    assert tasks.open_desk("cpu").serve(clock=lambda: next(times))
    assert [desk.record(job_id).status for job_id in ("one", "two")] == ["succeeded", "queued"]


@pytest.mark.usefixtures("environment")
def test_worker_that_stops_claims_nothing(desk: TestDesk) -> None:
    desk.submit()
    tasks.drain()

    assert tasks.is_draining()
    assert not tasks.open_desk("cpu").serve()
    assert desk.record().status is Status.QUEUED


@pytest.mark.usefixtures("environment")
def test_worker_without_a_gpu_leaves_gpu_jobs_alone(
    desk: TestDesk, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("torch.cuda.device_count", lambda: 0)
    desk.submit(queue="cuda")

    assert not tasks.open_desk("cuda").serve()
    assert "wake.no_device" in caplog.messages
    assert desk.record().status is Status.QUEUED


@pytest.mark.usefixtures("environment")
def test_desk_is_made_once_and_announced_until_it_is_closed(desk: TestDesk) -> None:
    first = tasks.open_desk("cpu")

    assert tasks.open_desk("cpu") is first
    wait_until(
        lambda: desk.ask(lambda store: store.workers()) == (first.info,), "the desk is announced"
    )
    tasks.close_desks()
    assert desk.ask(lambda store: store.workers()) == ()
    assert tasks.open_desk("cpu") is not first


@pytest.mark.usefixtures("environment")
def test_redis_that_is_away_ends_the_wake_up(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FITJOBS_REDIS_URL", "redis://127.0.0.1:1/0")
    tasks.settings.cache_clear()

    assert not tasks.open_desk("cpu").serve()
    assert "wake.store_away" in caplog.messages


@pytest.mark.usefixtures("environment")
def test_process_that_is_told_to_end_hands_its_job_back_first(desk: TestDesk) -> None:
    heard: list[Status] = []
    before = signal.signal(signal.SIGTERM, lambda *_: heard.append(desk.record().status))
    try:
        desk.submit(steps=5_000_000, stop={"loss_below": None}, engine="torch")
        sender = threading.Thread(target=send_when_running, args=(desk,))
        sender.start()
        may_be_more = tasks.open_desk("cpu").serve()
        sender.join()
    finally:
        signal.signal(signal.SIGTERM, before)
    record = desk.record()

    assert not may_be_more
    assert heard == [Status.QUEUED], "whoever handles the signal hears of it afterwards, once"
    assert (record.status, record.attempt) == (Status.QUEUED, 0)
    assert record.progress is not None
    assert not tasks.is_draining()


@pytest.mark.usefixtures("environment")
def test_process_tells_that_it_took_a_wake_up_and_has_a_job_in_hand(desk: TestDesk) -> None:
    opened = tasks.open_desk("cpu")
    pulse = tasks.own_pulse()
    before = pulse.wakes, pulse.beats
    opened._hold("j")
    at_work = pulse.is_busy
    opened._hold(None)
    desk.submit(steps=10)
    opened.serve()

    assert at_work
    assert not pulse.is_busy
    assert pulse.pid == os.getpid()
    assert pulse.wakes == before[0] + 1
    assert pulse.beats > before[1]


def send_when_running(desk: TestDesk) -> None:
    def has_progress() -> bool:
        progress = desk.redis.hget("{fit}:job:j", "progress")
        return progress is not None

    wait_until(has_progress, "the job has made steps")
    os.kill(os.getpid(), signal.SIGTERM)


def test_worker_without_a_redis_does_not_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FITJOBS_REDIS_URL", raising=False)
    tasks.settings.cache_clear()
    with pytest.raises(SystemExit, match="FITJOBS_REDIS_URL"):
        tasks.redis_url()


def test_devices_are_named_as_torch_names_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    monkeypatch.setattr("torch.cuda.get_device_name", lambda index: f"GPU {index}")

    assert tasks.list_devices("cpu") == ("cpu",)
    assert tasks.list_devices("cuda") == ("cuda:0 GPU 0", "cuda:1 GPU 1")
