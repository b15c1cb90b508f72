"""The watchdog ends what a killed parent leaves, in order, and forgets what has gone before."""

import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.embedded.watchdog import read_groups


def test_groups_that_are_gone_are_forgotten() -> None:
    lines = ["10 5.0 2\n", "11 8.0 0\n", "10 gone\n", "12 1.5 1\n", "12 1."]

    assert read_groups(lines) == {11: (8.0, 0), 12: (1.5, 1)}


def test_unknown_group_may_go() -> None:
    assert read_groups(["10 gone\n"]) == {}


@pytest.fixture
def sleeper() -> Iterator["subprocess.Popen[bytes]"]:
    """A process whose end is reaped at once, as init does for a dead parent's children."""
    process = subprocess.Popen(["sleep", "60"], start_new_session=True)
    reaper = threading.Thread(target=process.wait)
    reaper.start()
    yield process
    process.kill()
    reaper.join()


def test_end_of_input_ends_the_children(sleeper: "subprocess.Popen[bytes]") -> None:
    watchdog = subprocess.run(
        [sys.executable, "-m", "app.embedded.watchdog"],
        input=f"{sleeper.pid} 5 0\n".encode(),
        check=False,
        timeout=30,
    )

    assert watchdog.returncode == 0
    assert sleeper.wait(timeout=10) == -signal.SIGTERM


def test_watchdog_does_not_hear_ctrl_c(sleeper: "subprocess.Popen[bytes]") -> None:
    watchdog = subprocess.Popen(
        [sys.executable, "-m", "app.embedded.watchdog"], stdin=subprocess.PIPE
    )
    names = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    # All of them: under nohup one is ignored from the beginning.
    while not all(ignores(watchdog.pid, name) for name in names):
        threading.Event().wait(0.01)
    for name in names:
        watchdog.send_signal(name)
    watchdog.communicate(input=f"{sleeper.pid} 5 0\n".encode(), timeout=30)

    assert watchdog.returncode == 0
    assert sleeper.wait(timeout=10) == -signal.SIGTERM


def ignores(process: int, name: signal.Signals) -> bool:
    """Tell whether a process ignores a signal; the watchdog's last one is SIGHUP."""
    status = Path(f"/proc/{process}/status").read_text()
    mask = next(line for line in status.splitlines() if line.startswith("SigIgn:"))
    return bool(int(mask.split()[1], 16) & 1 << (name - 1))
