"""A disk whose power can be cut: it keeps what fsync had confirmed, and forgets the rest."""

import os
import random
import signal
from collections.abc import Iterable
from pathlib import Path

from app.store import server
from tests.power import shim


class Disk:
    """The files of one redis-server, and a log of what fsync confirmed of them.

    A cut is simulated at its worst: every byte that was not confirmed is gone, although a real disk
    may have written it by itself. Renames count as done, as they do on a journaling file system
    once the file was synced before; torn sectors are not simulated.

    Args:
        directory: Made when it does not exist; holds the shim, its log and Redis's files.
        compiler: Path of a C compiler.
    """

    def __init__(self, directory: Path, *, compiler: str) -> None:
        # The kernel tells the shim real paths, and Redis leaves the directory it was started in.
        directory = directory.resolve()
        directory.mkdir(parents=True, exist_ok=True)
        self.redis = directory / "redis"
        self._log = directory / "confirmed.log"
        self._library = shim.build("confirmed", into=directory, compiler=compiler)

    def start(self, *, fsync: server.Fsync) -> server.RedisServer:
        """Start Redis on what the disk holds."""
        watched = {"POWER_LOG": str(self._log)}
        return shim.start(self.redis, self._library, fsync=fsync, environment=watched)

    def cut(self, running: server.RedisServer, *, torn: random.Random | None = None) -> int:
        """Kill Redis and forget what was not confirmed; return how many bytes that were.

        Args:
            running: From start.
            torn: Chooses how much of what was not confirmed the disk had written all the same;
                None is nothing.
        """
        # A child that rewrites the file loses its power too.
        os.killpg(running.process.pid, signal.SIGKILL)
        running.process.wait()
        confirmed = read_log(self._log.read_text().splitlines())
        lost = 0
        for path in (self.redis / "appendonlydir").iterdir():
            size = path.stat().st_size
            kept = min(confirmed.get(str(path), 0), size)
            if torn is not None:
                kept = torn.randint(kept, size)
            os.truncate(path, kept)
            lost += size - kept
        return lost


def read_log(lines: Iterable[str]) -> dict[str, int]:
    """Return the confirmed size of each file that still has a name."""
    sizes: dict[str, int] = {}
    for line in lines:
        match line.split("\t"):
            case ["S", size, path]:
                # Two threads may sync one file: the later note may tell the smaller size.
                sizes[path] = max(sizes.get(path, 0), int(size))
            case ["R", old, new]:
                sizes[new] = sizes.pop(old, 0)
            case ["U", path]:
                sizes.pop(path, None)
            case _:
                raise ValueError(f"not a line of the log: {line!r}")
    return sizes
