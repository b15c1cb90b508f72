"""Process groups end politely, then by force, and wholly."""

import signal
import subprocess
import sys
import threading
import time

from app.embedded import group

_POLITE = "import time; time.sleep(60)"
_DEAF = """
import signal, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("deaf", flush=True)
time.sleep(60)
"""
# Its own child ignores SIGTERM and would outlive it.
_PARENT = f"""
import subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", {_DEAF!r}], stdout=subprocess.PIPE)
child.stdout.readline()
print("ready", flush=True)
time.sleep(60)
"""


def start(code: str) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, start_new_session=True
    )


def finish(process: "subprocess.Popen[bytes]") -> int:
    assert process.stdout is not None
    process.stdout.close()
    return process.wait(timeout=10)


def end(
    process: "subprocess.Popen[bytes]",
    *,
    grace_seconds: float,
    hurry: threading.Event | None = None,
) -> bool:
    return group.end(
        process.pid,
        grace_seconds=grace_seconds,
        leader_is_alive=lambda: process.poll() is None,
        hurry=hurry,
    )


def test_polite_leader_stops_by_itself() -> None:
    process = start(_POLITE)

    assert end(process, grace_seconds=10)
    assert finish(process) == -signal.SIGTERM


def test_deaf_leader_is_killed_after_its_grace() -> None:
    process = start(_DEAF)
    assert process.stdout is not None
    process.stdout.readline()

    assert not end(process, grace_seconds=0.1)
    assert finish(process) == -signal.SIGKILL


def test_hurry_cuts_the_grace_short() -> None:
    process = start(_DEAF)
    assert process.stdout is not None
    process.stdout.readline()
    hurry = threading.Event()
    hurry.set()
    before = time.monotonic()

    assert not end(process, grace_seconds=60, hurry=hurry)

    finish(process)
    assert time.monotonic() - before < 10


def test_children_of_the_leader_end_with_it() -> None:
    process = start(_PARENT)
    assert process.stdout is not None
    process.stdout.readline()

    assert end(process, grace_seconds=10)

    finish(process)
    until = time.monotonic() + 10
    while group.is_alive(process.pid) and time.monotonic() < until:
        # The kernel's kill and init's reaping take a moment.
        threading.Event().wait(0.01)
    assert not group.is_alive(process.pid)


def test_group_that_is_gone_ends_at_once() -> None:
    process = start("")
    finish(process)

    assert end(process, grace_seconds=60)
    assert not group.is_alive(process.pid)
