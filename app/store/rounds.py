"""The thread that does the recovery rounds; every API and every worker has one, one is elected.

It does not know Celery: what wakes a worker is passed in.
"""

import logging
import threading
from collections.abc import Callable
from typing import Final

from redis import Redis

from app import log
from app.domain.errors import StoreUnavailable
from app.settings import Settings
from app.store.connect import Pauses
from app.store.recovery import Recovery

_LOG: Final = logging.getLogger(__name__)


class RecoveryThread:
    """Takes part in the recovery rounds, so that jobs without any worker are mended too.

    Args:
        redis: Its own connection; closed at the end.
        settings: How often, and what counts as lost.
        wake: Sends the wake-ups that are missing.
    """

    def __init__(self, redis: Redis, *, settings: Settings, wake: Callable[[str], None]) -> None:
        self._redis = redis
        self._recovery = Recovery(redis, settings)
        self._pause_seconds = settings.recovery_seconds
        self._wake = wake
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="recovery", daemon=True)

    @property
    def is_alive(self) -> bool:
        """Tell whether the rounds go on."""
        return self._thread.is_alive()

    def start(self) -> None:
        """Begin with the first round after one pause."""
        self._thread.start()

    def end(self) -> None:
        """Ask for no further round; returns at once."""
        self._over.set()

    def stop(self) -> None:
        """End after the round in hand, and wait for that."""
        self.end()
        self._thread.join()
        self._redis.close()

    def _run(self) -> None:
        pauses = Pauses()
        pause = self._pause_seconds
        while not self._over.wait(pause):
            pause = self._pause_seconds
            try:
                self._mend()
                pauses.reset()
            except StoreUnavailable:
                pause = pauses.next_seconds()
            except Exception:  # noqa: BLE001  # a round that fails must not end the rounds
                _LOG.exception("recovery.failed")

    def _mend(self) -> None:
        repairs = self._recovery.round()
        if repairs.count:
            counts = {
                name: getattr(repairs, name) for name in ("requeued", "lost", "expired", "strayed")
            }
            _LOG.warning("recovery.mended", extra=log.fields(**counts))
        for queue, missing in repairs.wake_ups.items():
            for _ in range(missing):
                self._wake(queue)
