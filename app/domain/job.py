"""A job as the store keeps it: frozen spec, status, and what is known so far."""

from enum import StrEnum

from pydantic import Field

from app.domain.errors import JobErrorType
from app.domain.frozen import Frozen
from app.domain.kinds import Spec
from app.domain.outcome import Outcome
from app.domain.result import DeviceUsed, EngineUsed


class Status(StrEnum):
    """The five statuses, for ever."""

    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def is_terminal(self) -> bool:
        """Tell whether the status never changes again."""
        return self in {Status.SUCCEEDED, Status.FAILED, Status.CANCELLED}


class Progress(Frozen):
    """Where a running job stands; None stands for a number that is not finite.

    Attributes:
        run: Position of the current run.
        step: Steps made in it.
        steps: Most steps that it may make.
        fraction: Share of the job's runs that are done, 0 to 1; a run counts by its steps while it
            goes on, and whole once it has stopped by itself.
        loss: Loss on all points.
        a: Slope.
        b: Intercept.
    """

    run: int = 0
    step: int
    steps: int
    fraction: float = Field(ge=0, le=1)
    loss: float | None = None
    a: float | None = None
    b: float | None = None


class JobError(Frozen):
    """Why a job failed.

    Attributes:
        type: Stable word, the last part of the problem type's URL.
        detail: What happened, with the numbers.
        retryable: Whether the same spec may succeed another time.
        step: The step at which it happened.
        suggestion: What to try, as a command or a sentence.
    """

    type: JobErrorType
    detail: str
    retryable: bool
    step: int | None = None
    suggestion: str | None = None


class Warn(Frozen):
    """Something about an accepted spec that its author should know.

    Attributes:
        code: Stable word.
        message: One sentence.
    """

    code: str
    message: str


class JobRecord(Frozen):
    """Everything that the store knows of a job but its history, events and points.

    Times are milliseconds since 1970 UTC by Redis's clock.

    Attributes:
        id: Identity for life.
        spec: What was asked for, resolved; never changes.
        defaulted: Fields of the spec that the client left out.
        warnings: Remarks made at submit.
        status: One of the five.
        seq: Number of the last event.
        attempt: Number of claims so far; fences stale workers.
        created_at_ms: When it was accepted.
        queued_at_ms: When it last entered the queue.
        started_at_ms: When it was last claimed.
        finished_at_ms: When it ended.
        expires_at_ms: When it will be forgotten; None until it has ended.
        cancel_requested_at_ms: When a cancel was asked for.
        device: Where it runs.
        engine: How it runs; None before the first claim.
        progress: Where it stands; None before the first step.
        outcome: What it found; partial when it failed or was cancelled after some steps.
        error: Why it failed.
        name: Free text, can be patched.
        tags: Can be patched.
        rerun_of: The job that this one repeats.
        extends: The job from whose end this one goes on.
    """

    id: str
    spec: Spec
    defaulted: tuple[str, ...] = Field(default=(), strict=False)
    warnings: tuple[Warn, ...] = Field(default=(), strict=False)
    status: Status
    seq: int
    attempt: int = 0
    created_at_ms: int
    queued_at_ms: int
    started_at_ms: int | None = None
    finished_at_ms: int | None = None
    expires_at_ms: int | None = None
    cancel_requested_at_ms: int | None = None
    device: DeviceUsed
    engine: EngineUsed | None = None
    progress: Progress | None = None
    outcome: Outcome | None = None
    error: JobError | None = None
    name: str | None = None
    tags: dict[str, str] = Field(default_factory=dict)
    rerun_of: str | None = None
    extends: str | None = None


class WorkerInfo(Frozen):
    """A worker process that lives.

    Attributes:
        name: Host, process id and queue.
        queue: "cpu" or "cuda".
        devices: Device names as torch gives them, e.g. "cpu", "cuda:0 NVIDIA H200".
        torch: Version of torch.
        started_at_ms: When it started.
        job: The job in hand; None when idle.
    """

    name: str
    queue: str
    devices: tuple[str, ...] = Field(strict=False)
    torch: str
    started_at_ms: int
    job: str | None = None
