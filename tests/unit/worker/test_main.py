"""The Celery app: what a message does, and the loop that puts lost jobs back."""

import importlib
from collections.abc import Iterator
from types import ModuleType

import pytest
from redis import Redis

from app.domain.job import Status
from app.queue import celery_settings
from tests.unit.worker.desk import TestDesk
from tests.waiting import wait_until
from worker import tasks

CPU_KEY = "{fit}:celery:cpu"


@pytest.fixture
def main(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """The module, read anew for the private Redis."""
    monkeypatch.setenv("FITJOBS_REDIS_URL", redis_url)
    monkeypatch.setenv("FITJOBS_RECOVERY_SECONDS", "0.1")
    tasks.settings.cache_clear()
    module = importlib.import_module("worker.main")
    module.app.conf.update(celery_settings(tasks.settings(), redis_url))
    yield module
    module.app.close()
    tasks.close_desks()
    tasks._DRAINING[0] = 0
    while module._THREADS:
        module._THREADS.pop().end()
    tasks.settings.cache_clear()


@pytest.mark.slow
def test_message_serves_the_queue_that_it_came_through(main: ModuleType, desk: TestDesk) -> None:
    desk.submit(lr=0.1)
    main.wake.apply(routing_key="cpu", throw=True)

    assert desk.record().status is Status.SUCCEEDED


def test_message_of_no_queue_does_nothing(main: ModuleType, desk: TestDesk) -> None:
    desk.submit()
    main.wake.apply(routing_key="tpu", throw=True)

    assert desk.record().status is Status.QUEUED


def test_process_that_ran_out_of_time_wakes_another(
    main: ModuleType, desk: TestDesk, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tasks, "WAKE_SECONDS", 0.0)
    desk.submit()
    main.wake.apply(routing_key="cpu", throw=True)

    assert redis.llen(CPU_KEY) == 1
    assert desk.record().status is Status.QUEUED


def test_lost_wake_ups_are_sent_again(main: ModuleType, desk: TestDesk, redis: Redis) -> None:
    desk.submit()
    main._start_threads()
    wait_until(lambda: redis.llen(CPU_KEY) == 1, "the missing wake-up was sent")
    main._drain()
    wait_until(
        lambda: not any(thread.is_alive for thread in main._THREADS), "the threads have ended"
    )

    assert tasks.is_draining()


def test_pool_is_announced_after_its_threads_have_begun(
    main: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[bool, bool]] = []

    def note(is_starting: bool) -> None:  # noqa: FBT001  # as the original
        seen.append((is_starting, all(thread.is_alive for thread in main._THREADS)))

    monkeypatch.setattr(tasks, "set_starting", note)
    main._start_threads()

    assert seen == [(False, True)]
    assert main._THREADS
