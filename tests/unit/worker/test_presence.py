"""A worker is on the list while it lives, with the job that it holds."""

import threading

import pytest

from app.domain.job import WorkerInfo
from app.settings import Settings
from app.store import server
from tests.unit.worker.desk import TestDesk
from tests.waiting import wait_until
from worker import presence
from worker.presence import ANNOUNCE_SECONDS, PRESENCE_SECONDS, Presence

INFO = WorkerInfo(name="w1", queue="cpu", devices=("cpu",), torch="2.13.0", started_at_ms=1)


def workers(desk: TestDesk) -> tuple[WorkerInfo, ...]:
    return desk.ask(lambda store: store.workers())


def test_worker_is_announced_and_taken_back(desk: TestDesk) -> None:
    present = Presence(desk.runs, INFO)
    present.start()
    wait_until(lambda: workers(desk) == (INFO,), "the worker is announced")
    present.close()

    assert workers(desk) == ()


def test_worker_of_a_pool_that_is_starting_is_not_announced(desk: TestDesk) -> None:
    is_starting = threading.Event()
    is_starting.set()
    asked = threading.Event()

    def ask() -> bool:
        asked.set()
        return is_starting.is_set()

    present = Presence(desk.runs, INFO, is_starting=ask)
    present.start()
    assert asked.wait(5.0)
    assert workers(desk) == ()

    is_starting.clear()
    wait_until(lambda: workers(desk) == (INFO,), "the worker is announced")
    present.close()


def test_worker_tells_its_job(desk: TestDesk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(presence, "ANNOUNCE_SECONDS", 0.01)
    present = Presence(desk.runs, INFO)
    present.start()
    present.hold("j")
    wait_until(lambda: [info.job for info in workers(desk)] == ["j"], "the job is told")
    present.hold(None)
    wait_until(lambda: workers(desk) == (INFO,), "the worker is idle")
    present.close()


def test_announcement_outlives_three_that_are_missed() -> None:
    assert PRESENCE_SECONDS > 3 * ANNOUNCE_SECONDS


def test_redis_that_is_away_stops_nothing(
    tmp_path_factory: pytest.TempPathFactory, settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG", logger="worker.presence")
    running = server.start(tmp_path_factory.mktemp("away"), fsync="no")
    with TestDesk(running.url, settings) as desk:
        running.stop()
        present = Presence(desk.runs, INFO)
        present.start()
        wait_until(lambda: "presence.not_announced" in caplog.messages, "an announcement failed")
        present.close()

    assert "presence.not_retired" in caplog.messages
