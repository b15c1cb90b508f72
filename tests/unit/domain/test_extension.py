"""From a fit that has ended to the spec of a longer one, and what cannot go on."""

from typing import Any

import pytest

from app.domain.data import Columns, JobData, store_columns
from app.domain.errors import InvalidSpec, JobNotFinished
from app.domain.extension import FIELDS, extend_spec
from app.domain.job import JobRecord, Progress, Status
from app.domain.outcome import Outcome
from app.domain.parse import ParsedSpec, parse_spec
from app.domain.result import DeviceUsed, StopReason
from app.domain.spec import MAX_STEPS
from tests.integration.hand import make_result


def ended(
    body: dict[str, Any] | None = None, *, status: Status = Status.SUCCEEDED, **changes: Any
) -> JobRecord:
    outcome = Outcome(exact=None, problem=None, runs=(make_result(**changes),))
    return JobRecord(
        id="job_1",
        spec=parse_spec(body or {}).spec,
        status=status,
        seq=5,
        created_at_ms=1,
        queued_at_ms=1,
        device=DeviceUsed(requested="auto", queue="cpu", reason="a test"),
        outcome=outcome,
    )


def flaw_of(record: JobRecord, changes: object) -> tuple[str, str]:
    with pytest.raises(InvalidSpec) as caught:
        extend_spec(record, changes)
    (flaw,) = caught.value.flaws
    return flaw.pointer, flaw.code


def test_steps_are_added_to_those_made() -> None:
    spec = extend_spec(ended(steps=402), {"steps": 1000}).spec

    assert spec.steps == 1402


def test_no_body_asks_for_as_many_steps_as_at_first() -> None:
    assert extend_spec(ended({"steps": 50}, steps=50), {}).spec.steps == 100


def test_everything_else_stays() -> None:
    body = {"optimizer": {"name": "sgd", "lr": 0.1}, "seed": 3, "tags": {"team": "a"}, "steps": 9}
    record = ended(body, stop_reason=StopReason.MAX_STEPS, steps=9)
    spec = extend_spec(record, {"steps": 1}).spec

    assert spec == record.spec.model_copy(update={"steps": 10})


def test_met_stop_rule_is_lifted_and_told() -> None:
    parsed = extend_spec(ended(stop_reason=StopReason.LOSS_BELOW), {"steps": 7})

    assert set(parsed.spec.stop.model_dump().values()) == {None}
    (warning,) = parsed.warnings
    assert warning.code == "stop-rules-off"
    assert "loss_below" in warning.message


def codes_of(parsed: ParsedSpec) -> list[str]:
    return [warning.code for warning in parsed.warnings]


def test_stop_rules_sent_count_from_the_old_end_and_that_is_told() -> None:
    parsed = extend_spec(ended(steps=402), {"steps": 7, "stop": {"loss_below": 1e-12}})

    assert parsed.spec.stop.loss_below == 1e-12
    assert codes_of(parsed) == ["stop-rules-new"]
    assert "step 402" in parsed.warnings[0].message


def test_stop_rules_that_are_not_sent_stay_lifted() -> None:
    parsed = extend_spec(ended(stop_reason=StopReason.LOSS_BELOW), {"stop": {"patience": 50}})

    assert parsed.spec.stop.model_dump() == {
        "loss_below": None,
        "gradient_below": None,
        "patience": 50,
    }
    assert codes_of(parsed) == ["stop-rules-off", "stop-rules-new"]


def test_stop_rules_sent_are_merged_over_those_that_were_not_met() -> None:
    record = ended({"stop": {"loss_below": 1e-12}}, stop_reason=StopReason.MAX_STEPS)
    parsed = extend_spec(record, {"stop": {"patience": 50}})

    assert parsed.spec.stop.loss_below == 1e-12
    assert parsed.spec.stop.patience == 50
    assert codes_of(parsed) == ["stop-rules-new"]


def test_stop_rules_switched_off_need_no_warning() -> None:
    parsed = extend_spec(ended(stop_reason=StopReason.LOSS_BELOW), {"stop": {"loss_below": None}})

    assert set(parsed.spec.stop.model_dump().values()) == {None}
    assert parsed.warnings == ()


