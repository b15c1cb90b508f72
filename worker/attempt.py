"""What every attempt does, whatever it computes: count its time, look up between blocks, let go."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol

from app.domain.errors import LeaseLost
from app.domain.job import JobError, Status
from app.domain.result import StopReason
from app.store.claim import Claim
from app.store.runs import RunStore
from worker.lease import Lease
from worker.outage import Outage
from worker.pulse import Pulse
from worker.recorder import Recorder

LONG_BLOCK_SECONDS: Final = 0.5
"""A block that takes longer is given up half way when the worker is asked to stop."""

Ending = tuple[Status, JobError | None]
"""How a job or a shard ends."""


class Drained(Exception):  # no error: what was asked for
    """The worker stops; the job goes back to the queue."""


@dataclass(slots=True, kw_only=True)
class Attempt:
    """One attempt at a job or a shard while it runs.

    Attributes:
        claim: What it may do.
        runs: The store as a worker sees it.
        lease: Says when the claim is lost.
        recorder: Writes rows and progress.
        outage: Says when Redis is away.
        is_draining: Whether this process was asked to stop.
        pulse: Beats whenever the job gets on.
        clock: Seconds that only rise.
        started: When it began by the clock, had nothing interrupted the job.
        block_started: When the block in hand was begun.
    """

    claim: Claim
    runs: RunStore
    lease: Lease
    recorder: Recorder
    outage: Outage
    is_draining: Callable[[], bool]
    pulse: Pulse
    clock: Callable[[], float]
    started: float
    block_started: float = math.inf

    @property
    def computed_seconds(self) -> float:
        """What counts against timeout_seconds: not the waiting for a Redis that is away."""
        return self.clock() - self.started - self.outage.waited_seconds

    @property
    def device(self) -> str:
        """Where to compute, as torch names it."""
        record = self.claim.record
        if record.device.queue == "cpu":
            # A job routed to a cpu worker runs on cpu, whatever the spec would have liked.
            return "cpu"
        return record.spec.device if record.spec.device.startswith("cuda") else "cuda"

    def breathe(self) -> None:
        """Tell, within a block, that it gets on; give it up when it is long and in vain.

        Raises:
            LeaseLost: Another attempt has taken the job.
            Drained: This process was asked to stop; what was kept last stands.
        """
        self.pulse.beat()
        if self.clock() - self.block_started < LONG_BLOCK_SECONDS:
            return
        if self.lease.is_lost:
            raise LeaseLost("The lease was lost in the middle of a block")
        if self.is_draining():
            raise Drained

    def interruption(self, keep: Callable[[], None] = lambda: None) -> StopReason | None:
        """Look up, between two blocks, whether somebody wants this to end.

        Args:
            keep: Writes where the attempt stands, for the next one; called before it drains.

        Raises:
            LeaseLost: Another attempt has taken the job.
            Drained: This process was asked to stop.
        """
        if self.lease.is_lost:
            raise LeaseLost("The lease was lost while a block was computed")
        if self.is_draining():
            self.outage.insist(keep)
            raise Drained
        if not self.outage.is_on:
            # Nobody can ask for anything while Redis is away.
            with self.outage.endured():
                if self.runs.is_cancel_requested(self.claim):
                    return StopReason.CANCELLED
        if self.computed_seconds > self.claim.record.spec.timeout_seconds:
            return StopReason.TIME_LIMIT
        return None


class Work(Protocol):
    """What an attempt computes, and how that ends."""

    def compute(self) -> Ending | None:
        """Compute until it ends by itself or is stopped; None when it was split instead.

        Raises:
            LeaseLost: Another attempt has taken it.
            Drained: This process was asked to stop.
        """
        ...

    def finish(self, status: Status, error: JobError | None) -> None:
        """Write everything that is known, and with the last of it the terminal status.

        Raises:
            LeaseLost: Another attempt has taken it.
        """
        ...
