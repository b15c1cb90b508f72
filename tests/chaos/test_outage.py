"""How long a fault took to be over is read from the logs alone."""

from dataclasses import replace

import pytest

from tests.chaos.hand import STORY, events
from tests.chaos.ledger import Hits, Story, Strike
from tests.chaos.outage import recovery_seconds

# Events come a second apart from 10.0 on: requeued at 13, started at 14, progress at 15.
KILL = Strike(fault="kill", hits=Hits.WORKER, began=12.5, healed=12.5)


def other(*types: str) -> Story:
    return replace(STORY, job_id="job_2", events=events(*types))


def test_recovery_from_a_killed_worker_ends_when_its_job_moves() -> None:
    assert recovery_seconds(KILL, [STORY]) == pytest.approx(2.5)


def test_recovery_ends_when_the_last_job_that_ran_moves() -> None:
    quick = other("job.queued", "job.started", "job.progress", "job.progress")

    assert recovery_seconds(KILL, [STORY, quick]) == pytest.approx(2.5)
    assert recovery_seconds(KILL, [quick]) == pytest.approx(0.5)


def test_recovery_of_a_job_that_never_moves_again_is_endless() -> None:
    assert recovery_seconds(KILL, [other("job.queued", "job.started")]) == float("inf")


def test_recovery_is_unknown_when_nothing_ran_or_another_fault_came_before() -> None:
    assert recovery_seconds(KILL, [other("job.queued")]) is None
    assert recovery_seconds(KILL, [STORY], until=14.5) is None


def test_recovery_from_an_absent_redis_counts_from_its_return_and_needs_an_answer() -> None:
    strike = Strike(fault="kill", hits=Hits.REDIS, began=12.5, healed=14.5, answered=14.6)

    assert recovery_seconds(strike, [STORY]) == pytest.approx(0.5)
    assert recovery_seconds(replace(strike, answered=17.0), [STORY]) == pytest.approx(2.5)


def test_recovery_of_the_api_is_its_next_answer() -> None:
    strike = Strike(fault="kill", hits=Hits.API, began=12.5, healed=12.5, answered=13.0)

    assert recovery_seconds(strike, [STORY]) == pytest.approx(0.5)
