"""What sets the watchdog off, and what must not."""

import os
import signal
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest

from app.domain.errors import StoreUnavailable
from tests.waiting import wait_until
from worker import watchdog
from worker.pulse import Pulses
from worker.watchdog import DEAF_LOOKS, GRACE_LOOKS, Watchdog

STALL_LOOKS = 5


@dataclass
class Parent:
    """A pool of two real processes that do nothing, and all that its watchdog sees and does."""

    waiting: int = 0
    is_redis_away: bool = False
    has_left: bool = False
    killed: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.pulses = Pulses(2)
        self.children = [subprocess.Popen(["sleep", "600"]) for _ in range(2)]
        for pulse, child in zip((self.pulses[0], self.pulses[1]), self.children, strict=True):
            pulse._words[0] = child.pid
        self.watchdog = Watchdog(
            self.pulses,
            count_waiting=self.count,
            stall_seconds=STALL_LOOKS,
            leave=lambda: setattr(self, "has_left", True),
            kill=self.killed.append,
        )

    def count(self) -> int:
        if self.is_redis_away:
            raise StoreUnavailable("away", retry_after_seconds=1)
        return self.waiting

    def look(self, times: int) -> list[bool]:
        return [self.watchdog.look() for _ in range(times)]


@pytest.fixture
def parent() -> Iterator[Parent]:
    made = Parent()
    yield made
    for child in made.children:
        child.kill()
        child.wait()


def test_consumer_is_deaf_when_wake_ups_wait_for_an_idle_child(parent: Parent) -> None:
    parent.waiting = 3
    parent.pulses[0].hold(is_busy=True)

    assert parent.look(DEAF_LOOKS) == [False] * (DEAF_LOOKS - 1) + [True]


def test_pool_whose_children_have_died_is_deaf(parent: Parent) -> None:
    parent.waiting = 1
    for index, child in enumerate(parent.children):
        parent.pulses[index].hold(is_busy=True)
        os.kill(child.pid, signal.SIGKILL)
        child.wait()

    assert parent.look(DEAF_LOOKS)[-1]


def test_busy_pool_is_not_deaf(parent: Parent) -> None:
    parent.waiting = 3
    for index in range(2):
        parent.pulses[index].hold(is_busy=True)
    looks = []
    for _ in range(3 * DEAF_LOOKS):
        parent.pulses[0].beat()
        parent.pulses[1].beat()
        looks += parent.look(1)

    assert not any(looks)
    assert parent.killed == []


def test_pool_without_wake_ups_is_not_deaf(parent: Parent) -> None:
    assert not any(parent.look(3 * DEAF_LOOKS))


def test_redis_that_is_away_makes_nobody_deaf(parent: Parent) -> None:
    parent.waiting = 3
    before = parent.look(DEAF_LOOKS - 1)
    parent.is_redis_away = True
    away = parent.look(3 * DEAF_LOOKS)
    parent.is_redis_away = False
    after = parent.look(DEAF_LOOKS - 1)

    assert not any(before + away + after)
    assert parent.look(1) == [True]


def test_wake_up_that_is_taken_begins_the_count_anew(parent: Parent) -> None:
    parent.waiting = 3
    looks = []
    for _ in range(3):
        looks += parent.look(DEAF_LOOKS - 1)
        parent.pulses[1].take()

    assert not any(looks)


def test_child_that_does_not_get_on_is_killed_once(parent: Parent) -> None:
    parent.pulses[0].hold(is_busy=True)
    parent.look(STALL_LOOKS + GRACE_LOOKS)
    before = list(parent.killed)
    parent.look(2)

    assert before == []
    assert parent.killed == [parent.children[0].pid]


def test_child_that_gets_on_is_left_alone(parent: Parent) -> None:
    parent.pulses[0].hold(is_busy=True)
    for _ in range(3):
        parent.look(STALL_LOOKS + GRACE_LOOKS)
        parent.pulses[0].beat()

    assert parent.killed == []


def test_deaf_pool_is_left_by_the_thread_which_then_ends(
    parent: Parent, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(watchdog, "LOOK_SECONDS", 0.001)
    parent.waiting = 1
    parent.watchdog.start()
    wait_until(lambda: not parent.watchdog.is_alive, "the thread has ended")

    assert parent.has_left
    assert caplog.messages == ["worker.deaf"]


def test_look_that_fails_is_told_and_not_the_last(
    parent: Parent, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(_: int) -> None:
        raise PermissionError

    monkeypatch.setattr(watchdog, "LOOK_SECONDS", 0.001)
    monkeypatch.setattr(parent.watchdog, "_kill", fail)
    parent.pulses[0].hold(is_busy=True)
    parent.watchdog.start()
    wait_until(lambda: "watchdog.failed" in caplog.messages, "a look failed")
    is_alive = parent.watchdog.is_alive
    parent.watchdog.end()
    wait_until(lambda: not parent.watchdog.is_alive, "the thread has ended")

    assert is_alive
