"""The lock on a data directory: one holder, named to the second, free when its holders are gone."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from app.embedded.lock import DirectoryInUse, DirectoryLock

# Takes the lock, gives it to a process that outlives it, and dies.
_KILLED = """
import os, subprocess, sys
from pathlib import Path
from app.embedded.lock import DirectoryLock
lock = DirectoryLock(Path(sys.argv[1]))
lock.write("http://127.0.0.1:1")
subprocess.Popen(["sleep", sys.argv[2]], pass_fds=(lock.fileno(),))
os._exit(9)
"""


def leave_behind(directory: Path, *, seconds: str) -> None:
    subprocess.run([sys.executable, "-c", _KILLED, str(directory), seconds], check=False)


def test_second_holder_is_refused_and_told_the_first(tmp_path: Path) -> None:
    first = DirectoryLock(tmp_path / "data")
    first.write("http://127.0.0.1:8000")

    with pytest.raises(DirectoryInUse) as refused:
        DirectoryLock(tmp_path / "data")

    first.release()
    assert f"process {os.getpid()} at http://127.0.0.1:8000" in str(refused.value)
    assert "FITJOBS_DATA_DIR" in str(refused.value)


def test_holder_that_has_not_said_its_name_still_holds(tmp_path: Path) -> None:
    first = DirectoryLock(tmp_path)
    os.ftruncate(first.fileno(), 0)

    with pytest.raises(DirectoryInUse, match="process unknown"):
        DirectoryLock(tmp_path)

    first.release()


def test_released_lock_is_taken_again(tmp_path: Path) -> None:
    DirectoryLock(tmp_path).release()

    DirectoryLock(tmp_path).release()


def test_lock_of_a_killed_holder_is_free_once_its_heirs_are_gone(tmp_path: Path) -> None:
    leave_behind(tmp_path, seconds="0.3")

    DirectoryLock(tmp_path, patience_seconds=20).release()


def test_lock_is_not_waited_for_beyond_patience(tmp_path: Path) -> None:
    leave_behind(tmp_path, seconds="2")

    with pytest.raises(DirectoryInUse):
        DirectoryLock(tmp_path, patience_seconds=0.1)
