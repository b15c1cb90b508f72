"""Every way of going wrong has a status, or stands in job.error alone, and none is named twice."""

from collections.abc import Iterator

from app.api.errors import STATUSES
from app.domain import errors
from app.domain.errors import (
    CheckpointUnusable,
    EngineFault,
    FitjobsError,
    JobErrorType,
    LeaseLost,
)
from app.store.server import ServerFailed

NEVER_ANSWERED = {LeaseLost, EngineFault, CheckpointUnusable, ServerFailed}
"""They end an attempt or a start, never a request."""


def leaves(base: type[FitjobsError]) -> Iterator[type[FitjobsError]]:
    for child in base.__subclasses__():
        yield from leaves(child)
    if not base.__subclasses__():
        yield base


def test_every_error_has_a_status() -> None:
    answered = {error.slug for error in leaves(FitjobsError) if error not in NEVER_ANSWERED}

    assert answered - STATUSES.keys() == set()


def test_every_error_has_a_slug_of_its_own() -> None:
    slugs = [error.slug for error in leaves(FitjobsError) if error not in NEVER_ANSWERED]

    assert sorted(set(slugs)) == sorted(slugs)


def test_every_error_of_the_domain_stands_in_the_drawn_tree() -> None:
    drawn = errors.__doc__ or ""
    own = [error for error in leaves(FitjobsError) if error.__module__ == errors.__name__]

    assert [error.__name__ for error in own if error.__name__ not in drawn] == []


def test_words_of_failed_jobs_are_frozen() -> None:
    assert set(JobErrorType) == {
        "diverged",
        "time-limit-exceeded",
        "queue-time-exceeded",
        "worker-lost",
        "out-of-memory",
        "device-error",
        "internal",
    }
