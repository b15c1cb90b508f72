"""A whole service under test: a Redis of its own, a proxy before it, and `fitjobs up`.

It knows processes and signals, and nothing of jobs.
"""

import os
import signal
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final, Self

from app.store import server
from tests.acceptance.houses import House
from tests.proxy import Proxy, address_of

_STOP_SECONDS: Final = 60.0
_LOOK_SECONDS: Final = 0.02


class NothingThere(Exception):
    """The process that was to be hit is not there at the moment."""


class Stack:
    """One service with default settings, from start to stop; a context.

    Args:
        directory: Holds its data, logs and Redis.
        fsync: Of its Redis.
        environment: More of the environment.
    """

    def __init__(
        self,
        directory: Path,
        *,
        fsync: server.Fsync = "always",
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self._directory = directory
        self._fsync: server.Fsync = fsync
        self._redis = server.start(directory / "redis", fsync=fsync)
        self.proxy = Proxy(address_of(self._redis.url))
        try:
            self._house = House(
                directory / "data",
                environment={
                    "FITJOBS_CPU_WORKERS": "2",
                    "FITJOBS_REDIS_URL": f"redis://127.0.0.1:{self.proxy.port}/0",
                    **(environment or {}),
                },
            )
        except BaseException:
            self._redis.stop()
            raise

    def __enter__(self) -> Self:
        try:
            self._house.wait_until_ready()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def url(self) -> str:
        """Where the API listens."""
        return self._house.url

    @property
    def redis_url(self) -> str:
        """Where Redis listens, without the proxy."""
        return self._redis.url

    @property
    def logs(self) -> Path:
        """The directory of the processes' logs."""
        return self._directory / "data" / "logs"

    def supervisor(self) -> int:
        """Return the process that starts the others again."""
        return self._house.process.pid

    def worker(self) -> int:
        """Return Celery's parent process, the leader of its group.

        Raises:
            NothingThere: It is dead and not yet started again.
        """
        return self._child("worker.main")

    def worker_children(self) -> list[int]:
        """Return the processes that compute; empty while they are being started."""
        try:
            return children_of(self.worker())
        except NothingThere:
            return []

    def api(self) -> int:
        """Return the API's process.

        Raises:
            NothingThere: It is dead and not yet started again.
        """
        return self._child("uvicorn")

    def redis(self) -> int:
        """Return the process of Redis."""
        return self._redis.process.pid

    def kill_redis(self) -> None:
        """End Redis as the kernel ends it when memory runs out."""
        self._redis.process.kill()
        self._redis.process.wait()

    def start_redis(self) -> None:
        """Start it again on what it has left; returns once it answers."""
        self._redis = server.start(self._directory / "redis", fsync=self._fsync)

    def stop(self) -> None:
        """End everything, whatever state it is in; safe to call twice."""
        self.proxy.allow()
        self.proxy.thaw()
        for group in self._groups():
            signal_group(group, signal.SIGCONT)
        if self._house.process.poll() is None:
            # Redis may be dead, so nothing can be handed back: the second word ends the grace.
            self._house.process.send_signal(signal.SIGTERM)
            self._house.process.send_signal(signal.SIGTERM)
            self._house.end()
        with suppress(ProcessLookupError):
            os.kill(self.redis(), signal.SIGCONT)
        self._redis.stop()
        self.proxy.close()

    def _groups(self) -> list[int]:
        supervisor = self.supervisor()
        return [supervisor, *children_of(supervisor)]

    def _child(self, words: str) -> int:
        for pid in children_of(self.supervisor()):
            if words in command_of(pid):
                return pid
        raise NothingThere(f"{words} is being started again")


def children_of(pid: int) -> list[int]:
    """Return the living children of a process, eldest first; empty when it is gone."""
    found: list[int] = []
    # The kernel lists a child under the thread that forked it.
    with suppress(OSError):
        for thread in Path(f"/proc/{pid}/task").iterdir():
            found.extend(map(int, (thread / "children").read_text().split()))
    return sorted(found)


def command_of(pid: int) -> str:
    """Return a process's command line, "" when it is gone."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
    except OSError:
        return ""


def signal_group(leader: int, name: signal.Signals) -> None:
    """Send a signal to a process and to everything that it has started."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(leader, name)


def signal_process(pid: int, name: signal.Signals) -> None:
    """Send a signal to one process, if it still lives."""
    with suppress(ProcessLookupError):
        os.kill(pid, name)


def wait_until_gone(pid: int, *, seconds: float) -> bool:
    """Return whether a process ended in time."""
    until = time.monotonic() + seconds
    while command_of(pid):
        if time.monotonic() > until:
            return False
        time.sleep(_LOOK_SECONDS)
    return True
