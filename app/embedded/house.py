"""Starts the children in order, watches them, and stops them in the opposite order."""

import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Final

from app.embedded.address import url_of
from app.embedded.child import Child, Process, Role, StartFailed, bound_log, spawn
from app.embedded.lock import DirectoryLock
from app.settings import Settings
from app.store import server

API_GRACE_SECONDS: Final = 8.0
"""Open requests get 5 seconds (uvicorn's limit below), then the socket is closed."""
WORKER_GRACE_SECONDS: Final = 15.0
"""A worker hands its job back within 2 seconds; a slow disk gets some more."""
REDIS_GRACE_SECONDS: Final = 20.0
"""Redis finishes writing its append-only file."""

# Workers are Celery's own command, as on any other machine; they share nothing but the store.
_WORKER: Final = (
    *("-m", "celery", "--app", "worker.main", "worker", "--pool", "prefork", "--loglevel", "info"),
    *("--without-gossip", "--without-mingle", "--without-heartbeat"),
)
_API: Final = (
    *("-m", "uvicorn", "--factory", "app.main:create_app_from_environment", "--loop", "uvloop"),
    *("--http", "httptools", "--no-server-header", "--no-access-log"),
    *("--timeout-graceful-shutdown", "5"),
)


class House:
    """Redis, the workers and the API of one data directory.

    Args:
        settings: Where and how many.
        lock: Held on the data directory; the watchdog holds it as well.
        listener: The API's socket.
        tell: Where a line for the person at the terminal goes.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        lock: DirectoryLock,
        listener: socket.socket,
        tell: Callable[[str], None],
    ) -> None:
        self.url = url_of(listener)
        self.logs = settings.data_dir / "logs"
        self.logs.mkdir(parents=True, exist_ok=True)
        self._settings = settings
        self._listener = listener
        self._tell = tell
        self._redis_url = settings.redis_url or ""
        self._redis: server.RedisServer | None = None
        self._watchdog = subprocess.Popen(
            [sys.executable, "-m", "app.embedded.watchdog"],
            stdin=subprocess.PIPE,
            pass_fds=(lock.fileno(),),
            start_new_session=True,
        )
        self.children = [
            Child(role, tell=tell, register=self._register) for role in self._make_roles()
        ]

    def start(self) -> None:
        """Start every child, Redis first.

        Raises:
            StartFailed: One cannot be started; those that were keep running until `stop`.
        """
        for child in self.children:
            child.start()

    def look(self) -> None:
        """Notice deaths, start again what is due, bound the logs."""
        before = self._redis_url
        for child in self.children:
            child.look()
            if self._redis_url != before and child.role.name != "Redis":
                child.restart()
        for log in (*self.logs.glob("*.log"), self._settings.data_dir / "redis" / "redis.log"):
            bound_log(log)

    def stop(self, *, hurry: threading.Event) -> None:
        """Stop the API, then the workers, then Redis; nothing is left behind.

        Args:
            hurry: Once set, what still runs is killed without grace.
        """
        for child in sorted(self.children, key=lambda child: child.role.order):
            child.stop(hurry=hurry)
        if self._redis is not None:
            self._redis.stop()
        if self._watchdog.stdin is not None:
            self._watchdog.stdin.close()
        self._watchdog.wait()
        self._listener.close()

    def _make_roles(self) -> list[Role]:
        redis = Role(
            name="Redis",
            order=2,
            grace_seconds=REDIS_GRACE_SECONDS,
            start=self._start_redis,
            last_words=self._read_last_words,
        )
        workers = [
            Role(
                name=f"worker-{queue}",
                order=1,
                grace_seconds=WORKER_GRACE_SECONDS,
                start=partial(self._start_worker, queue, processes),
            )
            for queue, processes in self._count_workers().items()
        ]
        api = Role(name="api", order=0, grace_seconds=API_GRACE_SECONDS, start=self._start_api)
        own_redis = [] if self._settings.redis_url else [redis]
        return [*own_redis, *workers, api]

    def _count_workers(self) -> dict[str, int]:
        # One process a GPU machine: runs on one device queue up on it anyway.
        cuda = {"cuda": 1} if Path("/dev/nvidia0").exists() else {}
        return {"cpu": self._settings.cpu_workers, **cuda}

    def _start_redis(self) -> Process:
        try:
            self._redis = server.start(
                self._settings.data_dir / "redis",
                max_memory_bytes=self._settings.redis_max_memory_bytes,
            )
        except (server.ServerFailed, OSError) as error:
            raise StartFailed(str(error)) from error
        self._redis_url = self._redis.url
        for notice in self._redis.notices:
            self._tell(notice)
        return self._redis.process

    def _read_last_words(self) -> str:
        return self._redis.last_words() if self._redis is not None else ""

    def _start_worker(self, queue: str, processes: int) -> Process:
        options = ["--queues", queue, "--concurrency", str(processes), "--hostname", f"{queue}@%h"]
        return self._spawn(f"worker-{queue}", [*_WORKER, *options])

    def _start_api(self) -> Process:
        listener = self._listener.fileno()
        return self._spawn("api", [*_API, "--fd", str(listener)], keep=(listener,))

    def _spawn(self, name: str, words: list[str], *, keep: tuple[int, ...] = ()) -> Process:
        environment = {
            **os.environ,
            "FITJOBS_REDIS_URL": self._redis_url,
            "PYTHONUNBUFFERED": "1",
        }
        return spawn(
            [sys.executable, *words],
            environment=environment,
            log=self.logs / f"{name}.log",
            keep=keep,
        )

    def _register(self, line: str) -> None:
        pipe = self._watchdog.stdin
        if pipe is None or self._watchdog.poll() is not None:
            return
        try:
            pipe.write(f"{line}\n".encode())
            pipe.flush()
        except BrokenPipeError:
            # Only kill -9 ends a watchdog; the children still end with this process's own stop.
            return
