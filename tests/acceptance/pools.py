"""A Celery worker as a test drives it: its log, its children, its signals."""

import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from tests.waiting import wait_until

ROOT: Final = Path(__file__).resolve().parents[2]
START_SECONDS: Final = 90.0


class Pool:
    """One `celery worker` on a Redis, and what it has logged.

    Args:
        url: The Redis.
        directory: Where its log goes.
        name: Of the log, and of the worker.
        app: The Celery app.
        concurrency: How many children.
        environment: More of the environment.
    """

    def __init__(
        self,
        url: str,
        directory: Path,
        *,
        name: str = "worker",
        app: str = "worker.main",
        concurrency: int = 1,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        kept = {key: value for key, value in os.environ.items() if not key.startswith("FITJOBS_")}
        self._log = directory / f"{name}.log"
        words = ["--app", app, "worker", "--queues", "cpu", "--pool", "prefork", "--loglevel"]
        without = ["--without-gossip", "--without-mingle", "--without-heartbeat"]
        size = ["--concurrency", str(concurrency), "--hostname", f"{name}@%h"]
        with self._log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "celery", *words, "info", *without, *size],
                cwd=ROOT,
                env={
                    **kept,
                    "PYTHONPATH": str(ROOT),
                    "FITJOBS_REDIS_URL": url,
                    "PYTHONUNBUFFERED": "1",
                    **(environment or {}),
                },
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    @property
    def log(self) -> str:
        return self._log.read_text()

    def wait_until_ready(self) -> "Pool":
        self.wait_until_logged(" ready.")
        assert self.process.poll() is None, self.log
        return self

    def wait_until_logged(self, text: str, *, seconds: float = START_SECONDS) -> None:
        wait_until(
            lambda: text in self.log or self.process.poll() is not None,
            f"{text!r} in {self._log}",
            seconds=seconds,
        )
        assert text in self.log, self.log

    def children(self) -> list[int]:
        """Return the processes of the pool, oldest first."""
        listed = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        return sorted(map(int, listed.read_text().split()))

    def send(self, name: signal.Signals = signal.SIGTERM) -> None:
        self.process.send_signal(name)

    def end(self, *, seconds: float = 30) -> int:
        """Wait until it has ended by itself; return its status."""
        return self.process.wait(timeout=seconds)

    def kill(self) -> None:
        """Leave nothing behind."""
        try:
            os.killpg(self.process.pid, signal.SIGKILL)
        except ProcessLookupError:
            return
        self.process.wait(timeout=10)
