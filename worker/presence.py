"""Tells the store that this worker process lives, so that the service knows its devices."""

import logging
import threading
from collections.abc import Callable
from typing import Final

from app.domain.errors import StoreUnavailable
from app.domain.job import WorkerInfo
from app.store.connect import Pauses
from app.store.runs import RunStore

ANNOUNCE_SECONDS: Final = 2.0
PRESENCE_SECONDS: Final = 7
"""Three missed announcements and a bit."""
_LOOK_SECONDS: Final = 0.02

_LOG = logging.getLogger(__name__)


class Presence:
    """A thread that announces a worker until it is closed.

    Args:
        runs: Where to announce.
        info: Who lives.
        is_starting: Whether its pool takes no messages yet; announced, it would be waited for.
    """

    def __init__(
        self, runs: RunStore, info: WorkerInfo, *, is_starting: Callable[[], bool] = lambda: False
    ) -> None:
        self._runs = runs
        self._info = info
        self._is_starting = is_starting
        self._over = threading.Event()
        self._job: str | None = None
        self._thread = threading.Thread(target=self._announce, name="presence", daemon=True)

    def start(self) -> None:
        """Announce as soon as the pool takes messages, and from then on."""
        self._thread.start()

    def hold(self, job: str | None) -> None:
        """Tell from the next announcement on which job is in hand; None says that it is idle."""
        self._job = job

    def close(self) -> None:
        """Stop announcing and take the announcement back."""
        self._over.set()
        self._thread.join()
        try:
            self._runs.retire(self._info.name)
        except StoreUnavailable:
            _LOG.debug("presence.not_retired")

    def _announce(self) -> None:
        pauses = Pauses()
        pause = 0.0
        while not self._over.wait(pause):
            if self._is_starting():
                pause = _LOOK_SECONDS
                continue
            pause = ANNOUNCE_SECONDS
            try:
                info = self._info.model_copy(update={"job": self._job})
                self._runs.announce(info, ttl_seconds=PRESENCE_SECONDS)
                pauses.reset()
            except StoreUnavailable:
                _LOG.debug("presence.not_announced")
                # A Redis that has lost its memory knows no worker until we say so.
                pause = pauses.next_seconds()
