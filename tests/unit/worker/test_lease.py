"""A claim stays a worker's own for as long as its process lives, and no longer."""

import pytest

from app.settings import Settings
from app.store import server
from app.store.runs import Claim
from tests.unit.worker.desk import TestDesk
from tests.waiting import wait_until
from worker.lease import Lease


def claim_from(desk: TestDesk) -> Claim:
    desk.submit()
    claim = desk.runs.claim("cpu", worker="w1", device="cpu")
    assert claim is not None
    return claim


def end_of_lease(desk: TestDesk) -> float:
    score = desk.redis.zscore("{fit}:leases", "j")
    assert isinstance(score, float)
    return score


def test_lease_is_renewed_while_the_loop_is_busy(desk: TestDesk) -> None:
    claim = claim_from(desk)
    before = end_of_lease(desk)
    with Lease(desk.runs, claim, heartbeat_seconds=0.01) as lease:
        wait_until(lambda: end_of_lease(desk) > before + 30, "the lease was renewed several times")
        assert not lease.is_lost
    after = end_of_lease(desk)

    assert end_of_lease(desk) == after


def test_lost_lease_is_seen(desk: TestDesk) -> None:
    claim = claim_from(desk)
    with Lease(desk.runs, claim, heartbeat_seconds=0.01) as lease:
        desk.take_over()
        wait_until(lambda: lease.is_lost, "the loss was seen")


def test_redis_that_is_away_is_no_lost_lease(
    tmp_path_factory: pytest.TempPathFactory, settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    running = server.start(tmp_path_factory.mktemp("away"), fsync="no")
    with TestDesk(running.url, settings) as desk:
        claim = claim_from(desk)
        with Lease(desk.runs, claim, heartbeat_seconds=0.01) as lease:
            running.stop()
            wait_until(lambda: "lease.not_renewed" in caplog.messages, "a renewal failed")

            assert not lease.is_lost
