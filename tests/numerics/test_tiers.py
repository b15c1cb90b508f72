"""The plain loop judges every fast engine: what is right is told, what is wrong is not used."""

import logging
import math
from typing import Any

import pytest
import torch

from app.domain.errors import CheckpointUnusable
from app.domain.history import Rows, concatenate
from app.domain.result import StopReason
from app.domain.spec import FitSpec
from tests.numerics.fitted import drain, same_bits
from worker.engine.autograd import AutogradRun
from worker.engine.problem import Task, load
from worker.engine.rules import executors
from worker.engine.rules.clock import Clock
from worker.engine.rules.rule import RULES
from worker.engine.tiers import JUDGED_POINTS, JUDGED_STEPS, TieredRun

NOISY = {"preset": "noisy", "points": 60}
FAULTS: list[tuple[Any, str, str]] = [
    ("Adam", "1.0 - beta1 ** t", "1.0 - beta1 ** (t + 1.0)"),
    ("Adam", "(1.0 - beta2 ** t) ** 0.5", "(1.0 - beta2 ** t)"),
    ("Adam", "real(-(lr / correction))", "real(lr / correction)"),
    ("Adam", "lerp(first, g, real(1.0 - beta1))", "lerp(first, g, real(beta1))"),
    ("Adam", "root(size) / real(root_correction)", "root(size)"),
    ({"name": "Adam", "amsgrad": True}, "max(largest, second)", "min(largest, second)"),
    ("AdamW", "real(1.0 - lr * weight_decay)", "real(1.0 - weight_decay)"),
    ({"name": "SGD", "momentum": 0.9, "dampening": 0.3}, "1.0 - dampening", "1.0"),
    ({"name": "SGD", "momentum": 0.9, "dampening": 0.3}, "t == 1.0", "t == 0.0"),
    ({"name": "SGD", "momentum": 0.9, "nesterov": True}, "g + real(momentum) * buffer", "buffer"),
    ({"name": "Adagrad", "lr_decay": 0.1}, "(t - 1.0) * lr_decay", "t * lr_decay"),
    ({"name": "ASGD", "lambd": 0.1}, "lambd * rate", "lambd"),
    ({"name": "RMSprop", "eps": 1e-3}, "root(size) + real(eps)", "root(size + real(eps))"),
    ({"name": "RMSprop", "centered": True}, "-mean * mean", "mean * mean"),
    ({"name": "Rprop", "step_sizes": [1e-6, 0.011]}, "real(largest))", "real(50.0))"),
    ("Rprop", "real(grow) if", "real(shrink) if"),
    ("Adadelta", "root(moved + real(eps))", "root(moved)"),
    ("Adamax", "abs(g) + real(eps)", "g + real(eps)"),
    ({"name": "NAdam", "momentum_decay": 5.0}, "(t + 1.0) * momentum_decay", "t * momentum_decay"),
    ({"name": "RAdam", "betas": [0.5, 0.9]}, "move = first / real(correction)", "move = first"),
    ("RAdam", "(above / below) ** 0.5", "above / below"),
]
"""Optimizer, and what of its rule is said wrong."""
LOOP_FAULTS: list[tuple[dict[str, Any], str, str]] = [
    ({}, "mean * shift)), real(2.0 * shift)", "mean * shift)), real(shift)"),
    ({}, "2.0 * (variance * error_a + mean * shift)", "2.0 * variance * error_a"),
    ({"batch_size": 7}, "real(2.0 * shift), wide(", "real(shift), wide("),
    ({"batch_size": 7}, "2.0 * (tilt + mean * shift)", "2.0 * tilt"),
    ({}, "bowl[6] + excess", "excess"),
    ({}, "float(first + made + 1)", "float(first + made + 2)"),
    ({"zero_grad": False}, "kept_a + to_a", "to_a"),
    ({"batch_size": 7}, "made * batch_width", "0"),
    (
        {"scheduler": {"name": "ExponentialLR", "gamma": 0.5}},
        "rates[made] if rate_width > 0 else rates[0]",
        "rates[0]",
    ),
]
"""Fields of a spec, and what of the loop is said wrong."""


