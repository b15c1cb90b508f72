"""Keeps a claimed job ours while its loop computes; it knows neither the loop nor Celery.

A thread renews, not the loop: a long block, a first import or a page fault must not lose a job. For
the same reason it hands the job back when the worker is asked to stop and the loop is too busy to.
But a loop that has stopped getting on must lose its job: then the thread ends the process.
"""

import logging
import os
import signal
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Any, Final, Self

from app.domain.errors import LeaseLost, StoreUnavailable
from app.log import fields
from app.store.claim import Claim
from app.store.connect import Pauses
from app.store.runs import RunStore
from worker.pulse import Pulse

DRAIN_LOOK_SECONDS: Final = 0.25
"""A loop that is asked to stop gets so long: most look up every 50 ms, and checkpoint."""

_LOG = logging.getLogger(__name__)


def end_process() -> None:
    """End this process at once: a native call that never returns hears nothing else."""
    os.kill(os.getpid(), signal.SIGKILL)


class Lease:
    """A context in which a claim is renewed every heartbeat, as long as the loop gets on.

    Args:
        runs: Where the claim stands.
        claim: What to renew.
        heartbeat_seconds: Time between renewals.
        is_draining: Whether this process was asked to stop.
        pulse: Beats when the loop gets on.
        stall_seconds: How long it may stay silent.
        give_up: Called once when it stays silent for longer.
    """

    def __init__(
        self,
        runs: RunStore,
        claim: Claim,
        *,
        heartbeat_seconds: float,
        is_draining: Callable[[], bool],
        pulse: Pulse,
        stall_seconds: float,
        give_up: Callable[[], None] = end_process,
    ) -> None:
        self._runs = runs
        self._claim = claim
        self._heartbeat_seconds = heartbeat_seconds
        self._is_draining = is_draining
        self._pulse = pulse
        self._stall_seconds = stall_seconds
        self._give_up = give_up
        self._pauses = Pauses()
        self._over = threading.Event()
        self._lost = threading.Event()
        self._thread = threading.Thread(target=self._keep, name="lease", daemon=True)

    @property
    def is_lost(self) -> bool:
        """Whether the job is no longer this attempt's."""
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

    def _keep(self) -> None:
        # No clock: pauses are added up, because a process that was frozen does not hang.
        beats, silent, pause = self._pulse.beats, 0.0, self._heartbeat_seconds
        is_told = False
        while not self._over.wait(pause):
            silent = silent + pause if self._pulse.beats == beats else 0.0
            beats = self._pulse.beats
            if silent >= self._stall_seconds:
                _LOG.error("job.stalled", extra=self._fields(seconds=self._stall_seconds))
                self._give_up()
                return
            pause = self._heartbeat_seconds
            # A loop whose lease is lost may hang all the same.
            if not self.is_lost and not self._write(self._release if is_told else self._renew):
                pause = min(pause, self._pauses.next_seconds())
            is_told = self._is_draining()
            if is_told:
                pause = min(pause, DRAIN_LOOK_SECONDS)

    def _renew(self) -> None:
        self._runs.renew(self._claim)

    def _release(self) -> None:
        self._runs.release(self._claim)
        self._lost.set()
        _LOG.info("job.released", extra=self._fields())

    def _write(self, write: Callable[[], None]) -> bool:
        """Return whether Redis has answered."""
        try:
            write()
        except LeaseLost:
            self._lost.set()
            _LOG.debug("lease.lost", extra=self._fields())
        except StoreUnavailable:
            # Redis may be back before the lease is over; if not, the fence decides.
            _LOG.warning("lease.not_renewed", extra=self._fields())
            return False
        self._pauses.reset()
        return True

    def _fields(self, **more: object) -> dict[str, Any]:
        # What is bound in the loop's own thread is not bound in this one.
        claim = self._claim
        return fields(job_id=claim.id, attempt=claim.attempt, worker=claim.worker, **more)
