"""A dry run answers whatever is asked: every number in it is finite, and nothing takes long."""

from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.api.preview import preview_object
from app.domain.parse import parse_spec
from app.domain.result import DeviceUsed
from app.service import Preview

CPU = DeviceUsed(requested="auto", queue="cpu", reason="")


def preview(body: dict[str, Any], *, points: int | None = None) -> dict[str, Any]:
    shown = preview_object(Preview(parsed=parse_spec(body), device=CPU), points=points)
    found: dict[str, Any] = orjson.loads(orjson.dumps(shown, default=list))
    return found


numbers = st.one_of(st.floats(-1e150, 1e150), st.sampled_from([0.0, 1.0, 1e-300, 1e150, -1e75]))
rates = st.one_of(st.floats(1e-320, 1e30), st.sampled_from([1e-3, 0.5, 1e-200]))
optimizers = st.one_of(
    st.builds(
        lambda lr, momentum, decay: {
            "name": "SGD",
            "lr": lr,
            "momentum": momentum,
            "weight_decay": decay,
        },
        rates,
        st.sampled_from([0.0, 0.5, 0.99, 1.5]),
        st.sampled_from([0.0, 0.1, 1e20]),
    ),
    st.builds(
        lambda name, lr: {"name": name, "lr": lr},
        st.sampled_from(["Adam", "AdamW", "Adagrad", "ASGD", "RMSprop", "LBFGS"]),
        rates,
    ),
)


@settings(max_examples=150, deadline=None)
@given(
    points=st.lists(st.tuples(numbers, numbers).map(list), min_size=1, max_size=4),
    optimizer=optimizers,
    zero_grad=st.booleans(),
    steps=st.sampled_from([1, 30, 10_000_000]),
    start=st.sampled_from([{"a": 0.0, "b": 0.0}, {"a": 1e30, "b": -1e30}]),
)
def test_extremes_are_answered(
    points: list[list[float]],
    optimizer: dict[str, Any],
    zero_grad: bool,  # noqa: FBT001
    steps: int,
    start: dict[str, float],
) -> None:
    shown = preview(
        {
            "data": points,
            "optimizer": optimizer,
            "zero_grad": zero_grad,
            "steps": steps,
            "init": start,
            "record_every": "auto",
        }
    )

    assert shown["object"] == "dry_run"
    (run,) = shown["forecast"]["runs"]
    assert (run["how"] is None) is (run["left_out"] is not None)
    assert run["seconds"] > 0


def test_plain_sgd_is_told_with_its_history() -> None:
    body = {"data": "noisy", "optimizer": {"name": "SGD", "lr": 0.01}, "steps": 100}
    (run,) = preview(body, points=11)["forecast"]["runs"]

    assert run["how"] == "closed form"
    assert run["steps"] == 100
    assert run["history"]["step"] == [*range(0, 101, 10)]
    assert run["history"]["loss"][-1] == run["loss"]
    assert preview(body, points=0)["forecast"]["runs"][0]["history"] is None


def test_reason_to_change_something_comes_before_the_run() -> None:
    shown = preview({"optimizer": {"name": "SGD", "lr": 1.0}})
    (found,), (run,) = shown["diagnosis"], shown["forecast"]["runs"]

    assert found["code"] == "learning-rate-too-high"
    assert run["stop_reason"] == "diverged"
    # One is a formula, the other was walked.
    assert found["evidence"]["overflow_step"] == pytest.approx(run["steps"], abs=1)
    assert found["try"]["lr"] < found["evidence"]["largest_stable_lr"]


def test_points_that_are_too_many_to_look_at_are_said_to_be() -> None:
    shown = preview({"data": {"generate": {"n": 20_001}}})["forecast"]

    assert "more than 20,000 points" in shown["left_out"]
    assert shown["exact"] is None
    assert shown["seconds"] > 0


def test_mini_batches_leave_out_the_steps_and_tell_the_exact_line() -> None:
    shown = preview({"data": "noisy", "batch_size": 10})["forecast"]

    assert shown["exact"]["a"] == pytest.approx(2, abs=0.01)
    assert shown["runs"][0]["left_out"] == "each step sees other points"
