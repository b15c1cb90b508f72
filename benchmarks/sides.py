"""The two sides of the comparison: this service and the template, each with a Redis of its own.

Both Redis servers append every command to a file and wait for the disk each time.
"""

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, Self

from redis import Redis

from app.store import server

WORKERS: Final = 2
_START_SECONDS: Final = 90.0
_STOP_SECONDS: Final = 20.0
_TICKS: Final = os.sysconf("SC_CLK_TCK")
_UVICORN: Final = ("-m", "uvicorn", "--host", "127.0.0.1")


class NotUp(Exception):
    """A side did not come up in time."""


class Side:
    """Redis, an API process and workers; a context.

    Args:
        name: Its directory's name.
        directory: Holds its data and logs.
        environment: Makes the environment of its processes from the URL of its Redis.
        api: What uvicorn serves.
        worker: Options of the Celery worker.
        ready: Path that answers 200 once it serves.
        count_done: Says how many jobs have ended, from its Redis.
    """

    def __init__(
        self,
        name: str,
        directory: Path,
        *,
        environment: Callable[[str], dict[str, str]],
        api: Sequence[str],
        worker: Sequence[str],
        ready: str,
        count_done: Callable[[Any], int],
    ) -> None:
        self.name = name
        self.port = _free_port()
        self._ready = ready
        self._count_done = count_done
        self._logs = directory / name
        self._logs.mkdir(parents=True)
        self.server = server.start(self._logs / "redis", fsync="always", port=_free_port())
        door: Any = Redis  # redis-py's own types are partly unknown
        self.redis: Any = door.from_url(self.server.url)
        self._environment = {**_bare_environment(), **environment(self.server.url)}
        self.api = self._start("api", [*_UVICORN, "--port", str(self.port), *api])
        celery = ["-m", "celery", *worker, "--concurrency", str(WORKERS), "--loglevel", "warning"]
        self.worker = self._start("worker", celery)

    def __enter__(self) -> Self:
        self.wait_until(self._is_ready, "serve")
        return self

    def __exit__(self, *_: object) -> None:
        self.resume()
        for process in (self.api, self.worker):
            process.terminate()
        for process in (self.api, self.worker):
            try:
                process.wait(_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        self.redis.close()
        self.server.stop()

    def count_done(self) -> int:
        """Return how many jobs have ended so far."""
        return self._count_done(self.redis)

    def pause(self) -> None:
        """Freeze the workers: what is accepted meanwhile waits."""
        os.killpg(self.worker.pid, signal.SIGSTOP)

    def resume(self) -> None:
        """Let the workers go on."""
        with suppress(ProcessLookupError):
            os.killpg(self.worker.pid, signal.SIGCONT)

    def cpu_seconds(self) -> dict[str, float]:
        """Return the CPU time that each part has used since it started."""
        return {
            "api": _cpu_of(self.api.pid),
            "worker": sum(map(_cpu_of, _group(self.worker.pid))),
            "redis": _cpu_of(self.server.process.pid),
        }

    def wait_until(self, is_so: Callable[[], bool], what: str, *, pause: float = 0.02) -> None:
        """Look again and again.

        Raises:
            NotUp: It took too long.
        """
        until = time.monotonic() + _START_SECONDS
        while not is_so():
            if time.monotonic() > until:
                raise NotUp(f"{self.name} did not {what}; its logs: {self._logs}")
            time.sleep(pause)

    def _is_ready(self) -> bool:
        url = f"http://127.0.0.1:{self.port}{self._ready}"
        with suppress(OSError), urllib.request.urlopen(url, timeout=2) as answer:
            return bool(answer.status == 200)  # noqa: PLR2004
        return False

    def _start(self, name: str, words: Sequence[str]) -> "subprocess.Popen[bytes]":
        with (self._logs / f"{name}.log").open("wb") as log:
            return subprocess.Popen(  # noqa: S603 - the command is ours
                [sys.executable, *words],
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )


def make_house(directory: Path) -> Side:
    """Start this service, as `fitjobs up` starts its parts."""

    def environment(url: str) -> dict[str, str]:
        return {"FITJOBS_REDIS_URL": url, "FITJOBS_MAX_QUEUED_JOBS": "100000"}

    return Side(
        "fitjobs",
        directory,
        environment=environment,
        api=(
            *("--factory", "app.main:create_app_from_environment", "--no-server-header"),
            # It writes a line a request itself; the template leaves that to uvicorn.
            "--no-access-log",
        ),
        worker=(
            *("--app", "worker.main", "worker", "--queues", "cpu"),
            *("--without-gossip", "--without-mingle", "--without-heartbeat"),
        ),
        ready="/readyz",
        count_done=lambda redis: int(redis.zcard("{fit}:expiries")),
    )


def make_template(directory: Path) -> Side:
    """Start the template with the commands of its tutorial."""
    return Side(
        "template",
        directory,
        environment=lambda url: {"TEMPLATE_REDIS_URL": url},
        api=("benchmarks.peers.template:app",),
        worker=("--app", "benchmarks.peers.template:celery", "worker"),
        ready="/ready",
        count_done=_count_results,
    )


def _count_results(redis: Any) -> int:  # noqa: ANN401  # redis-py's own types are partly unknown
    return sum(1 for _ in redis.scan_iter("celery-task-meta-*", count=10_000))


def _bare_environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("FITJOBS_")}


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _cpu_of(pid: int) -> float:
    """Return user and system time of a process, without its children."""
    try:
        words = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(words[11]) + int(words[12])) / _TICKS


def _group(leader: int) -> list[int]:
    """Return the processes of a group, where the system shows them."""
    found: list[int] = []
    for directory in Path("/proc").glob("[0-9]*"):
        with suppress(OSError, ValueError):
            if os.getpgid(int(directory.name)) == leader:
                found.append(int(directory.name))
    return found
