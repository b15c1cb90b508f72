"""Titles say the answer, subtitles what was asked."""

from typing import Any

import pytest

from app.charts.caption import asked, curves_of, subtitle_of, title_of
from app.charts.series import Curve
from app.domain.history import make_empty
from app.domain.job import JobRecord, Status
from app.domain.outcome import Outcome
from app.domain.result import RunResult
from app.domain.spec import ComparisonSpec, FitSpec
from tests.unit.charts.make import Make


def test_title_of_a_fit_is_its_line(make_record: Make[JobRecord]) -> None:
    assert title_of(make_record()) == "y = 0.9999·x - 2e-05"


def test_title_of_a_comparison_is_its_winner(comparison: JobRecord) -> None:
    assert title_of(comparison) == "SGD lr 0.001 comes first of 3: y = 0.9999·x - 2e-05"


def test_title_without_an_answer_is_the_message(
    make_record: Make[JobRecord], make_run: Make[RunResult]
) -> None:
    no_line = Outcome(exact=None, problem=None, runs=(make_run(a=None, b=None),))

    assert title_of(make_record(Status.QUEUED)) == "Waiting for a cpu worker"
    assert title_of(make_record(outcome=None)) == "Done"
    assert title_of(make_record(outcome=no_line)).startswith("Converged")


def test_long_titles_are_cut(make_record: Make[JobRecord], make_run: Make[RunResult]) -> None:
    run = make_run(label="x" * 60)
    record = make_record(Status.RUNNING, spec=FitSpec.model_validate({"name": "n"}))
    long = ComparisonSpec.model_validate({"optimizers": [{"name": "SGD", "label": "x" * 60}]})
    title = title_of(record.model_copy(update={"spec": long}))

    assert run.label not in title_of(record)
    assert len(title) <= 84
    assert title.endswith("…")


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({}, "Adam lr 0.001 on classic, float64, at most 10,000 steps, until loss < 1e-08"),
        ({"data": {"preset": "classic", "points": 1}}, "classic's first point,"),
        ({"data": {"preset": "noisy", "points": 50}}, "noisy's first 50 points,"),
        ({"data": [[0, 1], [1, 3]]}, "on 2 points,"),
        ({"data": {"sha256": "ab", "num_points": 20_000}}, "on 20,000 points,"),
        ({"data": {"generate": {"b": -1.5}}}, "100 points of 2·x -1.5 with noise 0.1"),
        ({"data": {"job": "job_7"}}, "on the points of job_7,"),
        ({"zero_grad": False}, "gradient never zeroed"),
        ({"batch_size": 32}, "batches of 32"),
        ({"loss": "l1"}, "l1 loss"),
        ({"scheduler": {"name": "StepLR", "step_size": 5}}, "StepLR"),
        (
            {"stop": {"gradient_below": 1e-6, "patience": 1000}},
            "until gradient < 1e-06, patience 1,000",
        ),
    ],
)
def test_spec_is_said_in_words(given: dict[str, Any], words: str) -> None:
    assert words in asked(FitSpec.model_validate(given))


def test_no_stop_rule_is_not_mentioned() -> None:
    assert "until" not in asked(FitSpec.model_validate({"stop": {"loss_below": None}}))


def test_subtitle_of_a_comparison_counts_and_names_its_preset(comparison: JobRecord) -> None:
    named = comparison.spec.model_copy(update={"preset": "weak-optimizers"})

    assert subtitle_of(comparison).startswith("3 optimizers on classic")
    assert asked(named).startswith("weak-optimizers: 3 optimizers")


def test_curves_keep_label_and_colour_of_their_run(
    comparison: JobRecord, make_curve: Make[Curve]
) -> None:
    rows = make_curve([1.0]).rows
    curves = curves_of(comparison, [make_empty(), rows])

    assert [(curve.label, curve.color_index) for curve in curves] == [("SGD lr 0.001", 1)]
