"""A child that dies is started again, later each time, and never outlives its stop."""

import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from app.embedded import child as rooms
from app.embedded.child import Child, Role, StartFailed, bound_log, describe_status, spawn


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class Stage:
    """A child that runs a line of Python, and everything that it said."""

    def __init__(self, tmp_path: Path, code: str) -> None:
        self.log = tmp_path / "child.log"
        self.code = code
        self.clock = Clock()
        self.told: list[str] = []
        self.registered: list[str] = []
        self.last_words = ""
        role = Role(
            name="echo",
            order=1,
            grace_seconds=10,
            start=self.start,
            last_words=lambda: self.last_words,
        )
        self.child = Child(
            role, tell=self.told.append, register=self.registered.append, clock=self.clock
        )

    def start(self) -> "subprocess.Popen[bytes]":
        if self.code == "cannot":
            raise StartFailed("no such program")
        self.process = spawn(
            [sys.executable, "-c", self.code], environment=dict(os.environ), log=self.log
        )
        return self.process

    def die(self) -> None:
        self.process.wait(timeout=10)
        self.child.look()


@pytest.fixture
def stage(tmp_path: Path) -> Callable[[str], Stage]:
    return lambda code: Stage(tmp_path, code)


def test_death_is_told_with_the_last_words(stage: Callable[[str], Stage]) -> None:
    play = stage("raise SystemExit(3)")
    play.last_words = "the disk is full"
    play.child.start()
    play.die()

    assert play.told == [
        "echo ended (exit status 3: the disk is full), starting it again in 0.25 s"
    ]


def test_killed_child_has_no_last_words(stage: Callable[[str], Stage]) -> None:
    play = stage("import os, signal; os.kill(os.getpid(), signal.SIGKILL)")
    play.last_words = "a warning of long ago"
    play.child.start()
    play.die()

    assert play.told == ["echo ended (signal 9), starting it again in 0.25 s"]


def test_death_is_told_and_the_next_start_waits(stage: Callable[[str], Stage]) -> None:
    play = stage("print('hello'); raise SystemExit(3)")
    play.child.start()
    first = play.child.pid
    play.die()

    assert play.told == ["echo ended (exit status 3), starting it again in 0.25 s"]
    assert play.child.pid is None
    play.child.look()
    assert play.child.pid is None
    play.clock.now += 0.25
    play.child.look()
    assert play.child.pid not in {None, first}
    play.die()
    assert play.log.read_text() == "hello\nhello\n"
    assert play.registered[:3] == [f"{first} 10 1", f"{first} gone", f"{play.process.pid} 10 1"]


def test_pause_doubles_up_to_half_a_minute_and_forgets_after_a_steady_life(
    stage: Callable[[str], Stage],
) -> None:
    play = stage("")
    pauses = []
    for _ in range(9):
        play.child.start()
        play.die()
        pauses.append(float(play.told[-1].split()[-2]))

    assert pauses == [0.25, 0.5, 1, 2, 4, 8, 16, 30, 30]
    assert play.child.deaths == 9
    play.child.start()
    play.clock.now += rooms.STEADY_SECONDS
    play.die()
    assert play.told[-1].endswith("again in 0.25 s")


def test_start_that_fails_again_is_a_death(stage: Callable[[str], Stage]) -> None:
    play = stage("")
    play.child.start()
    play.die()
    play.code = "cannot"
    play.clock.now += 1
    play.child.look()

    assert play.told[-1] == "echo ended (no such program), starting it again in 0.5 s"


def test_living_child_is_left_alone(stage: Callable[[str], Stage]) -> None:
    play = stage("import time; time.sleep(60)")
    play.child.start()
    play.child.look()

    assert play.told == []
    play.child.stop()
    assert play.process.poll() is not None
    assert play.told == []


def test_restart_stops_now_and_starts_at_the_next_look(stage: Callable[[str], Stage]) -> None:
    play = stage("import time; time.sleep(60)")
    play.child.start()
    first = play.process
    play.child.restart()

    assert first.poll() is not None
    play.child.look()
    assert play.process is not first
    play.child.stop()
    play.child.stop()


def test_deaf_child_is_killed_and_it_is_told(stage: Callable[[str], Stage]) -> None:
    play = stage(
        "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(1, flush=True);"
        "time.sleep(60)"
    )
    play.child.start()
    deaf = threading.Event()
    while not play.log.read_text():
        deaf.wait(0.01)
    hurry = threading.Event()
    hurry.set()
    play.child.stop(hurry=hurry)

    assert play.told == ["echo did not stop by itself and was killed"]
    assert play.process.poll() is not None


def test_log_is_bounded_and_the_writer_goes_on(tmp_path: Path) -> None:
    log = tmp_path / "x.log"
    with log.open("ab", buffering=0) as writer:
        writer.write(b"a" * 100)
        assert not bound_log(log, largest_bytes=100)
        writer.write(b"b")

        assert bound_log(log, largest_bytes=100)
        writer.write(b"c")
    assert log.read_bytes() == b"c"
    assert (tmp_path / "x.log.1").read_bytes() == b"a" * 100 + b"b"


def test_log_that_does_not_exist_is_small(tmp_path: Path) -> None:
    assert not bound_log(tmp_path / "none.log")


@pytest.mark.parametrize(("status", "words"), [(0, "exit status 0"), (-9, "signal 9")])
def test_exit_status_is_told_in_words(status: int, words: str) -> None:
    assert describe_status(status) == words
