"""A Redis that is away or hangs costs a job neither its computing nor its time."""

import threading
import time
from typing import Any

import pytest

from app.domain.errors import StoreUnavailable
from app.domain.job import Status
from app.settings import Settings
from app.store.claim import Claim
from app.store.runs import RunStore
from tests.proxy import Proxy, address_of
from tests.unit.worker.desk import Clock, TestDesk
from tests.unit.worker.scripted import ScriptedEngine, ScriptedRun
from worker.outage import Outage
from worker.pulse import Pulse

HANG_SECONDS = 5.0
AWAY = StoreUnavailable("away", retry_after_seconds=1)


class Hanging(RunStore):
    """A store whose calls cost a timeout and fail, for as many of them as a test says.

    Args:
        desk: Whose Redis.
        clock: Moved on by every failure.
    """

    def __init__(self, desk: TestDesk, clock: Clock) -> None:
        super().__init__(desk.redis, desk.settings)
        self._clock = clock
        self.num_failures = 0
        self.failed: list[str] = []

    def record(self, *given: Any, **named: Any) -> None:
        self._maybe_hang("record")
        super().record(*given, **named)

    def is_cancel_requested(self, claim: Claim) -> bool:
        self._maybe_hang("is_cancel_requested")
        return super().is_cancel_requested(claim)

    def _maybe_hang(self, name: str) -> None:
        if len(self.failed) < self.num_failures:
            self.failed.append(name)
            self._clock.now += HANG_SECONDS
            raise AWAY


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def hanging(desk: TestDesk, clock: Clock) -> Hanging:
    desk.runs = made = Hanging(desk, clock)
    return made


def make_outage(clock: Clock | None = None) -> Outage:
    return Outage(is_draining=lambda: False, pulse=Pulse(), clock=clock or time.monotonic)


def test_waiting_for_a_hung_redis_is_no_computing(
    desk: TestDesk, hanging: Hanging, clock: Clock
) -> None:
    def compute(number: int) -> None:
        clock.now += 0.5
        if number == 1:
            hanging.num_failures = 3

    desk.submit(timeout_seconds=30)
    desk.work(ScriptedEngine(runs=[ScriptedRun(num_blocks=50, between=compute)]), clock=clock)

    assert desk.record().status is Status.SUCCEEDED
    assert len(hanging.failed) == 3
    assert list(desk.history().step) == list(range(501))


def test_hung_redis_is_left_alone_for_as_long_as_it_has_cost(
    desk: TestDesk, hanging: Hanging, clock: Clock
) -> None:
    num_failed = list[int]()

    def compute(number: int) -> None:
        clock.now += 1
        num_failed.append(len(hanging.failed))
        hanging.num_failures = 9 if number < 16 else 0

    desk.submit(timeout_seconds=17)
    desk.work(ScriptedEngine(runs=[ScriptedRun(num_blocks=17, between=compute)]), clock=clock)

    # One call in vain, then five seconds of blocks.
    assert num_failed == [0, *[1] * 5, *[2] * 5, *[3] * 5, 4]
    # The look for a cancel does not wait where the record has just waited.
    assert set(hanging.failed) == {"record"}


def test_time_limit_still_counts_the_computing_in_an_outage(
    desk: TestDesk, hanging: Hanging, clock: Clock
) -> None:
    def compute(number: int) -> None:
        clock.now += 1
        hanging.num_failures = 9 if number < 8 else 0

    desk.submit(timeout_seconds=8)
    desk.work(ScriptedEngine(runs=[ScriptedRun(num_blocks=50, between=compute)]), clock=clock)
    error = desk.record().error

    assert error is not None
    assert (error.type, error.step) == ("time-limit-exceeded", 90)


def test_waiting_between_two_runs_is_no_computing(
    desk: TestDesk, hanging: Hanging, clock: Clock
) -> None:
    def lose_redis(_: int) -> None:
        hanging.num_failures = 2

    runs = [ScriptedRun(num_blocks=1, between=lose_redis), ScriptedRun(num_blocks=3)]
    desk.submit(kind="comparison", optimizers=["adam", "sgd"], timeout_seconds=2)
    desk.work(ScriptedEngine(runs=runs), clock=clock)

    assert desk.record().status is Status.SUCCEEDED
    assert hanging.failed == ["record"] * 2


def test_pauses_of_whoever_insists_are_no_computing() -> None:
    failures = iter([AWAY] * 3)

    def write() -> None:
        for away in failures:
            raise away

    outage = make_outage()
    began = time.monotonic()
    outage.insist(write)
    took = time.monotonic() - began

    assert 3 * 0.05 <= outage.waited_seconds <= took


def test_outage_is_over_with_the_first_answer(clock: Clock) -> None:
    outage = make_outage(clock)
    assert not outage.is_on
    with outage.endured():
        raise AWAY
    assert outage.is_on
    outage.insist(lambda: None)

    assert not outage.is_on


@pytest.mark.slow
def test_network_that_swallows_everything_fails_no_job(redis_url: str, settings: Settings) -> None:
    """Thirty blocks are made while the network is frozen: not one a timeout."""
    proxy = Proxy(address_of(redis_url))
    rescue = threading.Timer(20, proxy.thaw)  # so that a failure is one, and no hang
    rescue.start()

    def compute(number: int) -> None:
        time.sleep(0.02)  # the work of a block
        if number == 5:
            proxy.freeze()
        if number == 35:
            proxy.thaw()

    run = ScriptedRun(num_blocks=40, steps=400, between=compute)
    with TestDesk(redis_url, settings) as near:
        near.submit(timeout_seconds=3)
        with TestDesk(f"redis://127.0.0.1:{proxy.port}", settings) as far:
            far.work(ScriptedEngine(runs=[run]))

        assert near.record().status is Status.SUCCEEDED
        assert list(near.history().step) == list(range(401))
    rescue.cancel()
    proxy.close()
