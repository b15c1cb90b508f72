"""Has the missing kernels compiled by a process of its own, while this worker serves."""

import logging
import subprocess
import sys
import threading
from pathlib import Path
from typing import Final

from app.log import fields

_LOG: Final = logging.getLogger(__name__)
_STOP_SECONDS: Final = 5.0


class Builder:
    """Starts the compiler, waits for it and says what came of it.

    Args:
        directory: Where kernels are kept, for the log.
    """

    def __init__(self, directory: Path) -> None:
        self._thread = threading.Thread(target=self._run, name="builder", daemon=True)
        self._directory = directory
        self._process: subprocess.Popen[str] | None = None
        self._is_ended = threading.Event()

    @property
    def is_alive(self) -> bool:
        """Tell whether the compiler runs."""
        return self._thread.is_alive()

    def start(self) -> None:
        """Begin; a failure costs speed and nothing else."""
        self._thread.start()

    def _run(self) -> None:
        command = [sys.executable, "-m", "worker.compile"]
        self._process = subprocess.Popen(  # noqa: S603  # our own words
            command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
        )
        if self._is_ended.is_set():
            self._process.terminate()
        _, said = self._process.communicate()
        if self._is_ended.is_set():
            return
        if self._process.returncode == 0:
            _LOG.info("kernels.built", extra=fields(directory=str(self._directory)))
            return
        lines = said.strip().splitlines() or [f"status {self._process.returncode}"]
        _LOG.warning("kernels.missing", extra=fields(detail=lines[-1]))

    def end(self) -> None:
        """Stop the compiler; what it has finished is kept."""
        self._is_ended.set()
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self._process.kill()
