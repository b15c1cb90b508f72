"""Looks after a pool from its parent: a child that hangs is killed, a consumer that is deaf is told.

Celery's consumer can live and no longer take messages (after a Redis restart, say). It is seen from
the outside, whatever the reason: wake-ups wait, a child is idle, and none is taken. The watchdog
knows neither Celery nor jobs.
"""

import logging
import os
import signal
import threading
from collections.abc import Callable
from typing import Final

from app.domain.errors import StoreUnavailable
from app.log import fields
from worker.pulse import Pulse, Pulses

LOOK_SECONDS: Final = 1.0
DEAF_LOOKS: Final = 10
"""A pool replaces a child within two, and a loaded machine is slow."""
GRACE_LOOKS: Final = 5
"""A hung child's own lease thread comes first: it knows the job. It cannot when the GIL is held."""

_LOG = logging.getLogger(__name__)


class Watchdog:
    """A thread of the pool's parent that looks once a second until it is ended.

    It counts looks, not seconds, and only while nothing else explains the silence: a pool that is
    busy, a Redis that is away and a machine that slept set it off never.

    Args:
        pulses: Of the pool's children.
        count_waiting: Returns how many wake-ups wait that this pool should take; raises
            StoreUnavailable.
        stall_seconds: How long a child may have a job in hand without getting on.
        leave: Called once, when the consumer is deaf; ends this process.
        kill: Ends a child at once.
    """

    def __init__(
        self,
        pulses: Pulses,
        *,
        count_waiting: Callable[[], int],
        stall_seconds: float,
        leave: Callable[[], None],
        kill: Callable[[int], None] = lambda pid: os.kill(pid, signal.SIGKILL),
    ) -> None:
        self._pulses = pulses
        self._count_waiting = count_waiting
        self._most_silent = round(stall_seconds / LOOK_SECONDS) + GRACE_LOOKS
        self._leave = leave
        self._kill = kill
        self._over = threading.Event()
        self._wakes = 0
        self._deaf = 0
        # By pid: beats at the last look, and looks since they last rose.
        self._silent: dict[int, tuple[int, int]] = {}
        self._thread = threading.Thread(target=self._run, name="watchdog", daemon=True)

    @property
    def is_alive(self) -> bool:
        """Tell whether it still looks."""
        return self._thread.is_alive()

    def start(self) -> None:
        """Look for the first time in a second."""
        self._thread.start()

    def end(self) -> None:
        """Ask for no further look; returns at once."""
        self._over.set()

    def look(self) -> bool:
        """Look once; return whether the consumer is deaf."""
        children = self._pulses.signed()
        at_work = self._pulses.at_work()
        self._end_hung(at_work)
        return self._is_deaf(children, num_idle=len(children) - len(at_work))

    def _run(self) -> None:
        while not self._over.wait(LOOK_SECONDS):
            try:
                if self.look():
                    self._leave()
                    return
            except Exception:  # noqa: BLE001  # a look that fails must not end the looking
                _LOG.exception("watchdog.failed")

    def _end_hung(self, at_work: list[Pulse]) -> None:
        before, self._silent = self._silent, {}
        for child in at_work:
            beats, looks = before.get(child.pid, (-1, 0))
            looks = looks + 1 if child.beats == beats else 0
            if looks < self._most_silent:
                self._silent[child.pid] = child.beats, looks
                continue
            _LOG.error("worker.hung", extra=fields(pid=child.pid, seconds=looks * LOOK_SECONDS))
            self._kill(child.pid)

    def _is_deaf(self, children: list[Pulse], *, num_idle: int) -> bool:
        wakes = sum(child.wakes for child in children)
        is_quiet, self._wakes = wakes == self._wakes, wakes
        waiting = self._count() if is_quiet and num_idle else 0
        self._deaf = self._deaf + 1 if waiting else 0
        if self._deaf < DEAF_LOOKS:
            return False
        _LOG.error("worker.deaf", extra=fields(waiting=waiting, idle=num_idle))
        return True

    def _count(self) -> int:
        try:
            return self._count_waiting()
        except StoreUnavailable:
            return 0