def spec_of(**fields: Any) -> FitSpec:
    given = {"data": NOISY, "steps": 30, "stop": {"loss_below": None}, "optimizer": "Adam"}
    return FitSpec.model_validate({**given, **fields})


def task_of(spec: FitSpec) -> Task:
    return load(spec, columns=None, device=torch.device("cpu"))


def prepare(spec: FitSpec) -> TieredRun:
    return TieredRun(spec, task=task_of(spec), index=0, label="run", queue="cpu")


def spoil(monkeypatch: pytest.MonkeyPatch, right: str, wrong: str) -> None:
    """Have the rules executed from a text in which something is wrong."""
    # What depends on the clock alone is kept from runs before.
    monkeypatch.setattr(executors, "_PLAIN_CLOCK", Clock(lambda count: [0.0] * count))
    for name in ("plain_text", "scalar_text"):
        make = getattr(executors, name)

        def say(*given: Any, make: Any = make) -> str:
            text: str = make(*given)
            for form in (right, right.replace("real(", "(").replace("wide(", "(")):
                if form in text:
                    changed = form != right
                    new = wrong.replace("real(", "(").replace("wide(", "(") if changed else wrong
                    return text.replace(form, new)
            raise AssertionError(f"the text does not say {right}")

        monkeypatch.setattr(executors, name, say)


