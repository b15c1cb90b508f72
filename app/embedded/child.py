"""One child process of `fitjobs up`: started in a group of its own, started again when it dies."""

import os
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

from app.embedded import group

LARGEST_LOG_BYTES: Final = 4 * 1024 * 1024
"""A log above this moves to NAME.log.1, which is overwritten: two files a child, never more."""
FIRST_PAUSE_SECONDS: Final = 0.25
LONGEST_PAUSE_SECONDS: Final = 30.0
STEADY_SECONDS: Final = 20.0
"""A child that has lived this long starts again at once: its trouble is a new one."""


class StartFailed(Exception):
    """A child could not even be started; the message says why."""


class Process(Protocol):
    """What is watched of a running process; subprocess.Popen is one."""

    pid: int

    def poll(self) -> int | None:
        """Return the exit status, or None while it lives; reaps it."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Role:
    """What a child is for and how it ends.

    Attributes:
        name: Its name in messages and of its log file.
        order: Position in the order of stopping, 0 first.
        grace_seconds: How long it may take to stop.
        start: Starts it and returns the process, leader of its own group; raises StartFailed.
        last_words: Called when it has ended by itself, with an error; returns what it had said of its cause, or "".
    """

    name: str
    order: int
    grace_seconds: float
    start: Callable[[], Process]
    last_words: Callable[[], str] = str


class Child:
    """A role's present process, and the pause before its next.

    Args:
        role: What to run.
        tell: Where a line about a death or a kill goes.
        register: Told "GROUP GRACE ORDER" and "GROUP gone" as the watchdog reads them.
        clock: Seconds that only grow.
    """

    def __init__(
        self,
        role: Role,
        *,
        tell: Callable[[str], None],
        register: Callable[[str], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.role = role
        self.deaths = 0
        self._tell = tell
        self._register = register
        self._clock = clock
        self._process: Process | None = None
        self._started_at = 0.0
        self._start_at = 0.0
        self._pause = 0.0

    @property
    def pid(self) -> int | None:
        """The process id; None while there is none."""
        return None if self._process is None else self._process.pid

    def start(self) -> None:
        """Start the process.

        Raises:
            StartFailed: It cannot be started.
        """
        self._process = self.role.start()
        self._started_at = self._clock()
        self._register(f"{self._process.pid} {self.role.grace_seconds} {self.role.order}")

    def look(self) -> None:
        """Notice a death and tell it; start the next process when its pause is over."""
        if self._process is None:
            if self._clock() >= self._start_at:
                try:
                    self.start()
                except StartFailed as failed:
                    self._mourn(str(failed))
            return
        status = self._process.poll()
        if status is not None:
            self._forget(self._process)
            # Who is killed has no time for a word: what the log ends with is of something else.
            words = self.role.last_words() if status > 0 else ""
            self._mourn(": ".join(filter(None, (describe_status(status), words))))

    def restart(self) -> None:
        """Stop the process; the next look starts it anew."""
        self.stop()
        self._start_at = self._clock()

    def stop(self, *, hurry: threading.Event | None = None) -> None:
        """End the process and its whole group.

        Args:
            hurry: Ends the grace at once when it is set.
        """
        process = self._process
        if process is None:
            return
        in_time = group.end(
            process.pid,
            grace_seconds=self.role.grace_seconds,
            leader_is_alive=lambda: process.poll() is None,
            hurry=hurry,
        )
        if not in_time:
            self._tell(f"{self.role.name} did not stop by itself and was killed")
        self._forget(process)

    def _mourn(self, cause: str) -> None:
        self.deaths += 1
        lived = self._clock() - self._started_at
        self._pause = (
            FIRST_PAUSE_SECONDS
            if lived >= STEADY_SECONDS
            else min(max(2 * self._pause, FIRST_PAUSE_SECONDS), LONGEST_PAUSE_SECONDS)
        )
        self._start_at = self._clock() + self._pause
        self._tell(f"{self.role.name} ended ({cause}), starting it again in {self._pause:g} s")

    def _forget(self, process: Process) -> None:
        # A dead leader may leave children of its own.
        group.kill(process.pid)
        self._register(f"{process.pid} gone")
        self._process = None


def spawn(
    command: list[str], *, environment: Mapping[str, str], log: Path, keep: tuple[int, ...] = ()
) -> Process:
    """Start a command in a session of its own, its output appended to a file.

    Args:
        command: Program and arguments.
        environment: All of its environment.
        log: File for both outputs.
        keep: File descriptors that it inherits.
    """
    with log.open("ab") as output:
        return subprocess.Popen(  # noqa: S603 - the command is ours
            command,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            pass_fds=keep,
            # Ctrl-C reaches the whole foreground group: the children wait for our word instead.
            start_new_session=True,
        )


def bound_log(log: Path, *, largest_bytes: int = LARGEST_LOG_BYTES) -> bool:
    """Move a log that has grown too large aside; return whether it had.

    The child appends (O_APPEND), so it goes on at the file's new end; lines written between the
    copy and the cut are lost.
    """
    try:
        if log.stat().st_size <= largest_bytes:
            return False
    except FileNotFoundError:
        return False
    shutil.copyfile(log, log.with_name(log.name + ".1"))
    os.truncate(log, 0)
    return True


def describe_status(status: int) -> str:
    """Return an exit status as words: "exit status 1", "signal 9"."""
    return f"exit status {status}" if status >= 0 else f"signal {-status}"
