"""The composition root of a worker process: builds runner and engine, and answers wake-ups."""

import logging
import mmap
import os
import signal
import socket
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from functools import cache
from types import FrameType
from typing import Final

import torch
from billiard.process import current_process

from app.domain.errors import StoreUnavailable
from app.domain.job import WorkerInfo
from app.log import fields
from app.queue import WakeText, make_queue, make_wake_texts
from app.settings import Settings
from app.store.connect import connect_sync
from app.store.runs import RunStore
from worker.engine.rules.kernels import Kernels
from worker.engine.torch_engine import TorchEngine
from worker.presence import Presence
from worker.pulse import Pulse, Pulses
from worker.runner import Runner

WAKE_SECONDS: Final = 20.0
"""A wake-up serves jobs for this long; then Celery may hand the process to another queue."""

_LOG = logging.getLogger(__name__)

# One byte shared by a pool's parent and children: the parent hears SIGTERM, the children loop.
_DRAINING: Final = mmap.mmap(-1, 1)

# Another, which says that the parent has forked its children and does not yet take messages.
_STARTING: Final = mmap.mmap(-1, 1)

PULSES: Final = Pulses()
"""Of this pool's children; its parent watches them."""

_LEAVING: set[int] = set()
"""The id of this process, once it alone was asked to stop."""


def set_starting(is_starting: bool) -> None:  # noqa: FBT001  # the flag is all there is
    """Keep this pool from being announced until it takes messages."""
    _STARTING[0] = is_starting


def is_starting() -> bool:
    """Tell whether this pool takes no messages yet."""
    return _STARTING[0] == 1


def drain() -> None:
    """Ask every process of this pool to hand its job back and to claim no other."""
    _DRAINING[0] = 1


def is_draining() -> bool:
    """Tell whether this pool, or this process of it, was asked to stop."""
    return _DRAINING[0] == 1 or os.getpid() in _LEAVING


@contextmanager
def leaving_in_order() -> Generator[None]:
    """Hand the job back before this process obeys a SIGTERM of its own.

    The parent sends it at a quick shutdown, and systemd to every process of a unit. Whoever
    handled it before, which is billiard, hears of it at the end of the block.
    """

    def hear(_number: int, _frame: FrameType | None) -> None:
        _LEAVING.add(os.getpid())

    before = signal.signal(signal.SIGTERM, hear)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
        if os.getpid() in _LEAVING:
            _LEAVING.clear()
            os.kill(os.getpid(), signal.SIGTERM)


def own_pulse() -> Pulse:
    """Return this process's vital signs; a child has those of its place in the pool."""
    return PULSES[getattr(current_process(), "index", 0)]


@cache
def settings() -> Settings:
    """Read the environment once a process."""
    return Settings()


@cache
def kernels() -> Kernels:
    """Return the compiled rules of this machine; a forked child shares what its parent loaded."""
    return Kernels(settings().kernel_dir)


def redis_url() -> str:
    """Return the Redis that holds the jobs.

    Raises:
        SystemExit: FITJOBS_REDIS_URL is not set.
    """
    url = settings().redis_url
    if url is None:
        raise SystemExit("A worker needs FITJOBS_REDIS_URL, e.g. redis://localhost:6379/0")
    return url


@cache
def _wake_texts() -> WakeText:
    return make_wake_texts(make_queue(settings(), redis_url()))


def make_wake_up(queue: str) -> bytes:
    """Return a message that wakes another worker; Celery is asked the first time that one is needed."""
    return _wake_texts()(queue)


class Desk:
    """What one worker process works with: its store, its runner, its name.

    Args:
        queue: "cpu" or "cuda".
    """

    def __init__(self, queue: str) -> None:
        # A worker process is one core's worth of work; threads would fight over it.
        torch.set_num_threads(1)
        self.queue = queue
        self.info = WorkerInfo(
            name=f"{socket.gethostname()}-{os.getpid()}-{queue}",
            queue=queue,
            devices=list_devices(queue),
            torch=torch.__version__,
            started_at_ms=time.time_ns() // 1_000_000,
        )
        runs = RunStore(connect_sync(settings(), redis_url()), settings())
        self._pulse = own_pulse()
        self._pulse.sign()
        self._presence = Presence(runs, self.info, is_starting=is_starting)
        engine = TorchEngine(kernels=kernels())
        self._runner = Runner(
            runs=runs,
            engine=engine,
            settings=settings(),
            is_draining=is_draining,
            tell=self._hold,
            pulse=self._pulse,
            make_wake_up=make_wake_up,
        )
        # Before anybody hears of this worker: the first job is as quick as the second.
        engine.warm()
        with suppress(StoreUnavailable):
            runs.warm()
        self._presence.start()

    def serve(self, *, clock: Callable[[], float] = time.monotonic) -> bool:
        """Run ready jobs until none is left or WAKE_SECONDS are over.

        Returns:
            Whether time ran out first, so that jobs may still be ready.
        """
        if not self.info.devices:
            # Its jobs would all fail; a worker that has the device can run them.
            self._pulse.take()
            _LOG.error("wake.no_device", extra=fields(queue=self.queue))
            return False
        self._pulse.take()
        with leaving_in_order():
            return self._serve(until=clock() + WAKE_SECONDS, clock=clock)

    def _serve(self, *, until: float, clock: Callable[[], float]) -> bool:
        while not is_draining():
            if clock() >= until:
                return True
            try:
                if self._runner.work(self.queue, worker=self.info.name) is None:
                    break
            except StoreUnavailable as away:
                # The job stays ready; recovery sends the next wake-up when Redis is back.
                _LOG.warning("wake.store_away", extra=fields(detail=away.detail))
                break
        return False

    def _hold(self, job: str | None) -> None:
        self._presence.hold(job)
        self._pulse.hold(is_busy=job is not None)

    def close(self) -> None:
        """Take the worker's name off the list."""
        self._presence.close()


def list_devices(queue: str) -> tuple[str, ...]:
    """Return the devices that a worker of a queue can use, as torch names them."""
    if queue == "cpu":
        return ("cpu",)
    return tuple(
        f"cuda:{index} {torch.cuda.get_device_name(index)}"
        for index in range(torch.cuda.device_count())
    )


_DESKS: dict[tuple[int, str], Desk] = {}


def open_desk(queue: str) -> Desk:
    """Return this process's desk for a queue; a forked child makes its own."""
    key = (os.getpid(), queue)
    desk = _DESKS.get(key)
    if desk is None:
        desk = _DESKS[key] = Desk(queue)
    return desk


def close_desks() -> None:
    """Close every desk of this process."""
    for key in [key for key in _DESKS if key[0] == os.getpid()]:
        _DESKS.pop(key).close()
