"""A job on its way in: what a submit hands to the store, and what it gets back."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from app.domain.errors import (
    FitjobsError,
    IdConflict,
    IdempotencyKeyReused,
    JobExpired,
    QueueFull,
    ShareFull,
)
from app.domain.job import JobRecord, Status, Warn
from app.domain.kinds import AnySpec
from app.domain.result import DeviceUsed
from app.store import codec
from app.store.scripts import Argument
from app.store.standing import Standing
from app.store.wake_ups import MOST_WAKE_UPS

_FULL_RETRY_SECONDS: Final = 5
"""Where nothing is known of how fast jobs end."""
_EMPTY_JSON: Final = "{}"


@dataclass(frozen=True, slots=True, kw_only=True)
class NewJob:
    """A job as it is submitted.

    Attributes:
        id: Identity for life.
        spec: What to run, resolved.
        spec_json: The same as JSON, where the caller has it; "" when it has not.
        fingerprint: The same for two specs exactly when they ask for the same.
        defaulted: Fields of the spec that the client left out.
        warnings: Remarks made at submit.
        device: Where it will run.
        points: The bytes behind the spec's StoredColumns or StoredSeries; None when it has none.
        rerun_of: The job that this one repeats.
        extends: The job from whose end this one goes on.
        extended_at_ms: When that job was created: its id alone may name another one by now.
        client: Who shares the queue with others; "" where there is but one.
        wake_up: Text of a Celery message that wakes a worker; empty wakes none.
    """

    id: str
    spec: AnySpec
    spec_json: str = ""
    fingerprint: str
    defaulted: tuple[str, ...] = ()
    warnings: tuple[Warn, ...] = ()
    device: DeviceUsed
    points: bytes | None = None
    rerun_of: str | None = None
    extends: str | None = None
    extended_at_ms: int = 0
    client: str = ""
    wake_up: bytes = b""

    def arguments(self) -> list[Argument]:
        """Return what create.lua takes from the queue on."""
        frozen = codec.encode_frozen(
            job_id=self.id,
            spec_json=self.spec_json or self.spec.model_dump_json(),
            defaulted=self.defaulted,
            warnings=self.warnings,
            rerun_of=self.rerun_of,
            extends=self.extends,
        )
        fields: Mapping[str, str] = {
            "frozen": frozen,
            "kind": self.spec.kind,
            "optimizers": codec.optimizers_of(self.spec),
            "device": codec.encode_device(self.device),
            "name": codec.to_json(self.spec.name),
            "tags": codec.to_json(self.spec.tags),
        }
        return [
            self.device.queue,
            self.client,
            self.extends or "",
            self.extended_at_ms,
            self.points or b"",
            _EMPTY_JSON,
            self.wake_up,
            MOST_WAKE_UPS,
            *(word for field in fields.items() for word in field),
        ]

    def record(self, *, order: int) -> JobRecord:
        """Return what create.lua has just written, without reading it back."""
        at_ms = codec.created_at_ms(order)
        return JobRecord(
            id=self.id,
            spec=self.spec,
            defaulted=self.defaulted,
            warnings=self.warnings,
            status=Status.QUEUED,
            seq=1,
            created_at_ms=at_ms,
            queued_at_ms=at_ms,
            device=self.device,
            name=self.spec.name,
            tags=self.spec.tags,
            rerun_of=self.rerun_of,
            extends=self.extends,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Created:
    """The answer to a submit.

    Attributes:
        record: The job as it stands.
        is_new: False when the same key or id had made it before.
        standing: Where a new job waits; None for one that was there before.
    """

    record: JobRecord
    is_new: bool
    standing: Standing | None = None


def refusal_of(job: NewJob, reply: list[Any], *, max_queued_jobs: int) -> FitjobsError:
    """Return why create.lua made no job.

    Args:
        job: What was submitted.
        reply: The script's answer.
        max_queued_jobs: The bound that it kept.
    """
    match reply:
        case [b"reused"]:
            return IdempotencyKeyReused("This Idempotency-Key was used with another spec")
        case [b"conflict"]:
            return IdConflict(f"The id {job.id} belongs to a job with another spec")
        case [b"gone", gone]:
            return expired(gone.decode())
        case [b"share", held]:
            return ShareFull(
                f"Your key has {held} of the {max_queued_jobs} places in the queue, and a key may "
                "not have more than are still free: wait for some of your jobs, or cancel them",
                retry_after_seconds=_FULL_RETRY_SECONDS,
            )
        case _:
            return QueueFull(
                f"{max_queued_jobs} jobs are waiting, and no more may",
                retry_after_seconds=_FULL_RETRY_SECONDS,
            )


def expired(job_id: str) -> JobExpired:
    """Return the answer to an id whose job was forgotten."""
    return JobExpired(f"The job {job_id} has been forgotten: its retention time is over")
