"""A primary, a replica and a Sentinel, as a test sets them up, kills them and moves them."""

import socket
import subprocess
from pathlib import Path
from typing import Final
from urllib.parse import quote

from redis import Redis

from app.store import server
from tests.waiting import wait_until

SERVICE: Final = "fits"
PASSWORD: Final = "p@ss, w/rd"  # noqa: S105  # nobody's; needs every kind of quoting
SENTINEL_PASSWORD: Final = "an&other"  # noqa: S105  # nobody's

# A failover within about a second: silent for so long, then elected by the only Sentinel.
_SENTINEL: Final = """\
port {port}
bind 127.0.0.1
requirepass "{sentinel_password}"
dir {directory}
logfile {directory}/sentinel.log
sentinel monitor {service} 127.0.0.1 {primary} 1
sentinel auth-pass {service} "{password}"
sentinel down-after-milliseconds {service} 500
sentinel failover-timeout {service} 2000
"""


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


class Redundant:
    """Two servers with a password, the second a replica of the first.

    Args:
        directory: Where both, and the Sentinel, keep their files.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._sentinel: subprocess.Popen[bytes] | None = None
        self.ports = (free_port(), free_port())
        self.servers = [server.start(directory / f"redis-{port}", port=port) for port in self.ports]
        for port in self.ports:
            self._protect(port)
        self.replicate(self.ports[1], of=self.ports[0])

    def client(self, port: int) -> Redis:
        return Redis(port=port, password=PASSWORD, socket_timeout=5)

    def url(self, port: int) -> str:
        """Return the URL of one server, or of what stands in front of it."""
        return f"redis://:{quote(PASSWORD, safe='')}@127.0.0.1:{port}/0"

    def replicate(self, port: int, *, of: int) -> None:
        """Make one server a replica of another, and wait until it has everything."""
        with self.client(of) as primary, self.client(port) as replica:
            primary.config_set("repl-diskless-sync-delay", 0)
            replica.replicaof("127.0.0.1", str(of))
            wait_until(
                lambda: replica.info("replication")["master_link_status"] == "up",
                "the replica has everything",
                seconds=30,
            )

    def promote(self, port: int) -> None:
        with self.client(port) as replica:
            replica.replicaof("NO", "ONE")

    def watch(self) -> str:
        """Start a Sentinel; return the URL that names it, after one that nobody answers."""
        port = free_port()
        directory = self._directory / "sentinel"
        directory.mkdir()
        settings = directory / "sentinel.conf"
        settings.write_text(
            _SENTINEL.format(
                port=port,
                directory=directory,
                service=SERVICE,
                primary=self.ports[0],
                password=PASSWORD,
                sentinel_password=SENTINEL_PASSWORD,
            )
        )
        self._sentinel = subprocess.Popen(
            [server.find_binary(), str(settings), "--sentinel"],
            cwd=directory,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        log = directory / "sentinel.log"
        wait_until(
            lambda: log.exists() and f"+slave slave 127.0.0.1:{self.ports[1]}" in log.read_text(),
            "the Sentinel knows the replica",
            seconds=30,
        )
        return (
            f"redis+sentinel://:{quote(PASSWORD, safe='')}@127.0.0.1:{free_port()},127.0.0.1:{port}"
            f"/{SERVICE}/0?sentinel_password={quote(SENTINEL_PASSWORD)}"
        )

    def kill(self, port: int) -> None:
        process = self.servers[self.ports.index(port)].process
        process.kill()
        process.wait()

    def revive(self, port: int) -> None:
        """Start a killed server again, with the file that it had."""
        self.servers[self.ports.index(port)] = server.start(
            self._directory / f"redis-{port}", port=port
        )
        self._protect(port)

    def close(self) -> None:
        if self._sentinel is not None:
            self._sentinel.kill()
            self._sentinel.wait()
        for running in self.servers:
            running.process.kill()
            running.process.wait()

    @staticmethod
    def _protect(port: int) -> None:
        with Redis(port=port, socket_timeout=5) as bare:
            bare.config_set("masterauth", PASSWORD)
            bare.config_set("requirepass", PASSWORD)
