"""One sentence for people in every status (app/domain/message.py)."""

from typing import Any

import pytest

from app.domain.errors import JobErrorType
from app.domain.job import JobError, JobRecord, Progress, Status
from app.domain.message import explain_stop, message
from app.domain.outcome import Outcome
from app.domain.result import RunResult, StopReason
from app.domain.spec import FitSpec
from tests.unit.charts.make import Make


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({}, "Converged at step 402: y = 0.9999·x - 2e-05, loss 9.98e-09."),
        (
            {"stop_reason": StopReason.MAX_STEPS, "steps": 10_000},
            "Converged within 10000 steps: y = 0.9999·x - 2e-05, loss 9.98e-09.",
        ),
        (
            {"stop_reason": StopReason.MAX_STEPS, "steps": 500, "converged": False, "loss": 0.02},
            (
                "Stopped at step 500 before it converged (all its steps are made): "
                "y = 0.9999·x - 2e-05, loss 0.02."
            ),
        ),
        ({"loss": None}, "Converged at step 402: y = 0.9999·x - 2e-05, loss not finite."),
    ],
)
def test_finished_fit_says_line_loss_and_steps(
    make_record: Make[JobRecord], make_run: Make[RunResult], changes: dict[str, Any], sentence: str
) -> None:
    outcome = Outcome(exact=None, problem=None, runs=(make_run(**changes),))

    assert message(make_record(outcome=outcome)) == sentence


def test_finished_comparison_says_who_won_and_why(comparison: JobRecord) -> None:
    assert message(comparison) == "First of 3: SGD lr 0.001 ended lowest, at 1e-12."


def test_comparison_without_winner_says_so(comparison: JobRecord) -> None:
    outcome = comparison.outcome.model_copy(update={"winner": None})
    record = comparison.model_copy(update={"outcome": outcome})

    assert message(record) == "None of 3 optimizers ended on a finite line."


def test_queued_job_says_what_it_waits_for(make_record: Make[JobRecord]) -> None:
    assert message(make_record(Status.QUEUED)) == "Waiting for a cpu worker."
    assert "after attempt 2" in message(make_record(Status.QUEUED, attempt=2))


def test_running_job_says_where_it_stands(
    make_record: Make[JobRecord], comparison: JobRecord
) -> None:
    progress = Progress(run=1, step=5, steps=10, fraction=0.5)
    second = make_record(Status.RUNNING, spec=comparison.spec, progress=progress)

    assert message(make_record(Status.RUNNING)) == "Running Adam: step 402 of 10000, loss 3e-05."
    assert message(make_record(Status.RUNNING, progress=None)) == "Running: preparing the data."
    assert message(second) == "Running SGD lr 0.001 (2 of 3): step 5 of 10."


def test_progress_of_an_unknown_run_is_still_said(make_record: Make[JobRecord]) -> None:
    progress = Progress(run=7, step=5, steps=10, fraction=0.5)

    assert message(make_record(Status.RUNNING, progress=progress)).startswith("Running run 7:")


def test_cancel_that_was_asked_for_is_said(make_record: Make[JobRecord]) -> None:
    record = make_record(Status.RUNNING, cancel_requested_at_ms=1)

    assert message(record).startswith("Cancelling Adam:")


def test_failed_job_says_type_and_detail(make_record: Make[JobRecord]) -> None:
    error = JobError(type=JobErrorType.DIVERGED, detail="Loss infinite.", retryable=False)

    assert message(make_record(Status.FAILED, error=error)) == "Failed (diverged): Loss infinite."
    assert message(make_record(Status.FAILED)) == "Failed."


def test_cancelled_job_says_how_far_it_came(make_record: Make[JobRecord]) -> None:
    early = make_record(Status.CANCELLED, progress=None, started_at_ms=None)

    assert message(make_record(Status.CANCELLED)) == (
        "Cancelled at step 402 of 10000, loss 3e-05; the history up to there is kept."
    )
    assert message(early) == "Cancelled before the first step."


def test_done_without_result_is_still_a_sentence(make_record: Make[JobRecord]) -> None:
    assert message(make_record(outcome=None, spec=FitSpec())) == "Done."


@pytest.mark.parametrize("reason", list(StopReason))
def test_every_stop_reason_is_explained(reason: StopReason) -> None:
    assert explain_stop(reason)
