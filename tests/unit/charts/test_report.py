"""The text twin of a job in every status."""

import re

import pytest

from app.charts.caption import curves_of
from app.charts.report import report
from app.charts.series import Curve
from app.domain.errors import JobErrorType
from app.domain.history import make_empty
from app.domain.job import JobError, JobRecord, Progress, Status, Warn
from app.domain.message import message
from app.domain.outcome import Outcome
from app.domain.result import (
    EngineUsed,
    Exact,
    Problem,
    RunResult,
    StandardErrors,
    StopReason,
    Verified,
)
from app.domain.spec import FitSpec
from tests.unit.charts.make import Make

BASE = "http://localhost:8000"


def line_of(text: str, name: str) -> str:
    return next(line for line in text.splitlines() if line.startswith(name))


@pytest.mark.parametrize("status", list(Status))
def test_report_begins_with_the_message_and_ends_with_commands(
    make_record: Make[JobRecord], status: Status
) -> None:
    record = make_record(status)
    text = report(record, [], base_url=BASE)
    lines = text.splitlines()

    assert lines[0] == message(record)
    assert lines[1].startswith("Adam lr 0.001 on classic, float64, at most 10,000 steps")
    assert lines[-1].startswith("  curl ")
    assert f"{BASE}/v1/jobs/{record.id}" in lines[-1]
    assert text.endswith("\n")


def test_fitted_and_exact_stand_under_each_other_with_the_gap(make_record: Make[JobRecord]) -> None:
    text = report(make_record(), [], base_url=BASE)
    fitted, exact, gap = (line_of(text, name).split() for name in ("fitted", "exact", "gap"))

    assert fitted == ["fitted", "0.99990000", "-2.00000e-05", "9.98e-09"]
    assert exact == ["exact", "1.00000000", "0.00000000", "0"]
    assert gap == ["gap", "-1.00e-04", "-2.00e-05", "9.98e-09"]


def test_least_squares_loss_does_not_stand_beside_another_loss(
    make_record: Make[JobRecord], make_run: Make[RunResult], make_exact: Make[Exact]
) -> None:
    spec = FitSpec.model_validate({"loss": "l1"})
    run = make_run(loss=0.08, excess_loss=None)
    outcome = Outcome(exact=make_exact(loss=0.01), problem=None, runs=(run,))
    text = report(make_record(spec=spec, outcome=outcome), [], base_url=BASE)

    assert line_of(text, "fitted").split()[-1] == "0.08"
    assert line_of(text, "exact").split()[-1] == "-"
    assert line_of(text, "gap").split()[-1] == "-"


def test_columns_of_the_table_end_on_one_column(make_record: Make[JobRecord]) -> None:
    text = report(make_record(), [], base_url=BASE)
    ends = [
        [match.end() for match in re.finditer(r"\S+", line_of(text, name)[9:])]
        for name in ("fitted", "exact", "gap")
    ]

    assert ends[0] == ends[1] == ends[2]


def test_an_exact_hit_has_a_gap_of_zero(
    make_record: Make[JobRecord], make_run: Make[RunResult], make_exact: Make[Exact]
) -> None:
    run = make_run(a=1.0, b=0.0, loss=0.0, excess_loss=0.0)
    record = make_record(outcome=Outcome(exact=make_exact(), problem=None, runs=(run,)))

    assert line_of(report(record, [], base_url=BASE), "gap").split() == ["gap", "0", "0", "0"]


def test_facts_name_steps_problem_time_and_device(make_record: Make[JobRecord]) -> None:
    text = report(make_record(), [], base_url=BASE)

    assert line_of(text, "steps").endswith("402 of at most 10,000: the loss is below the limit")
    assert "1,000 points, condition number 1.03" in text
    assert "plain SGD is stable below lr 0.97, best at 0.49" in text
    assert "queued 0.004 s, ran 0.021 s" in text
    assert line_of(text, "device").endswith("cpu, engine torch 2.13.0")
    assert "± 0.0031 in a, ± 0.0032 in b" in text


