"""The event log of a job: what happened, in order, each with a number that only rises."""

from enum import StrEnum
from typing import Any

from pydantic import Field

from app.domain.frozen import Frozen


class EventType(StrEnum):
    """What can happen to a job."""

    QUEUED = "job.queued"
    STARTED = "job.started"
    PROGRESS = "job.progress"
    REQUEUED = "job.requeued"
    CANCEL_REQUESTED = "job.cancel_requested"
    SUCCEEDED = "job.succeeded"
    FAILED = "job.failed"
    CANCELLED = "job.cancelled"

    @property
    def is_terminal(self) -> bool:
        """Tell whether nothing can follow this event."""
        return self in {EventType.SUCCEEDED, EventType.FAILED, EventType.CANCELLED}


class Event(Frozen):
    """One entry of the log.

    Attributes:
        seq: Number in the job's log, from 1; strictly rising, gaps are allowed.
        type: What happened.
        at_ms: When, milliseconds since 1970 UTC by Redis's clock.
        data: What the type adds, e.g. attempt, step, loss.
    """

    seq: int = Field(ge=1)
    type: EventType
    at_ms: int
    data: dict[str, Any] = Field(default_factory=dict)
