"""Mends what dead workers and lost messages leave behind; any process may run it, one does at a time.

It does not know Celery: it says how many wake-ups are missing, and the caller sends them.
"""

import secrets
from dataclasses import dataclass, field
from typing import Final

from redis import Redis

from app.domain.errors import JobErrorType
from app.domain.job import JobError
from app.settings import Settings
from app.store.keys import Keys
from app.store.scripts import Scripts, times_of
from app.store.wake_ups import MOST_WAKE_UPS

_MOST_A_ROUND: Final = 100
"""Jobs of each kind that one round mends, so that Redis is never busy for long."""
_ROUNDS_AN_ELECTION: Final = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Repairs:
    """What one round did.

    Attributes:
        is_elected: False when another process does the rounds; then all else is empty.
        requeued: Jobs whose worker fell silent, queued again.
        lost: Jobs that failed as worker-lost.
        cancelled: Jobs whose worker fell silent after a cancel was asked for.
        expired: Jobs that failed as queue-time-exceeded.
        strayed: Jobs that stood in no place, put back into one.
        trimmed: Forgotten jobs that left the index.
        wake_ups: Messages that are missing in each queue.
    """

    is_elected: bool = True
    requeued: int = 0
    lost: int = 0
    cancelled: int = 0
    expired: int = 0
    strayed: int = 0
    trimmed: int = 0
    wake_ups: dict[str, int] = field(default_factory=dict[str, int])

    @property
    def count(self) -> int:
        """How many jobs were mended: 0 in a quiet week."""
        return self.requeued + self.lost + self.cancelled + self.expired + self.strayed


class Recovery:
    """One process's seat in the election, and its rounds."""

    def __init__(self, redis: Redis, settings: Settings) -> None:
        self._scripts = Scripts(redis, Keys(settings.namespace))
        self._token = secrets.token_hex(8)
        lost = JobError(
            type=JobErrorType.WORKER_LOST,
            detail=f"{settings.max_fruitless_attempts} attempts in a row ended with the worker and "
            "came no further",
            retryable=True,
            suggestion="Look at the workers' log, then rerun the job",
        )
        alien = JobError(
            type=JobErrorType.WORKER_LOST,
            detail=f"The job began anew more than {settings.max_fruitless_attempts} times, each "
            "time on a worker that could not go on from the checkpoint of the one before",
            retryable=True,
            suggestion="Give all workers of this queue the same torch and processor, then rerun it",
        )
        late = JobError(
            type=JobErrorType.QUEUE_TIME_EXCEEDED,
            detail=f"No worker took the job within {settings.queue_timeout_seconds} s",
            retryable=True,
            suggestion="Look at /v1/workers: is there one for this device?",
        )
        limit = JobError(
            type=JobErrorType.TIME_LIMIT_EXCEEDED,
            detail="",
            retryable=True,
            suggestion="Raise timeout_seconds, or ask for fewer runs or steps",
        )
        self._arguments = (
            self._token,
            round(settings.recovery_seconds * 1000 * _ROUNDS_AN_ELECTION),
            _MOST_A_ROUND,
            settings.max_fruitless_attempts,
            settings.queue_timeout_seconds * 1000,
            *times_of(settings),
            lost.model_dump_json(),
            late.model_dump_json(),
            MOST_WAKE_UPS,
            round(settings.lease_seconds * 1000),
            alien.model_dump_json(),
            limit.model_dump_json(),
        )

    def round(self) -> Repairs:
        """Mend at most a hundred jobs of each kind, if this process is the elected one.

        Raises:
            StoreUnavailable: Redis does not answer; the next round does the work.
        """
        reply = self._scripts.run("recover", *self._arguments)
        if not reply:
            return Repairs(is_elected=False)
        requeued, lost, cancelled, expired, strayed, trimmed, *wake_ups = reply
        return Repairs(
            requeued=requeued,
            lost=lost,
            cancelled=cancelled,
            expired=expired,
            strayed=strayed,
            trimmed=trimmed,
            wake_ups={
                queue.decode(): missing
                for queue, missing in zip(wake_ups[::2], wake_ups[1::2], strict=True)
            },
        )