def test_faster_engine_is_named_with_what_it_was_checked_against(
    make_record: Make[JobRecord],
) -> None:
    check = Verified(
        against="torch.optim.Adam 2.13.0", steps=4, points=1000, max_relative_difference=2e-16
    )
    engine = EngineUsed(name="rules", reason="fast", version="2.13.0", verified=check)
    text = report(make_record(engine=engine), [], base_url=BASE)

    assert line_of(text, "device").endswith("cpu, engine rules, torch 2.13.0")
    assert "first 4 steps checked against torch.optim.Adam 2.13.0" in text
    assert "relative difference 2e-16" in text


def test_rank_deficient_data_are_called_so(
    make_record: Make[JobRecord],
    make_run: Make[RunResult],
    make_exact: Make[Exact],
    make_problem: Make[Problem],
) -> None:
    outcome = Outcome(
        exact=make_exact(unique=False, standard_errors=None),
        problem=make_problem(condition_number=None, largest_stable_sgd_lr=None, best_sgd_lr=None),
        runs=(make_run(steps=10_000),),
    )
    text = report(make_record(outcome=outcome), [], base_url=BASE)

    assert "condition number infinite" in text
    assert "plain SGD" not in text
    assert "not unique" in text
    assert line_of(text, "steps").split()[1] == "10,000:"


def test_few_points_have_no_standard_errors(
    make_record: Make[JobRecord], make_run: Make[RunResult], make_exact: Make[Exact]
) -> None:
    outcome = Outcome(exact=make_exact(standard_errors=None), problem=None, runs=(make_run(),))

    assert "±" not in report(make_record(outcome=outcome), [], base_url=BASE)
    assert StandardErrors(a=1.0, b=1.0).a == 1.0


def test_no_exact_answer_leaves_the_fitted_line(
    make_record: Make[JobRecord], make_run: Make[RunResult]
) -> None:
    record = make_record(outcome=Outcome(exact=None, problem=None, runs=(make_run(),)))
    text = report(record, [], base_url=BASE)

    assert "fitted" in text
    assert "exact" not in text


def test_curve_is_drawn_once_there_are_rows(
    make_record: Make[JobRecord], make_curve: Make[Curve]
) -> None:
    record = make_record()
    rows = make_curve([1.0, 1e-3, 1e-8]).rows

    assert "log scale" not in report(record, curves_of(record, [make_empty()]), base_url=BASE)
    assert "excess loss, log scale" in report(record, curves_of(record, [rows]), base_url=BASE)
    assert "\x1b[" in report(record, curves_of(record, [rows]), base_url=BASE, color=True)


def test_whole_fit_fits_one_screen(make_record: Make[JobRecord], make_curve: Make[Curve]) -> None:
    record = make_record()
    curves = curves_of(record, [make_curve([10.0 ** (-k / 50) for k in range(403)]).rows])
    lines = report(record, curves, base_url=BASE).splitlines()

    assert len(lines) <= 40
    assert max(map(len, lines)) <= 100


def test_queued_job_offers_to_wait_and_to_cancel(make_record: Make[JobRecord]) -> None:
    text = report(make_record(Status.QUEUED), [], base_url=BASE)

    assert "?wait&format=text" in text
    assert "/cancel" in text
    assert "cpu (planned)" in text
    assert "chart.svg" not in text


def test_running_job_shows_its_progress(make_record: Make[JobRecord]) -> None:
    text = report(make_record(Status.RUNNING), [], base_url=BASE)

    assert "█" * 15 + "░" * 15 + "  50%" in text
    assert "now at a = 0.90000000, b = 0.10000000" in text
    assert "queued 0.004 s" in text


def test_running_job_without_numbers_shows_what_it_has(make_record: Make[JobRecord]) -> None:
    progress = Progress(step=3, steps=10, fraction=0.3)
    with_bar = report(make_record(Status.RUNNING, progress=progress), [], base_url=BASE)
    without = report(make_record(Status.RUNNING, progress=None), [], base_url=BASE)

    assert "30%" in with_bar
    assert "now at" not in with_bar
    assert "█" not in without


def test_job_that_is_being_cancelled_offers_no_cancel(make_record: Make[JobRecord]) -> None:
    record = make_record(Status.RUNNING, cancel_requested_at_ms=1_750_000_000_005)

    assert "/cancel" not in report(record, [], base_url=BASE)