def assert_refused(spec: FitSpec, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        run = prepare(spec)
    loop = AutogradRun(spec, task=task_of(spec), index=0, label="run")

    assert run.used.name == "torch"
    assert run.used.verified is None
    assert run.used.reason.startswith("the rules engine was tried first and differed: ")
    assert [record.message for record in caplog.records] == ["engine.differs"]
    assert_same_rows(drain(run)[0], drain(loop)[0])


def assert_same_rows(one: Rows, other: Rows) -> None:
    pairs = zip(one.columns().values(), other.columns().values(), strict=True)
    assert all(same_bits(*(list(map(float, part)) for part in pair)) for pair in pairs)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("fault", FAULTS)
def test_a_rule_that_is_wrong_is_not_used(
    fault: tuple[Any, str, str],
    dtype: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    optimizer, right, wrong = fault
    spec = spec_of(optimizer=optimizer, dtype=dtype)
    assert prepare(spec).used.name == "rules"
    spoil(monkeypatch, right, wrong)

    assert_refused(spec, caplog)


@pytest.mark.parametrize("fault", LOOP_FAULTS)
def test_a_loop_that_is_wrong_is_not_used(
    fault: tuple[dict[str, Any], str, str],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    fields, right, wrong = fault
    spec = spec_of(**fields)
    assert prepare(spec).used.name == "rules"
    spoil(monkeypatch, right, wrong)

    assert_refused(spec, caplog)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", RULES)
def test_what_is_right_is_said_to_be_verified(name: str, dtype: str) -> None:
    run = prepare(spec_of(optimizer=name, dtype=dtype))
    verified = run.used.verified

    assert run.used.name == "rules"
    assert verified is not None
    assert verified.against == f"torch.optim.{name} {torch.__version__}"
    # RAdam's rectification begins with its sixth step.
    assert (verified.steps, verified.points) == (8 if name == "RAdam" else JUDGED_STEPS, 60)
    assert 0.0 <= verified.max_relative_difference <= 32 * torch.finfo(getattr(torch, dtype)).eps
    assert drain(run)[1].engine == "rules"


def test_moments_are_verified_too() -> None:
    run = prepare(spec_of(optimizer="Adafactor"))

    assert run.used.name == "moments"
    assert run.used.verified is not None
    assert drain(run)[1].engine == "moments"


def test_the_loop_needs_no_judge() -> None:
    run = prepare(spec_of(engine="torch"))

    assert (run.used.name, run.used.verified) == ("torch", None)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_many_points_are_judged_by_a_sample_and_fitted_whole(dtype: str) -> None:
    data = {"generate": {"n": JUDGED_POINTS + 1000, "noise": 1.0}}
    spec = spec_of(data=data, dtype=dtype, steps=5)
    run = prepare(spec)
    loop = AutogradRun(spec, task=task_of(spec), index=0, label="run")

    assert run.used.name == "rules"
    assert run.used.verified is not None
    assert run.used.verified.points == JUDGED_POINTS == 65_536
    rel = 1e-5 if dtype == "float32" else 1e-13
    assert list(drain(run)[0].loss) == pytest.approx(list(drain(loop)[0].loss), rel=rel)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_first_step_that_diverges_is_agreed_on(dtype: str) -> None:
    data = [[1e30, 1.0], [-1e30, 2.0]] if dtype == "float64" else [[1e15, 1.0], [-1e15, 2.0]]
    run = prepare(spec_of(data=data, optimizer={"name": "SGD", "lr": 1e30}, dtype=dtype))
    rows, result, _ = drain(run)

    assert run.used.name == "rules"
    assert run.used.verified is not None
    assert run.used.verified.steps < JUDGED_STEPS
    assert result.stop_reason is StopReason.DIVERGED
    assert not math.isfinite(rows.loss[-1])


def test_a_run_shorter_than_the_trial_is_judged_to_its_end() -> None:
    run = prepare(spec_of(steps=2))

    assert run.used.verified is not None
    assert run.used.verified.steps == 2


@pytest.mark.parametrize("engine", ["torch", "moments", "rules"])
def test_a_snapshot_goes_on_where_it_was_made(engine: str) -> None:
    whole = drain(prepare(spec_of(engine=engine)))[0]
    half = prepare(spec_of(engine=engine, steps=15))
    rows = [block.rows for block in half.blocks()]
    kept = half.snapshot()
    assert kept is not None
    run = prepare(spec_of())
    run.resume(kept)
    rows += [block.rows for block in run.blocks()]

    assert run.used == half.used
    assert run.result(StopReason.MAX_STEPS).engine == engine
    assert_same_rows(concatenate(rows), whole)


def test_a_run_that_goes_on_is_not_judged_again(monkeypatch: pytest.MonkeyPatch) -> None:
    half = prepare(spec_of(steps=15))
    drain(half)
    kept = half.snapshot()
    assert kept is not None
    monkeypatch.delattr(TieredRun, "_judge")
    run = prepare(spec_of())
    run.resume(kept)

    assert run.used == half.used
    assert run.used.verified is not None
    assert drain(run)[1].engine == "rules"


def test_a_run_that_was_refused_its_engine_goes_on_in_the_loop(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with monkeypatch.context() as patched, caplog.at_level(logging.WARNING):
        spoil(patched, "2.0 * (variance * error_a + mean * shift)", "2.0 * variance * error_a")
        half = prepare(spec_of(steps=15, engine="rules"))
        drain(half)
        kept = half.snapshot()
        run = prepare(spec_of(engine="rules"))
        assert kept is not None
        run.resume(kept)

    assert half.used.name == run.used.name == "torch"
    assert run.used.reason.startswith("the rules engine was tried first and differed: ")


@pytest.mark.parametrize("head", [b"fitjobs run 1", b"", b"{}"])
def test_a_snapshot_that_does_not_name_its_engine_is_refused(head: bytes) -> None:
    half = prepare(spec_of(steps=15))
    drain(half)
    kept = half.snapshot()
    assert kept is not None

    with pytest.raises(CheckpointUnusable, match="does not say which engine"):
        prepare(spec_of()).resume(head + kept[kept.index(b"\n") :])


def test_a_snapshot_of_another_engine_than_the_forced_one_is_refused() -> None:
    half = prepare(spec_of(engine="torch", steps=15))
    drain(half)
    kept = half.snapshot()
    assert kept is not None

    with pytest.raises(CheckpointUnusable, match="made by the torch loop"):
        prepare(spec_of(engine="rules")).resume(kept)
