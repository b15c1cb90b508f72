"""A claim stays a worker's own for as long as its process lives, and no longer."""

import signal
import subprocess
import sys
import threading
from typing import Any

import pytest

from app.domain.job import Status
from app.settings import Settings
from app.store import server
from app.store.claim import Claim
from tests.unit.worker.desk import TestDesk
from tests.waiting import wait_until
from worker.lease import Lease
from worker.pulse import Pulse


def claim_from(desk: TestDesk) -> Claim:
    desk.submit()
    claim = desk.runs.claim("cpu", worker="w1", device="cpu")
    assert claim is not None
    return claim


def lease_of(desk: TestDesk, claim: Claim, **given: Any) -> Lease:
    rest = {"pulse": Pulse(), "stall_seconds": 60.0, "is_draining": lambda: False, **given}
    return Lease(desk.runs, claim, heartbeat_seconds=0.01, **rest)


def end_of_lease(desk: TestDesk) -> float:
    score = desk.redis.zscore("{fit}:leases", "j")
    assert isinstance(score, float)
    return score


def test_lease_is_renewed_while_the_loop_is_busy(desk: TestDesk) -> None:
    claim = claim_from(desk)
    before = end_of_lease(desk)
    with lease_of(desk, claim) as lease:
        wait_until(lambda: end_of_lease(desk) > before + 30, "the lease was renewed several times")
        assert not lease.is_lost
    after = end_of_lease(desk)

    assert end_of_lease(desk) == after


def test_lost_lease_is_seen(desk: TestDesk) -> None:
    claim = claim_from(desk)
    with lease_of(desk, claim) as lease:
        desk.take_over()
        wait_until(lambda: lease.is_lost, "the loss was seen")


def test_redis_that_is_away_is_no_lost_lease(
    tmp_path_factory: pytest.TempPathFactory, settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    running = server.start(tmp_path_factory.mktemp("away"), fsync="no")
    with TestDesk(running.url, settings) as desk:
        claim = claim_from(desk)
        with lease_of(desk, claim) as lease:
            running.stop()
            wait_until(lambda: "lease.not_renewed" in caplog.messages, "a renewal failed")

            assert not lease.is_lost


def test_job_of_a_loop_that_is_too_busy_to_stop_is_handed_back(
    desk: TestDesk, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", logger="worker.lease")
    claim = claim_from(desk)
    with lease_of(desk, claim, is_draining=lambda: True) as lease:
        wait_until(lambda: lease.is_lost, "the job was handed back")

    assert (desk.record().status, desk.record().attempt) == (Status.QUEUED, 0)
    assert caplog.messages == ["job.released"]


def test_loop_that_is_asked_to_stop_gets_a_moment_to(desk: TestDesk) -> None:
    claim = claim_from(desk)
    asked: list[bool] = []

    def is_draining() -> bool:
        asked.append(True)
        return True

    with lease_of(desk, claim, is_draining=is_draining) as lease:
        wait_until(lambda: asked, "the drain was seen")
        was_lost = lease.is_lost

    assert not was_lost


def test_loop_that_does_not_get_on_is_given_up(
    desk: TestDesk, caplog: pytest.LogCaptureFixture
) -> None:
    given_up: list[bool] = []
    claim = claim_from(desk)
    stalled = {"stall_seconds": 0.05, "give_up": lambda: given_up.append(True)}
    with lease_of(desk, claim, **stalled):
        wait_until(lambda: given_up, "the loop was given up")
        wait_until(lambda: "lease" not in names_of_threads(), "the thread has ended")
        before = end_of_lease(desk)

        assert end_of_lease(desk) == before
        assert caplog.messages == ["job.stalled"]
    assert given_up == [True]


class Beating(Pulse):
    """Beats between any two looks."""

    @property
    def beats(self) -> int:
        self.beat()
        return super().beats


def test_loop_that_gets_on_is_not_given_up(desk: TestDesk) -> None:
    given_up: list[bool] = []
    claim = claim_from(desk)
    before = end_of_lease(desk)
    stalled = {"stall_seconds": 0.05, "give_up": lambda: given_up.append(True)}
    with lease_of(desk, claim, pulse=Beating(), **stalled):
        wait_until(
            lambda: given_up or end_of_lease(desk) > before + 200, "the lease was renewed for long"
        )

    assert given_up == []


def test_loop_that_has_lost_its_lease_is_given_up_all_the_same(desk: TestDesk) -> None:
    given_up: list[bool] = []
    claim = claim_from(desk)
    stalled = {"stall_seconds": 0.3, "give_up": lambda: given_up.append(True)}
    with lease_of(desk, claim, **stalled) as lease:
        desk.take_over()
        wait_until(lambda: given_up, "the loop was given up")

        assert lease.is_lost


def test_process_that_is_given_up_is_killed() -> None:
    ended = subprocess.run(
        [sys.executable, "-c", "from worker.lease import end_process; end_process()"], check=False
    )

    assert ended.returncode == -signal.SIGKILL


def names_of_threads() -> set[str]:
    return {thread.name for thread in threading.enumerate()}