def test_failed_job_says_why_what_to_try_and_what_was_best(
    make_record: Make[JobRecord],
    make_run: Make[RunResult],
    make_exact: Make[Exact],
    make_problem: Make[Problem],
) -> None:
    error = JobError(
        type=JobErrorType.DIVERGED,
        detail="The loss is infinite at step 37",
        retryable=False,
        step=37,
        suggestion="set lr below 0.97",
    )
    run = make_run(a=None, b=None, loss=None, stop_reason=StopReason.DIVERGED)
    outcome = Outcome(exact=make_exact(), problem=make_problem(), runs=(run,))
    text = report(make_record(Status.FAILED, error=error, outcome=outcome), [], base_url=BASE)

    assert text.startswith("Failed (diverged): The loss is infinite at step 37.")
    assert line_of(text, "error").endswith("the same spec fails again")
    assert line_of(text, "try").endswith("set lr below 0.97")
    assert line_of(text, "best, step 402").split()[-1] == "9.98e-09"
    assert "gap" not in text
    assert "reproduce.py" not in text


def test_failed_job_may_have_nothing_to_show(
    make_record: Make[JobRecord], make_run: Make[RunResult]
) -> None:
    error = JobError(type=JobErrorType.WORKER_LOST, detail="Gone.", retryable=True)
    run = make_run(a=None, b=None, loss=None, best=None)
    outcome = Outcome(exact=None, problem=None, runs=(run,))
    text = report(make_record(Status.FAILED, error=error, outcome=outcome), [], base_url=BASE)

    assert "may succeed another time" in text
    assert "best" not in text


def test_job_cancelled_in_the_queue_has_no_chart(make_record: Make[JobRecord]) -> None:
    record = make_record(Status.CANCELLED, progress=None, started_at_ms=None, engine=None)
    text = report(record, [], base_url=BASE)

    assert "chart.svg" not in text
    assert "/rerun" in text


def test_comparison_lists_the_runs_best_first(comparison: JobRecord) -> None:
    lines = report(comparison, [], base_url=BASE).splitlines()
    start = next(i for i, line in enumerate(lines) if "stopped by" in line)

    assert [line[:14].strip() for line in lines[start + 1 : start + 5]] == [
        "1 SGD lr 0.001",
        "2 Adam lr 0.00",
        "3 SGD lr 5",
        "exact",
    ]
    assert lines[start + 1].split()[-4:] == ["1e-12", "10,000", "-", "loss_below"]
    assert lines[start + 3].split()[-1] == "diverged"


def test_unfinished_comparison_is_not_ranked(comparison: JobRecord) -> None:
    outcome = comparison.outcome.model_copy(update={"ranking": None, "winner": None, "exact": None})
    record = comparison.model_copy(update={"status": Status.CANCELLED, "outcome": outcome})
    text = report(record, [], base_url=BASE)

    assert "- Adam lr 0.001" in text
    assert "exact" not in text


def test_warnings_are_shown(make_record: Make[JobRecord]) -> None:
    record = make_record(warnings=(Warn(code="device-fell-back", message="Runs on cpu."),))

    assert line_of(report(record, [], base_url=BASE), "note").endswith("Runs on cpu.")


def test_reasons_stand_in_the_report_each_with_its_command(
    make_record: Make[JobRecord], make_run: Make[RunResult], make_exact: Make[Exact]
) -> None:
    spec = FitSpec.model_validate({"zero_grad": False})
    outcome = Outcome(exact=make_exact(), problem=make_problem_of_two(), runs=(make_run(),))
    record = make_record(spec=spec, outcome=outcome)
    lines = report(record, [], base_url=BASE).splitlines()
    why = [line for line in lines if line.startswith("why ")]
    tries = [line for line in lines if line.startswith("try ")]

    assert [line.split()[1:3] for line in why] == [["The", "gradient"], ["There", "are"]]
    rerun = f"curl -X POST '{BASE}/v1/jobs/{record.id}/rerun?wait&format=text'"
    # Two points of one's own have no remedy that could be typed.
    assert [line.removeprefix("try        ") for line in tries] == [
        f"{rerun} -d '{{\"zero_grad\": true}}'"
    ]


def make_problem_of_two() -> Problem:
    return Problem(
        points=2,
        mean_x=0.5,
        mean_y=0.5,
        variance_x=0.25,
        hessian_eigenvalues=(2.6, 0.4),
        condition_number=6.5,
        largest_stable_sgd_lr=0.77,
        best_sgd_lr=0.67,
    )
