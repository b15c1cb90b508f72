"""Keeps a claimed job ours while its loop computes; it knows neither the loop nor Celery.

A thread renews, not the loop: a long block, a first import or a page fault must not lose a job.
"""

import logging
import threading
from types import TracebackType
from typing import Self

from app.domain.errors import LeaseLost, StoreUnavailable
from app.log import fields
from app.store.connect import Pauses
from app.store.runs import Claim, RunStore

_LOG = logging.getLogger(__name__)


class Lease:
    """A context in which a claim is renewed every heartbeat.

    Args:
        runs: Where the claim stands.
        claim: What to renew.
        heartbeat_seconds: Time between renewals.
    """

    def __init__(self, runs: RunStore, claim: Claim, *, heartbeat_seconds: float) -> None:
        self._runs = runs
        self._claim = claim
        self._heartbeat_seconds = heartbeat_seconds
        self._over = threading.Event()
        self._lost = threading.Event()
        self._thread = threading.Thread(target=self._renew, name="lease", daemon=True)

    @property
    def is_lost(self) -> bool:
        """Whether another attempt has taken the job."""
        return self._lost.is_set()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._over.set()
        self._thread.join()

    def _renew(self) -> None:
        pauses = Pauses()
        pause = self._heartbeat_seconds
        while not self._over.wait(pause):
            pause = self._heartbeat_seconds
            try:
                self._runs.renew(self._claim)
                pauses.reset()
            except LeaseLost:
                self._lost.set()
                return
            except StoreUnavailable:
                # Redis may be back before the lease is over; if not, the fence decides.
                pause = min(pauses.next_seconds(), self._heartbeat_seconds)
                _LOG.warning("lease.not_renewed", extra=fields(worker=self._claim.worker))
