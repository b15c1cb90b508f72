"""One attempt at a job or a shard: claim, compute, finish, or hand back.

It knows the store and the engine's contract, and reaches neither torch nor Celery.
"""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from app.domain.errors import EngineFault, JobErrorType, LeaseLost, StoreUnavailable
from app.domain.job import JobError, Status
from app.domain.spec import ComparisonSpec, FitSpec
from app.log import bound, fields
from app.settings import Settings
from app.store.claim import Claim
from app.store.runs import RunStore
from worker.attempt import Attempt, Drained, Ending, Work
from worker.contract import Engine
from worker.fit import Fit
from worker.lease import Lease, end_process
from worker.outage import Outage
from worker.pulse import Pulse
from worker.recorder import Recorder
from worker.shard import Bench, Sharded

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Runner:
    """Runs jobs one at a time.

    Attributes:
        runs: The store as a worker sees it.
        engine: What computes.
        settings: Heartbeat and lease.
        is_draining: Whether this process was asked to stop.
        tell: Hears the id of the job in hand, and None when it is done.
        pulse: Beats whenever the job gets on, or waits for Redis and for nothing else.
        give_up: Ends this process when a job has stopped getting on.
        clock: Seconds that only rise.
        make_wake_up: Writes a message that wakes another worker of a queue; None wakes none.
    """

    runs: RunStore
    engine: Engine
    settings: Settings
    is_draining: Callable[[], bool] = lambda: False
    tell: Callable[[str | None], None] = lambda _: None
    pulse: Pulse = field(default_factory=Pulse)
    give_up: Callable[[], None] = end_process
    clock: Callable[[], float] = time.monotonic
    make_wake_up: Callable[[str], bytes] | None = None
    _bench: Bench = field(default_factory=Bench)

    def work(self, queue: str, *, worker: str) -> str | None:
        """Claim the next ready job or shard and bring it to an end.

        Args:
            queue: "cpu" or "cuda".
            worker: Name of this process, told in the job.

        Returns:
            The job's id, None when nothing was ready.

        Raises:
            StoreUnavailable: Redis is away and nothing was claimed.
        """
        in_hand = self._bench.record
        claim = self.runs.claim(queue, worker=worker, device=queue, in_hand=in_hand)
        if claim is None:
            self._bench.clear()
            return None
        with bound(job_id=claim.id, attempt=claim.attempt):
            _LOG.info("job.started", extra=fields(worker=worker, kind=claim.record.spec.kind))
            self.tell(claim.record.id)
            try:
                self._attempt(claim)
            finally:
                self.tell(None)
        return claim.record.id

    def _attempt(self, claim: Claim) -> None:
        lease = Lease(
            self.runs,
            claim,
            heartbeat_seconds=self.settings.heartbeat_seconds,
            is_draining=self.is_draining,
            pulse=self.pulse,
            stall_seconds=self.settings.stall_seconds,
            give_up=self.give_up,
        )
        with lease:
            outage = Outage(is_draining=self.is_draining, pulse=self.pulse, clock=self.clock)
            attempt = Attempt(
                claim=claim,
                runs=self.runs,
                lease=lease,
                recorder=Recorder(self.runs, claim, outage=outage, clock=self.clock),
                outage=outage,
                is_draining=self.is_draining,
                pulse=self.pulse,
                clock=self.clock,
                started=self.clock(),
            )
            try:
                self._conclude(attempt)
            except LeaseLost:
                _LOG.warning("job.lease_lost")
            except StoreUnavailable:
                # Recovery runs it again once the lease is over and Redis is back.
                _LOG.warning("job.left_behind")

    def _work_of(self, attempt: Attempt) -> Work:
        spec = attempt.claim.record.spec
        if isinstance(spec, FitSpec | ComparisonSpec):
            self._bench.clear()
            return Fit(attempt=attempt, engine=self.engine, spec=spec)
        return Sharded(
            attempt=attempt,
            engine=self.engine,
            spec=spec,
            bench=self._bench,
            make_wake_up=self.make_wake_up,
        )

    def _conclude(self, attempt: Attempt) -> None:
        """Run the job to its end, or hand it back when the worker is asked to stop."""
        work = self._work_of(attempt)
        try:
            ending = self._compute(work)
        except Drained:
            attempt.outage.insist(lambda: self.runs.release(attempt.claim))
            _LOG.info("job.released")
            return
        if ending is None:
            return
        status, error = ending
        work.finish(status, error)
        seconds = round(attempt.computed_seconds, 4)
        _LOG.info("job.finished", extra=fields(status=str(status), run_seconds=seconds))

    def _compute(self, work: Work) -> Ending | None:
        """Compute; turn whatever stops it into a status and an error."""
        try:
            return work.compute()
        except (LeaseLost, StoreUnavailable, Drained):
            raise
        except EngineFault as fault:
            error = JobError(type=fault.error_type, detail=fault.detail, retryable=False)
        except MemoryError:
            detail = "The worker has not enough memory for this job: send fewer points"
            error = JobError(type=JobErrorType.OUT_OF_MEMORY, detail=detail, retryable=True)
        except (Exception, SystemExit, KeyboardInterrupt):  # noqa: BLE001  # the top of the attempt
            # A fault of ours must end the job, and be told to us. No signal raises here, so whatever
            # wants to end the process is the job's own, and would with every attempt.
            _LOG.exception("job.crashed")
            detail = "The worker failed in a way that it does not know; its log has the cause"
            error = JobError(type=JobErrorType.INTERNAL, detail=detail, retryable=True)
        self._bench.clear()
        return Status.FAILED, error
