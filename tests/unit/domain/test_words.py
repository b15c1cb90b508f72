"""Words that clients match on: changing one breaks somebody."""

from app.domain import errors
from app.domain.errors import FitjobsError, JobErrorType
from app.domain.events import EventType
from app.domain.job import Status
from app.domain.parse import KINDS
from app.domain.presets import COMPARISON_PRESETS, DATA_PRESET_POINTS, DATA_PRESETS
from app.domain.result import StopReason


def test_statuses_are_five_for_ever() -> None:
    assert set(Status) == {"queued", "running", "succeeded", "failed", "cancelled"}
    assert {status for status in Status if status.is_terminal} == {
        "succeeded",
        "failed",
        "cancelled",
    }


def test_event_types_stay() -> None:
    assert set(EventType) == {
        "job.queued",
        "job.started",
        "job.progress",
        "job.requeued",
        "job.cancel_requested",
        "job.succeeded",
        "job.failed",
        "job.cancelled",
    }
    terminal = {event for event in EventType if event.is_terminal}

    assert terminal == {"job.succeeded", "job.failed", "job.cancelled"}


def test_stop_reasons_stay() -> None:
    assert set(StopReason) == {
        "max_steps",
        "loss_below",
        "gradient_below",
        "patience",
        "diverged",
        "cancelled",
        "time_limit",
        "failed",
    }


def test_job_error_types_stay() -> None:
    assert set(JobErrorType) == {
        "diverged",
        "time-limit-exceeded",
        "queue-time-exceeded",
        "worker-lost",
        "out-of-memory",
        "device-error",
        "internal",
    }


def test_error_slugs_stay() -> None:
    slugs = {
        thing.slug
        for thing in vars(errors).values()
        if isinstance(thing, type) and issubclass(thing, FitjobsError)
    }

    assert slugs == {
        "malformed-json",
        "invalid-parameter",
        "invalid-cursor",
        "validation",
        "idempotency-key-reused",
        "payload-too-large",
        "request-timeout",
        "unsupported-media-type",
        "not-acceptable",
        "unauthorized",
        "cross-site-request",
        "precondition-failed",
        "not-found",
        "job-not-found",
        "job-expired",
        "job-not-finished",
        "id-conflict",
        "queue-full",
        "too-many-requests",
        "device-unavailable",
        "store-unavailable",
        "chart-unavailable",
        "internal",
    }


def test_kinds_and_presets_stay() -> None:
    assert set(KINDS) == {"fit", "comparison", "sweep", "batch"}
    assert set(DATA_PRESETS) == set(DATA_PRESET_POINTS) == {"classic", "noisy", "far", "outliers"}
    assert set(COMPARISON_PRESETS) == {
        "weak-optimizers",
        "weak-optimizers-20000",
        "weak-optimizers-fixed",
    }


def test_error_tree_is_drawn_in_full() -> None:
    names = {
        name
        for name, thing in vars(errors).items()
        if isinstance(thing, type) and issubclass(thing, FitjobsError)
    }

    assert errors.__doc__ is not None
    assert all(f" {name}" in errors.__doc__ for name in names)


def test_every_error_carries_its_sentence() -> None:
    fault = errors.EngineFault("no memory", error_type=JobErrorType.OUT_OF_MEMORY)
    busy = errors.QueueFull("too many wait", retry_after_seconds=5)

    assert (str(fault), fault.error_type) == ("no memory", "out-of-memory")
    assert (busy.detail, busy.retry_after_seconds) == ("too many wait", 5)