def test_stop_rules_of_a_fit_that_was_never_begun_are_not_new() -> None:
    record = ended().model_copy(update={"outcome": None, "status": Status.CANCELLED})

    assert extend_spec(record, {"stop": {"patience": 5}}).warnings == ()


def test_stop_rules_that_were_not_met_are_kept() -> None:
    parsed = extend_spec(ended(stop_reason=StopReason.MAX_STEPS), {"steps": 7})

    assert parsed.spec.stop.loss_below == 1e-8
    assert parsed.warnings == ()


@pytest.mark.parametrize(
    ("body", "more", "record_every"),
    [
        ({"steps": 10_000}, 10_000, 1),
        ({"steps": 100}, 100, "auto"),
        ({"steps": 100_000}, 100_000, 10),
        ({"steps": 100_000, "record_every": 50}, 100_000, 50),
    ],
    ids=str,
)
def test_history_goes_on_with_the_same_distance(
    body: dict[str, Any], more: int, record_every: int | str
) -> None:
    spec = extend_spec(ended(body, steps=body["steps"]), {"steps": more}).spec

    assert spec.record_every == record_every


def test_history_of_too_many_rows_is_refused() -> None:
    assert flaw_of(ended(steps=100), {"steps": 1_000_000}) == ("/steps", "too-many-rows")


def test_fit_that_was_never_begun_begins() -> None:
    record = ended().model_copy(update={"outcome": None, "status": Status.CANCELLED})

    assert extend_spec(record, {"steps": 5}).spec.steps == 5


def test_fit_whose_worker_was_lost_goes_on_from_its_progress() -> None:
    progress = Progress(step=70, steps=100, fraction=0.7)
    record = ended().model_copy(
        update={"outcome": None, "status": Status.FAILED, "progress": progress}
    )

    assert extend_spec(record, {"steps": 5}).spec.steps == 75


def test_stored_points_are_the_old_jobs() -> None:
    record = ended()
    stored, _ = store_columns(Columns.model_validate({"x": [0.0] * 300, "y": [1.0] * 300}))
    many = record.spec.model_copy(update={"data": stored})
    longer = extend_spec(record.model_copy(update={"spec": many}), {"steps": 5})

    assert longer.spec.data == JobData(job="job_1")


def test_unfinished_fit_is_refused() -> None:
    with pytest.raises(JobNotFinished):
        extend_spec(ended(status=Status.RUNNING), {"steps": 5})


@pytest.mark.parametrize(
    ("record", "pointer", "code"),
    [
        (ended({"kind": "comparison"}), "", "cannot-extend"),
        (ended(status=Status.FAILED, a=None), "", "cannot-extend"),
        (
            ended({"optimizer": "sgd", "scheduler": {"name": "OneCycleLR", "max_lr": 0.1}}),
            "",
            "cannot-extend",
        ),
        (ended(steps=MAX_STEPS - 4), "/steps", "out-of-range"),
    ],
    ids=["comparison", "diverged", "one cycle", "too many"],
)
def test_job_that_cannot_go_on_is_refused(record: JobRecord, pointer: str, code: str) -> None:
    assert flaw_of(record, {"steps": 5}) == (pointer, code)


@pytest.mark.parametrize(
    ("changes", "pointer", "code"),
    [
        ([], "", "wrong-type"),
        ({"stepps": 1}, "/stepps", "unknown-field"),
        ({"lr": 0.1}, "/lr", "unknown-field"),
        ({"steps": 0}, "/steps", "greater-than-equal"),
        ({"steps": True}, "/steps", "int-type"),
        ({"steps": "7"}, "/steps", "int-type"),
        ({"timeout_seconds": 0}, "/timeout_seconds", "greater-than"),
        ({"stop": 5}, "/stop", "model-type"),
        ({"stop": {"patiense": 5}}, "/stop/patiense", "unknown-field"),
    ],
    ids=str,
)
def test_body_names_what_is_wrong(changes: object, pointer: str, code: str) -> None:
    assert flaw_of(ended(), changes) == (pointer, code)


def test_fields_stay() -> None:
    assert FIELDS == ("steps", "stop", "timeout_seconds", "name", "tags")
