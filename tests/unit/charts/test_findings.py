"""What a sweep and a batch say of themselves: the message, and the text twin with its commands."""

import json
import shlex
from typing import Any

import pytest

from app.charts.report import report
from app.domain.job import JobRecord, Progress, Status
from app.domain.message import message
from app.domain.outcome import Outcome
from app.domain.parse import parse_spec
from app.domain.result import StopReason
from app.domain.summary import (
    BatchSummary,
    OptimizerSweep,
    RateRange,
    RunPoint,
    Spread,
    SweepSummary,
)
from app.domain.sweep import Grid
from tests.unit.charts.make import Make

SWEEP = {
    "kind": "sweep",
    "optimizers": [{"name": "SGD", "momentum": 0.9, "label": "$(rm -rf) '"}, "adam"],
    "lr": [0.1, 1, 10],
}
BASE = "http://localhost:8000"


def make_point(run: int, label: str, **changes: Any) -> RunPoint:
    given: dict[str, Any] = {
        "run": run,
        "label": label,
        "lr": 1.0,
        "seed": 0,
        "a": 1.0,
        "b": 0.5,
        "loss": 0.25,
        "excess_loss": 1e-9,
        "steps": 1200,
        "steps_to_tolerance": 1100,
        "stop_reason": StopReason.LOSS_BELOW,
    }
    return RunPoint(**{**given, **changes})


def make_summary(**changes: Any) -> SweepSummary:
    label = SWEEP["optimizers"][0]["label"]  # type: ignore[index]
    sgd, adam = make_point(1, label), make_point(5, "Adam", lr=10.0, steps_to_tolerance=None)
    optimizers = (
        OptimizerSweep(
            label=label,
            runs=3,
            converged=2,
            diverged=1,
            best=sgd,
            usable=RateRange(min=0.1, max=1.0),
            diverges_from=10.0,
            predicted_divergence=1.9,
            edge=None,
            refine=Grid(min=0.1, max=10, num=9),
        ),
        OptimizerSweep(
            label="Adam",
            runs=3,
            converged=1,
            diverged=0,
            best=adam,
            usable=None,
            diverges_from=None,
            predicted_divergence=None,
            edge="highest",
            refine=Grid(min=10, max=1000, num=9),
        ),
    )
    given: dict[str, Any] = {"runs": 6, "done": 6, "converged": 3, "diverged": 1, "best": sgd}
    return SweepSummary(**{**given, "optimizers": optimizers, **changes})


BATCH = BatchSummary(
    series=1000,
    done=1000,
    points=50_000,
    converged=990,
    diverged=3,
    not_unique=2,
    a=Spread(min=1.9, lower_quartile=1.98, median=2, upper_quartile=2.02, max=2.1),
    b=None,
    loss=None,
    excess_loss=Spread(min=0, lower_quartile=1e-12, median=1e-11, upper_quartile=1e-9, max=0.5),
    farthest=17,
)


@pytest.fixture
def sweep(make_record: Make[JobRecord]) -> JobRecord:
    """A sweep that has succeeded."""
    outcome = Outcome(exact=None, problem=None, runs=(), sweep=make_summary())
    return make_record(spec=parse_spec(SWEEP).spec, outcome=outcome)


@pytest.fixture
def batch(make_record: Make[JobRecord]) -> JobRecord:
    """A batch that has succeeded."""
    outcome = Outcome(exact=None, problem=None, runs=(), batch=BATCH)
    spec = parse_spec({"kind": "batch", "data": {"generate": {"series": 1000, "n": 50}}}).spec
    return make_record(spec=spec, outcome=outcome)


def test_sweep_names_its_best_run(sweep: JobRecord) -> None:
    label = "$(rm -rf) '"

    assert message(sweep) == (
        f"Best of 6 runs: {label} at lr 1, within tolerance after 1,100 steps, excess loss 1e-09; "
        "3 converged, 1 diverged."
    )


def test_sweep_warns_when_the_best_of_all_lies_at_the_edge(sweep: JobRecord) -> None:
    assert sweep.outcome is not None
    assert sweep.outcome.sweep is not None
    best = sweep.outcome.sweep.optimizers[1].best
    outcome = Outcome(exact=None, problem=None, runs=(), sweep=make_summary(best=best))

    said = message(sweep.model_copy(update={"outcome": outcome}))
    assert said.endswith("Adam is best at the highest learning rate: a better one may lie outside.")
    assert "Adam at lr 10, excess loss 1e-09 after 1,200 steps" in said


def test_sweep_without_a_line_says_so(sweep: JobRecord) -> None:
    outcome = Outcome(exact=None, problem=None, runs=(), sweep=make_summary(best=None))

    assert message(sweep.model_copy(update={"outcome": outcome})) == (
        "None of 6 runs ended on a finite line."
    )


def test_batch_tells_counts_and_spread(batch: JobRecord) -> None:
    assert message(batch) == (
        "Fitted 1,000 series with 50,000 points: 990 converged, 3 diverged, 2 have no single exact "
        "line; excess loss 1e-11 in the middle, 0.5 at most."
    )


@pytest.mark.parametrize(
    ("status", "said"),
    [
        (Status.RUNNING, "Running: 3 of 6 runs are done."),
        (Status.CANCELLED, "Cancelled when 3 of 6 runs are done; what they found is kept."),
    ],
)
def test_progress_counts_runs(make_record: Make[JobRecord], status: Status, said: str) -> None:
    progress = Progress(step=0, steps=10_000, fraction=0.5)
    record = make_record(status, spec=parse_spec(SWEEP).spec, progress=progress, outcome=None)

    assert message(record) == said


def test_text_of_a_sweep_is_a_table_of_optimizers(sweep: JobRecord) -> None:
    text = report(sweep, [], base_url=BASE)
    lines = text.splitlines()
    cells = next(line for line in lines if line.startswith("Adam")).split()

    assert "2 optimizers x 3 learning rates on classic" in lines[1]
    assert cells == ["Adam", "10", "1e-09", "-", "-", "-", "-"]
    header = next(line for line in lines if "usable from" in line)
    assert header.split("  ")[-2:] == ["diverges at", "predicted"]
    assert "edge       Adam is best at the highest learning rate of the grid" in text


def test_refine_is_a_rerun_that_a_shell_can_take(sweep: JobRecord) -> None:
    text = report(sweep, [], base_url=BASE)
    commands = [shlex.split(line) for line in text.splitlines() if "/rerun" in line]
    bodies = [json.loads(command[-1]) for command in commands]

    assert bodies[0] == {
        "optimizer": {"name": "SGD", "momentum": 0.9},
        "lr": {"min": 0.1, "max": 10, "num": 9, "scale": "log"},
    }
    assert bodies[1]["optimizer"] == "Adam"
    assert parse_spec({**bodies[0], "kind": "sweep"}).spec.num_runs == 9
    assert "chart" not in text
    assert f"curl '{BASE}/v1/jobs/job_01k5/history?run=1&format=csv'" in text


def test_text_of_a_batch_is_a_spread(batch: JobRecord) -> None:
    text = report(batch, [], base_url=BASE)
    cells = next(line for line in text.splitlines() if line.startswith("excess loss")).split()

    assert cells[-5:] == ["0", "1e-12", "1e-11", "1e-09", "0.5"]
    assert "farthest   series 17 ended farthest above its exact line" in text
    assert f"curl '{BASE}/v1/jobs/job_01k5/runs?format=csv' -o lines.csv" in text
