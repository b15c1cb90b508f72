"""A runner in trouble: a step that hangs, a step that is long, an engine that wants to exit."""

import logging
import sys
from collections.abc import Callable

import pytest

from app.domain.job import Status
from app.settings import Settings
from tests.unit.worker.desk import TestDesk
from tests.unit.worker.scripted import ScriptedEngine, ScriptedRun
from tests.waiting import wait_until
from worker.attempt import LONG_BLOCK_SECONDS
from worker.pulse import Pulse


class Clock:
    """Seconds that pass when the test says so."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.mark.parametrize("is_prepared", [False, True], ids=["prepare", "step"])
def test_job_that_hangs_is_given_up(redis_url: str, *, is_prepared: bool) -> None:
    settings = Settings.model_construct(heartbeat_seconds=0.01, stall_seconds=0.2)
    given_up: list[bool] = []

    def hang(_: int = 0) -> None:
        wait_until(lambda: given_up, "the job was given up")

    class Hanging(ScriptedEngine):
        def prepare(self, *given: object, **more: object) -> ScriptedEngine:
            if not is_prepared:
                hang()
            return super().prepare(*given, **more)  # type: ignore[arg-type]

    with TestDesk(redis_url, settings) as desk:
        desk.submit()
        run = ScriptedRun(between=hang if is_prepared else lambda _: None)
        desk.work(Hanging(runs=[run]), give_up=lambda: given_up.append(True))

        assert given_up == [True]


def test_job_beats_while_it_gets_on(desk: TestDesk) -> None:
    desk.submit()
    pulse = Pulse()
    beats: list[int] = []
    run = ScriptedRun(num_blocks=5, between=lambda _: beats.append(pulse.beats))
    desk.work(ScriptedEngine(runs=[run]), pulse=pulse)

    assert beats == sorted(set(beats)), "one at least a block"


def test_breath_within_a_block_is_a_beat(desk: TestDesk) -> None:
    desk.submit()
    beats: list[int] = []
    for breaths in (0, 100):
        pulse = Pulse()
        desk.submit(job_id=f"j{breaths}")
        desk.work(ScriptedEngine(runs=[ScriptedRun(breaths=breaths)]), pulse=pulse)
        beats.append(pulse.beats)

    assert beats[1] >= beats[0] + 200


def play_long_block(desk: TestDesk, act: Callable[[], object]) -> ScriptedRun:
    """Play a run whose second block is long, and something happens in it."""
    clock = Clock()

    def between(number: int) -> None:
        if number == 1:
            clock.now += LONG_BLOCK_SECONDS
            act()

    run = ScriptedRun(num_blocks=5, between=between, breaths=1)
    desk.work(ScriptedEngine(runs=[run]), clock=clock)
    return run


def test_long_block_of_a_drained_worker_is_given_up(desk: TestDesk) -> None:
    desk.submit()
    run = play_long_block(desk, lambda: setattr(desk, "is_draining", True))
    record = desk.record()

    assert (record.status, record.attempt) == (Status.QUEUED, 0)
    assert run.made == 10, "the second block was not ended"


def test_long_block_is_ended_when_nobody_asks(desk: TestDesk) -> None:
    desk.submit()
    play_long_block(desk, lambda: None)

    assert desk.record().status is Status.SUCCEEDED


def test_long_block_of_a_lost_lease_is_given_up(
    redis_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, logger="worker.lease")
    settings = Settings.model_construct(heartbeat_seconds=0.01)
    with TestDesk(redis_url, settings) as desk:
        desk.submit()

        def lose() -> None:
            desk.take_over()
            wait_until(lambda: "lease.lost" in caplog.messages, "the heartbeat saw the loss")

        run = play_long_block(desk, lose)

        assert (desk.record().status, desk.record().attempt) == (Status.RUNNING, 2)
        assert run.made == 10


def test_worker_that_is_drained_while_it_prepares_computes_nothing(desk: TestDesk) -> None:
    class Slow(ScriptedEngine):
        def prepare(self, *given: object, **more: object) -> ScriptedEngine:
            desk.is_draining = True
            return super().prepare(*given, **more)  # type: ignore[arg-type]

    desk.submit()
    run = ScriptedRun()
    desk.work(Slow(runs=[run]))
    record = desk.record()

    assert (record.status, record.attempt, run.made) == (Status.QUEUED, 0, 0)


@pytest.mark.parametrize(
    "act",
    [sys.exit, lambda: raise_it(KeyboardInterrupt), lambda: raise_it(RecursionError)],
    ids=["exit", "interrupt", "recursion"],
)
def test_engine_that_wants_to_end_the_process_ends_the_job(
    desk: TestDesk, caplog: pytest.LogCaptureFixture, act: Callable[[], object]
) -> None:
    desk.submit()
    run = ScriptedRun(between=lambda number: act() if number == 1 else None)
    desk.work(ScriptedEngine(runs=[run]))
    record = desk.record()

    assert record.status is Status.FAILED
    assert record.error is not None
    assert record.error.type == "internal"
    assert "job.crashed" in caplog.messages


def raise_it(error: type[BaseException]) -> None:
    raise error
