"""Cuts the power of a busy service again and again, and counts what it had promised and lost.

`python -m tests.power.cuts --fsync always --cuts 50` prints a line a cut.
"""

import argparse
import os
import random
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Final

import httpx
from redis import Redis

from app.embedded.address import listen, url_of
from app.settings import Settings
from app.store import server
from app.store.connect import connect_sync
from tests.power.disk import Disk
from tests.power.ledger import Ledger, Promise
from tests.power.load import Client, Worker, seq_of
from tests.power.shim import find_compiler
from tests.waiting import wait_until

NUM_CLIENTS: Final = 4
NUM_WORKERS: Final = 2
_API: Final = (
    *("-m", "uvicorn", "--factory", "app.main:create_app_from_environment"),
    "--no-access-log",
)
BACK_SECONDS: Final = 5.0
"""How soon the API serves again once Redis is back."""
LEAST_ANSWERS: Final = 20
"""How much clients have been answered before a cut."""
START_SECONDS: Final = 60.0
NUM_REPEATS: Final = 20
"""Jobs of each cut that are asked for a second time under the key that made them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cut:
    """What one power cut did.

    Attributes:
        answers: What had been answered 2xx before it.
        bytes: What the files lost.
        broken: What the service does not keep, one sentence each.
        lost: Jobs that were accepted and are gone.
        lost_seconds: How long before the cut the first of them was accepted.
        faults: Answers that were neither 2xx nor 503.
        back_seconds: From Redis's return to the API's.
    """

    answers: int
    bytes: int
    broken: tuple[str, ...]
    lost: int
    lost_seconds: float
    faults: tuple[str, ...]
    back_seconds: float


class Service:
    """A real API on a real Redis whose power can be cut.

    Args:
        disk: What Redis writes to.
        url: The API.
        fsync: How Redis writes.
    """

    def __init__(self, disk: Disk, url: str, *, fsync: server.Fsync, seed: int) -> None:
        self._disk = disk
        self._url = url
        self.fsync: server.Fsync = fsync
        self._random = random.Random(seed)  # noqa: S311 - replayed by its seed
        self._redis = disk.start(fsync=fsync)
        self.redis_url = self._redis.url
        self._settings = Settings.model_construct()
        self.kept: dict[str, Promise] = {}

    def cut(self, *, seconds: float, is_torn: bool, rewrites: bool) -> Cut:
        """Let clients work, cut the power in the middle of it, restart, compare.

        Args:
            seconds: How long they work.
            is_torn: Whether the disk has written some of what was not confirmed.
            rewrites: Whether Redis is writing its file anew at about that time.
        """
        ledger = Ledger()
        clients = [
            Client(self._url, ledger, seed=self._random.getrandbits(32)) for _ in range(NUM_CLIENTS)
        ]
        workers = [Worker(self._connect(), self._settings, ledger) for _ in range(NUM_WORKERS)]
        threads = [*clients, *workers]
        for thread in threads:
            thread.start()
        # On a slow machine it takes longer until there is something to lose.
        wait_until(
            lambda: ledger.count_answers() >= LEAST_ANSWERS, "clients are answered", seconds=60
        )
        self._let_work(seconds, rewrites=rewrites)
        cut_at = time.monotonic()
        lost_bytes = self._disk.cut(self._redis, torn=self._random if is_torn else None)
        for thread in threads:
            thread.over.set()
        for thread in threads:
            thread.join()
        self._redis = self._disk.start(fsync=self.fsync)
        with httpx.Client(base_url=self._url, timeout=BACK_SECONDS) as http:
            back_seconds = wait_until_back(http)
            gone, broken = compare(http, ledger.promises, repeats=self._random)
        self.kept.update(ledger.promises)
        return Cut(
            answers=ledger.count_answers(),
            bytes=lost_bytes,
            broken=tuple(broken),
            lost=len(gone),
            lost_seconds=max((cut_at - promise.accepted_at for promise in gone), default=0.0),
            faults=tuple(fault for client in clients for fault in client.faults),
            back_seconds=back_seconds,
        )

    def find_broken(self) -> list[str]:
        """Return what is not kept of all that was promised before any cut."""
        with httpx.Client(base_url=self._url, timeout=BACK_SECONDS) as http:
            return compare(http, self.kept, repeats=self._random)[1]

    def stop(self) -> None:
        """Stop Redis."""
        self._redis.stop()

    def _connect(self) -> Redis:
        return connect_sync(self._settings, self._redis.url)

    def _let_work(self, seconds: float, *, rewrites: bool) -> None:
        before = self._random.uniform(0, seconds) if rewrites else seconds
        # The load is what is waited for: there is no event to wait on.
        threading.Event().wait(before)
        if rewrites:
            with self._connect() as client:
                client.bgrewriteaof()
            # A rewrite of so little takes some milliseconds: meet it in the middle, or after it.
            threading.Event().wait(self._random.choice((0.002, 0.01, seconds - before)))


def wait_until_back(http: httpx.Client, *, seconds: float = BACK_SECONDS) -> float:
    """Wait until the API serves jobs again; return how long that took."""
    since = time.monotonic()
    # Also while it starts: the socket that it will inherit is open already.
    wait_until(
        lambda: http.get("/v1/jobs?limit=1", timeout=seconds).is_success,
        "the API serves jobs",
        seconds=seconds,
    )
    return time.monotonic() - since


def compare(
    http: httpx.Client, promises: dict[str, Promise], *, repeats: random.Random
) -> tuple[list[Promise], list[str]]:
    """Return the promises whose job is gone, and everything that is not kept."""
    gone, broken = list[Promise](), list[str]()
    for job_id, promise in promises.items():
        answer = http.get(f"/v1/jobs/{job_id}")
        if answer.status_code == HTTPStatus.NOT_FOUND:
            found = promise.find_broken(None, seq=0)
            gone += [promise] if found else []
        else:
            found = promise.find_broken(answer.raise_for_status().json(), seq=seq_of(answer))
        broken += [f"{job_id}: {what}" for what in found]
    whole = [job_id for job_id, promise in promises.items() if not promise.is_delete_asked]
    for job_id in repeats.sample(whole, min(NUM_REPEATS, len(whole))):
        key = promises[job_id].key
        again = http.post("/v1/jobs", json={}, headers={"Idempotency-Key": key})
        if again.raise_for_status().json()["id"] != job_id:
            broken.append(f"{job_id}: its key makes another job")
    return gone, broken


@contextmanager
def serve(directory: Path, *, compiler: str, fsync: server.Fsync, seed: int) -> Iterator[Service]:
    """Start Redis and the API; stop both at the end.

    Args:
        directory: For Redis's files and the API's log.
        compiler: Path of a C compiler.
        fsync: How Redis writes.
        seed: Of everything that is random here.
    """
    disk = Disk(directory, compiler=compiler)
    listener = listen("127.0.0.1", 0)
    service = Service(disk, url_of(listener), fsync=fsync, seed=seed)
    with (directory / "api.log").open("wb") as log:
        api = subprocess.Popen(
            [sys.executable, *_API, "--fd", str(listener.fileno())],
            env={**os.environ, "FITJOBS_REDIS_URL": service.redis_url},
            stdout=log,
            stderr=subprocess.STDOUT,
            pass_fds=[listener.fileno()],
        )
    try:
        with httpx.Client(base_url=url_of(listener)) as http:
            wait_until_back(http, seconds=START_SECONDS)
        yield service
    finally:
        api.terminate()
        api.wait()
        service.stop()
        listener.close()


def run(service: Service, count: int, *, seconds: tuple[float, float], seed: int) -> Iterator[Cut]:
    """Cut the power so often; each kind of cut in turn."""
    chosen = random.Random(seed)  # noqa: S311 - replayed by its seed
    for number in range(count):
        yield service.cut(
            seconds=chosen.uniform(*seconds),
            is_torn=number % 2 == 1,
            # Under everysec the file before the last may then end torn, and Redis refuses to start.
            rewrites=service.fsync == "always" and number % 4 in {1, 2},
        )


def tell(line: str) -> None:
    """Write a line for the person at the terminal."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def main() -> int:
    """Print a line a cut; return 1 when something was lost under "always"."""
    parser = argparse.ArgumentParser(prog="python -m tests.power.cuts", description=__doc__)
    parser.add_argument("--fsync", choices=("always", "everysec"), default="always")
    parser.add_argument("--cuts", type=int, default=20)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().getrandbits(32))
    asked = parser.parse_args()
    compiler = find_compiler()
    if compiler is None:
        parser.error("no C compiler: install cc")
    tell(f"fsync {asked.fsync}, seed {asked.seed}")
    with (
        tempfile.TemporaryDirectory() as directory,
        serve(Path(directory), compiler=compiler, fsync=asked.fsync, seed=asked.seed) as service,
    ):
        num_answers = num_broken = 0
        for number, cut in enumerate(
            run(service, asked.cuts, seconds=(0.5, 3.0), seed=asked.seed), start=1
        ):
            num_answers += cut.answers
            num_broken += len(cut.broken) + len(cut.faults)
            tell(
                f"cut {number}: {cut.answers} answers, {len(cut.broken)} broken, {cut.lost} jobs "
                f"lost from {cut.lost_seconds:.2f} s before, {cut.bytes} bytes, "
                f"{len(cut.faults)} faults, back after {cut.back_seconds:.2f} s"
            )
            for what in (*cut.broken, *cut.faults)[:5] if asked.fsync == "always" else ():
                tell(f"  {what}")
        tell(f"{num_answers} answers, {num_broken} broken")
    return 1 if asked.fsync == "always" and num_broken else 0


if __name__ == "__main__":
    sys.exit(main())
