"""What is said about why a fit is where it is; every number in it fits into JSON."""

import math
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis
from hypothesis import strategies as st

from app.domain.diagnosis.diagnose import diagnose
from app.domain.diagnosis.entry import Diagnosis
from app.domain.diagnosis.quadratic import Settings, stability_limit
from app.domain.outcome import Outcome
from app.domain.parse import parse_spec
from app.domain.result import Exact, Problem, RunResult, StopReason


def make_outcome(
    *, lr: float, steps: int = 100, left: float = 0.5, eigenvalues: tuple[float, float] = (2.0, 1.0)
) -> Outcome:
    """Return a fit that made all its steps and ended `left` away from the exact slope 1."""
    largest, smallest = eigenvalues
    run = RunResult(
        label="run",
        optimizer="of the spec",
        lr=lr,
        a=1.0 - left,
        b=0.0,
        equation="",
        loss=1.0,
        excess_loss=1.0,
        r2=None,
        stop_reason=StopReason.MAX_STEPS,
        converged=False,
        steps=steps,
        evaluations=steps,
        steps_to_tolerance=None,
        best=None,
        gradient_norm=None,
        run_seconds=0.0,
    )
    exact = Exact(a=1.0, b=0.0, loss=0.0, r2=None, unique=True, standard_errors=None, method="")
    problem = Problem(
        points=10,
        mean_x=0.0,
        mean_y=0.0,
        variance_x=1.0,
        hessian_eigenvalues=eigenvalues,
        condition_number=None,
        largest_stable_sgd_lr=2.0 / largest,
        best_sgd_lr=2.0 / (largest + smallest),
    )
    return Outcome(exact=exact, problem=problem, runs=(run,))


def diagnose_one(body: dict[str, Any], outcome: Outcome) -> Diagnosis:
    (found,) = diagnose(parse_spec(body).spec, outcome)
    return found


def sgd(lr: float, **more: Any) -> dict[str, Any]:
    return {"optimizer": {"name": "SGD", "lr": lr, **more}}


def test_nothing_is_said_of_a_job_without_an_outcome() -> None:
    assert diagnose(parse_spec({}).spec, None) == ()


def test_adam_that_has_far_to_go_is_told_how_many_steps_are_missing() -> None:
    found = diagnose_one({"lr": 0.001}, make_outcome(lr=0.001, left=0.5))

    assert found.code == "slow-by-learning-rate"
    assert found.evidence["steps_left"] == 500
    assert "at least 500 more steps" in found.message


def test_sgd_above_its_limit_is_told_the_limit() -> None:
    found = diagnose_one(sgd(1.5), make_outcome(lr=1.5))

    assert found.code == "learning-rate-too-high"
    assert found.evidence["largest_stable_lr"] == 1.0


def test_slow_sgd_is_told_the_steps_of_its_slowest_component() -> None:
    found = diagnose_one(sgd(0.01), make_outcome(lr=0.01))

    # (1 - 0.01)^n and (1/3)^n below sqrt(1e-6), the tolerance of an error whose square is the loss.
    assert found.code == "learning-rate-too-low"
    assert found.evidence["predicted_steps"] == math.ceil(math.log(1e-3) / math.log(0.99))
    assert found.evidence["at_best_lr"] == math.ceil(math.log(1e-3) / math.log(1 / 3))


def test_a_gradient_never_zeroed_swings_with_a_known_period() -> None:
    body = {**sgd(0.1), "zero_grad": False}

    found = diagnose_one(body, make_outcome(lr=0.1))

    assert found.code == "gradient-never-zeroed"
    assert found.evidence["sgd_period_steps"] == round(2 * math.pi / math.acos(1 - 0.1), 1)


def test_slow_sgd_is_told_nothing_where_no_rate_is_quicker() -> None:
    outcome = make_outcome(lr=1e-299, eigenvalues=(2e298, 1e-290))

    assert diagnose(parse_spec(sgd(1e-299)).spec, outcome) == ()


@pytest.mark.parametrize(
    ("momentum", "nesterov", "limit"), [(0.0, 0, 1.0), (0.5, 0, 1.5), (0.5, 1, 0.75)]
)
def test_momentum_moves_the_limit(momentum: float, nesterov: int, limit: float) -> None:
    settings = Settings(lr=1.0, momentum=momentum, nesterov=bool(nesterov))

    assert stability_limit(settings, curvature=2.0) == pytest.approx(limit)


@pytest.mark.parametrize(
    ("body", "outcome"),
    [
        ({"lr": 1e-25}, make_outcome(lr=1e-25)),
        ({"lr": 1e-320}, make_outcome(lr=1e-320)),
        ({"lr": 1.0}, make_outcome(lr=1.0, left=1e300)),
        (sgd(1e-25), make_outcome(lr=1e-25)),
        (sgd(1e-320), make_outcome(lr=1e-320, eigenvalues=(2.0, 1e-10))),
        (sgd(1e-13), make_outcome(lr=1e-13, eigenvalues=(2e12, 2e-12))),
        ({**sgd(1e-30), "zero_grad": False}, make_outcome(lr=1e-30)),
    ],
)
def test_extreme_settings_give_a_diagnosis_that_json_can_carry(
    body: dict[str, Any], outcome: Outcome
) -> None:
    found = diagnose_one(body, outcome)

    assert orjson.dumps(found.model_dump(by_alias=True))
    numbers = [value for value in found.evidence.values() if not isinstance(value, str)]
    assert all(map(math.isfinite, numbers))
    assert len(found.message) < 300


sizes = st.one_of(st.floats(1e-300, 1e300), st.sampled_from([0.0, 1e-9, 1.0, 1e30]))
names = st.sampled_from(["SGD", "Adam", "Adagrad", "ASGD", "RMSprop"])


@hypothesis(max_examples=300, deadline=None)
@given(
    name=names,
    lr=st.floats(1e-320, 1e30),
    left=sizes,
    eigenvalues=st.tuples(sizes, sizes).map(lambda pair: (max(pair), min(pair))),
    start=st.one_of(st.none(), st.floats(-1e30, 1e30)),
    dtype=st.sampled_from(["float32", "float64"]),
    decay=st.sampled_from([0.0, 0.1, 1e30]),
)
def test_whatever_came_out_can_be_shown(  # noqa: PLR0917  # as many as a run has sides
    name: str,
    lr: float,
    left: float,
    eigenvalues: tuple[float, float],
    start: float | None,
    dtype: str,
    decay: float,
) -> None:
    if eigenvalues[0] == 0:
        return
    body: dict[str, Any] = {
        "optimizer": {"name": name, "lr": lr, "weight_decay": decay},
        "dtype": dtype,
        "stop": {"loss_below": 1e-12},
    }
    if start is not None:
        body["init"] = {"a": start, "b": -start}
    outcome = make_outcome(lr=lr, left=left, eigenvalues=eigenvalues)
    found = diagnose(parse_spec(body).spec, outcome)

    assert orjson.dumps([reason.model_dump(by_alias=True) for reason in found])
    assert len(found) <= 2
