"""What an attempt does about a Redis that is away: it goes on computing, and waits only at the end.

The waiting is added up, because timeout_seconds counts the computing.
"""

import logging
import math
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Final

from app.domain.errors import StoreUnavailable
from app.log import fields
from app.store.connect import Pauses
from worker.pulse import Pulse

DRAIN_SECONDS: Final = 5.0
"""How long a worker that was asked to stop still waits for a Redis that is away."""

_LOG = logging.getLogger(__name__)


class Outage:
    """Whether Redis is away, as far as one attempt has noticed.

    Args:
        is_draining: Whether this process was asked to stop.
        pulse: Beats while nothing but Redis is waited for.
        clock: Seconds that only rise.
    """

    def __init__(
        self,
        *,
        is_draining: Callable[[], bool],
        pulse: Pulse,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.waited_seconds = 0.0
        self._is_draining = is_draining
        self._pulse = pulse
        self._clock = clock
        self._pauses = Pauses()
        self._quiet_until = -math.inf

    @property
    def is_on(self) -> bool:
        """Whether a call has failed so recently that another one would only cost time."""
        return self._clock() < self._quiet_until

    @contextmanager
    def endured(self) -> Generator[None]:
        """Do without what a call inside would have done or said, when Redis is away."""
        began = self._clock()
        try:
            yield
        except StoreUnavailable:
            lost = self._count_since(began)
            # A Redis that hangs costs a whole timeout each time: at least as long is computed.
            pause = max(lost, self._pauses.next_seconds())
            self._quiet_until = self._clock() + pause
            _LOG.debug("store.unanswered", extra=fields(seconds=round(lost, 3)))
        else:
            self._end()

    def insist(self, write: Callable[[], None]) -> None:
        """Write until Redis takes it: a finished result waits for Redis, not the other way round.

        Raises:
            LeaseLost: Another attempt has taken the job meanwhile.
            StoreUnavailable: This process was asked to stop and Redis stays away.
        """
        drained_until: float | None = None
        is_told = False
        while True:
            self._pulse.beat()
            began = self._clock()
            try:
                write()
            except StoreUnavailable as away:
                if not is_told:
                    _LOG.warning("store.away", extra=fields(detail=away.detail))
                    is_told = True
                if self._is_draining():
                    drained_until = drained_until or self._clock() + DRAIN_SECONDS
                    if self._clock() >= drained_until:
                        raise
                time.sleep(self._pauses.next_seconds())
                self._count_since(began)
            else:
                self._end()
                return

    def _count_since(self, began: float) -> float:
        lost = self._clock() - began
        self.waited_seconds += lost
        return lost

    def _end(self) -> None:
        self._pauses.reset()
        self._quiet_until = -math.inf
