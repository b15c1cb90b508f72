"""Every way in which a request or a job can go wrong; HTTP statuses live in app/api/errors.py.

    FitjobsError
    +-- RequestError                 the request cannot be served as it stands
    |   +-- MalformedJson
    |   +-- InvalidParameter
    |   +-- InvalidCursor
    |   +-- InvalidSpec              carries flaws
    |   +-- IdempotencyKeyReused
    |   +-- PayloadTooLarge
    |   +-- RequestTimeout
    |   +-- UnsupportedMediaType
    |   +-- NotAcceptable
    |   +-- Unauthorized
    |   +-- CrossSiteRequest
    |   +-- PreconditionFailed
    +-- LookupFailed                 what is asked for is not there
    |   +-- NotFound
    |   +-- JobNotFound
    |   +-- JobExpired
    +-- StateConflict                the job is not in a state for this
    |   +-- JobNotFinished
    |   +-- IdConflict
    +-- Unavailable                  try again later, retry_after_seconds says when
    |   +-- QueueFull
    |   |   +-- ShareFull            of one client among several
    |   +-- DeviceUnavailable
    |   +-- StoreUnavailable
    |   +-- ChartUnavailable
    +-- ChartFailed                  a picture cannot be drawn: a fault of ours
    +-- LeaseLost                    a stale attempt tried to write (worker only)
    +-- EngineFault                  an attempt failed in the engine (worker only)
    +-- CheckpointUnusable           a run cannot go on from what is kept of it (worker only)

Expected endings of a fit (diverged, cancelled, max steps) are values, not exceptions.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import ClassVar


@dataclass(frozen=True, slots=True, kw_only=True)
class Flaw:
    """One thing that is wrong with a spec.

    Attributes:
        pointer: RFC 6901 pointer into the body, "" for the body itself.
        code: Stable machine word, e.g. "unknown-field".
        detail: What is wrong and how to mend it, one sentence.
        did_you_mean: The nearest allowed name, when there is one.
        got: The offending scalar, at most 80 characters.
        allowed: The allowed names or values, at most 32.
    """

    pointer: str
    code: str
    detail: str
    did_you_mean: str | None = None
    got: str | float | bool | None = None
    allowed: tuple[str, ...] | None = None


class FitjobsError(Exception):
    """Anything that this service refuses or that a job dies of."""

    slug: ClassVar[str] = "internal"
    """Stable name: the last part of the problem type's URL."""

    def __init__(self, detail: str, *, retry_after_seconds: int | None = None) -> None:
        super().__init__(detail)
        self.detail = detail
        self.retry_after_seconds = retry_after_seconds


class RequestError(FitjobsError):
    """The request cannot be served as it stands."""


class MalformedJson(RequestError):
    """The body is not JSON."""

    slug = "malformed-json"


class InvalidParameter(RequestError):
    """A query parameter or a header has a value that cannot be used."""

    slug = "invalid-parameter"


class InvalidCursor(RequestError):
    """The cursor was not made by this service."""

    slug = "invalid-cursor"


class InvalidSpec(RequestError):
    """The body is JSON, but not a job that can run."""

    slug = "validation"

    def __init__(self, flaws: tuple[Flaw, ...]) -> None:
        first = flaws[0]
        where = f" at {first.pointer}" if first.pointer else ""
        more = f" (and {len(flaws) - 1} more)" if len(flaws) > 1 else ""
        super().__init__(f"{first.detail}{where}{more}")
        self.flaws = flaws


class IdempotencyKeyReused(RequestError):
    """The Idempotency-Key was used before with another spec."""

    slug = "idempotency-key-reused"


class PayloadTooLarge(RequestError):
    """The body has more bytes than this service accepts."""

    slug = "payload-too-large"


class RequestTimeout(RequestError):
    """The body did not arrive in the time that this service waits for one."""

    slug = "request-timeout"


class UnsupportedMediaType(RequestError):
    """The body's Content-Type or Content-Encoding cannot be read."""

    slug = "unsupported-media-type"


class NotAcceptable(RequestError):
    """None of the formats that the client accepts can be made."""

    slug = "not-acceptable"


class Unauthorized(RequestError):
    """The request carries no key, or one that is not known."""

    slug = "unauthorized"


class CrossSiteRequest(RequestError):
    """A browser sent this from another site in a form that needs no preflight."""

    slug = "cross-site-request"


class PreconditionFailed(RequestError):
    """The job has changed since the version named in If-Match."""

    slug = "precondition-failed"


class LookupFailed(FitjobsError):
    """What is asked for is not there."""


class NotFound(LookupFailed):
    """No resource has this path."""

    slug = "not-found"


class JobNotFound(LookupFailed):
    """No job has this id."""

    slug = "job-not-found"


class JobExpired(LookupFailed):
    """The job existed; its retention time is over and it was forgotten."""

    slug = "job-expired"


class StateConflict(FitjobsError):
    """The job is not in a state in which this can be done."""


class JobNotFinished(StateConflict):
    """The job has not ended yet."""

    slug = "job-not-finished"


class IdConflict(StateConflict):
    """The id belongs to a job with another spec."""

    slug = "id-conflict"


class Unavailable(FitjobsError):
    """The service cannot do this now; it may later."""


class QueueFull(Unavailable):
    """The queue holds as many jobs as it may."""

    slug = "queue-full"


class ShareFull(QueueFull):
    """The client has as many waiting jobs as it may; others may still submit."""

    slug = "too-many-requests"


class DeviceUnavailable(Unavailable):
    """No live worker serves the device that the spec demands."""

    slug = "device-unavailable"


class StoreUnavailable(Unavailable):
    """Redis does not answer or refuses to write."""

    slug = "store-unavailable"


class ChartUnavailable(Unavailable):
    """The picture was not drawn in time; the numbers behind it are in the history."""

    slug = "chart-unavailable"


class ChartFailed(FitjobsError):
    """A picture cannot be drawn: a fault of this service, told as internal."""


class LeaseLost(FitjobsError):
    """This attempt has been replaced by a newer one and may not write."""


class JobErrorType(StrEnum):
    """Why a job failed: the value of job.error.type."""

    DIVERGED = "diverged"
    TIME_LIMIT_EXCEEDED = "time-limit-exceeded"
    QUEUE_TIME_EXCEEDED = "queue-time-exceeded"
    WORKER_LOST = "worker-lost"
    OUT_OF_MEMORY = "out-of-memory"
    DEVICE_ERROR = "device-error"
    INTERNAL = "internal"


class EngineFault(FitjobsError):
    """The engine could not go on, for a reason that a retry on the same worker will not mend."""

    def __init__(self, detail: str, *, error_type: JobErrorType) -> None:
        super().__init__(detail)
        self.error_type = error_type


class CheckpointUnusable(FitjobsError):
    """A run cannot go on from this checkpoint bit for bit: the attempt starts over."""
