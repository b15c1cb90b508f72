"""One `fitjobs up` a data directory: a lock that the kernel gives back when its holders are gone."""

import fcntl
import os
import time
from pathlib import Path
from typing import Final

PATIENCE_SECONDS: Final = 45.0
"""A start that was killed leaves a watchdog, which gives its children this long at the most."""
_LOOK_SECONDS: Final = 0.05


class DirectoryInUse(Exception):
    """Another process serves this data directory."""


class DirectoryLock:
    """An exclusive flock on DIRECTORY/lock, whose text names the process that holds it.

    Args:
        directory: The data directory; made if it is missing.
        patience_seconds: How long to wait for a holder that is dead but not yet cleaned up.

    Raises:
        DirectoryInUse: A living process holds it.
    """

    def __init__(self, directory: Path, *, patience_seconds: float = PATIENCE_SECONDS) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self._directory = directory
        self._file = os.open(directory / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            self._acquire(time.monotonic() + patience_seconds)
        except DirectoryInUse:
            self.release()
            raise
        self.write("")

    def fileno(self) -> int:
        """Return the descriptor; who inherits it holds the lock as well."""
        return self._file

    def write(self, url: str) -> None:
        """Leave word for a second start: this process and the address that it serves."""
        os.ftruncate(self._file, 0)
        os.pwrite(self._file, f"{os.getpid()} {url}\n".encode(), 0)

    def release(self) -> None:
        """Let go; the lock is free once no inheritor holds it either."""
        os.close(self._file)

    def _acquire(self, until: float) -> None:
        while True:
            try:
                fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                process, _, url = os.pread(self._file, 1000, 0).decode().strip().partition(" ")
                if _is_alive(process) or time.monotonic() > until:
                    raise DirectoryInUse(self._describe(process, url)) from None
                time.sleep(_LOOK_SECONDS)
            else:
                return

    def _describe(self, process: str, url: str) -> str:
        at = f" at {url}" if url else ""
        return (
            f"fitjobs already serves the data directory {self._directory}: process "
            f"{process or 'unknown'}{at}. Stop it, or set FITJOBS_DATA_DIR to another directory."
        )


def _is_alive(process: str) -> bool:
    # Between opening and writing the holder has not said its name yet: it lives.
    if not process.isdigit():
        return True
    try:
        os.kill(int(process), 0)
    except OSError as error:
        # Not permitted: it lives, as somebody else's.
        return not isinstance(error, ProcessLookupError)
    return True
