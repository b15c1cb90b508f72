"""`python -m app.embedded [--demo]`, which `fitjobs up` becomes: one house from start to Ctrl-C."""

import argparse
import contextlib
import signal
import sys
import threading
import time
from pathlib import Path
from types import FrameType
from typing import Final

from pydantic import ValidationError

from app.embedded.address import AddressUnusable, listen
from app.embedded.child import StartFailed
from app.embedded.demo import is_ready, run_classic_job
from app.embedded.house import House
from app.embedded.lock import DirectoryInUse, DirectoryLock
from app.settings import Settings

LOOK_SECONDS: Final = 0.2
"""How soon a dead child is noticed."""
START_SECONDS: Final = 120.0
"""A cold disk needs most of a minute to load torch the first time."""
MOST_EARLY_DEATHS: Final = 3
"""A child that dies this often before the first /readyz will not come up by itself."""


class CannotStart(Exception):
    """The start was given up; the message says why."""


class Stop:
    """SIGINT and SIGTERM: the first asks for a clean stop, the second for a quick one."""

    def __init__(self) -> None:
        self.asked = threading.Event()
        self.hurry = threading.Event()
        names = [signal.SIGINT, signal.SIGTERM]
        if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
            # nohup has its say.
            names.append(signal.SIGHUP)
        for name in names:
            signal.signal(name, self._hear)

    def _hear(self, _number: int, _frame: FrameType | None) -> None:
        (self.hurry if self.asked.is_set() else self.asked).set()


def tell(line: str) -> None:
    """Write a line for the person at the terminal."""
    # The terminal may have gone away; the house still has to be closed in order.
    with contextlib.suppress(OSError):
        sys.stdout.write(f"{line}\n")
        sys.stdout.flush()


def main(words: list[str] | None = None) -> int:
    """Serve until a signal; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m app.embedded")
    parser.add_argument("--demo", action="store_true", help="run the classic job first")
    demo = parser.parse_args(words).demo
    try:
        settings = Settings()
        stop = Stop()
        lock = DirectoryLock(settings.data_dir)
        try:
            serve(settings, lock=lock, stop=stop, with_demo=demo)
        finally:
            lock.release()
    except ValidationError as error:
        return refuse(describe_settings(error))
    except (DirectoryInUse, AddressUnusable, CannotStart, StartFailed, OSError) as error:
        return refuse(str(error))
    return 0


def refuse(why: str) -> int:
    """Say in one sentence why nothing is served; return the exit status."""
    sys.stderr.write(f"{why}\n")
    return 1


def describe_settings(error: ValidationError) -> str:
    """Return the first bad environment variable as a sentence."""
    first = error.errors(include_url=False)[0]
    name = "_".join(("FITJOBS", *map(str, first["loc"]))).upper()
    return f"{name}: {first['msg']}."


def serve(settings: Settings, *, lock: DirectoryLock, stop: Stop, with_demo: bool) -> None:
    """Open the house, keep it, close it.

    Raises:
        AddressUnusable: The port is taken.
        StartFailed: Redis cannot be started.
        CannotStart: A child keeps dying, or the API does not become ready.
    """
    listener = listen(settings.host, settings.port)
    house = House(settings, lock=lock, listener=listener, tell=tell)
    lock.write(house.url)
    try:
        tell(f"Starting {', '.join(child.role.name for child in house.children)} ...")
        house.start()
        wait_until_ready(house, stop=stop)
        if not stop.asked.is_set():
            welcome(house, settings)
            if with_demo:
                start_demo(house, settings)
        while not stop.asked.wait(LOOK_SECONDS):
            house.look()
    finally:
        tell("Stopping ...")
        house.stop(hurry=stop.hurry)
        tell(f"Stopped. Jobs are kept in {settings.data_dir}; the next start finds them.")


def wait_until_ready(house: House, *, stop: Stop) -> None:
    """Watch the children until a job can run or a stop is asked for.

    Raises:
        CannotStart: It takes too long, or a child keeps dying.
    """
    until = time.monotonic() + START_SECONDS
    while not stop.asked.wait(LOOK_SECONDS) and not is_ready(house.url):
        house.look()
        for child in house.children:
            if child.deaths >= MOST_EARLY_DEATHS:
                raise CannotStart(
                    f"{child.role.name} ended {child.deaths} times while starting: "
                    f"{last_line(log := house.logs / f'{child.role.name}.log')} ({log})"
                )
        if time.monotonic() > until:
            raise CannotStart(
                f"No job can run after {START_SECONDS:.0f} s: see the logs in {house.logs}."
            )


def last_line(log: Path) -> str:
    """Return a log's last words."""
    lines = log.read_text(errors="replace").split("\n") if log.exists() else []
    return next((line.strip() for line in reversed(lines) if line.strip()), "it wrote no log")


def welcome(house: House, settings: Settings) -> None:
    """Say where it serves and what to paste."""
    redis = settings.redis_url and "the Redis of FITJOBS_REDIS_URL"
    tell(f"fitjobs serves {house.url}  (Ctrl-C stops it)")
    tell(f"  jobs   {redis or settings.data_dir / 'redis'}")
    tell(f"  logs   {house.logs}")
    tell(f"  try    curl -d '{{}}' {house.url}/fit")
    tell(f'         curl -d \'{{"preset":"weak-optimizers"}}\' {house.url}/compare')
    tell(f"         curl '{house.url}/latest?format=text'")


def start_demo(house: House, settings: Settings) -> None:
    """Run the classic job beside the watch over the children, and print its report."""

    def show() -> None:
        key = next(filter(None, settings.api_keys.split(",")), None)
        try:
            report = run_classic_job(house.url, key=key)
        except OSError as error:
            tell(f"The classic job was not answered: {error}")
        else:
            tell(f"\nThe classic job, `curl -d '{{}}' {house.url}/fit`:\n\n{report}")

    threading.Thread(target=show, name="demo", daemon=True).start()


if __name__ == "__main__":
    sys.exit(main())
