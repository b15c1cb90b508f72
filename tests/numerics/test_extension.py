"""A fit that has ended and goes on from its end equals one longer fit, bit for bit."""

from typing import Any

import pytest

from app.domain.history import Rows, concatenate
from app.domain.result import StopReason
from tests.numerics.test_checkpoint import (
    LOADS,
    OPTIMIZER_CASES,
    SCHEDULES,
    STEPS,
    assert_same,
    case_name,
    play,
    prepare,
)
from worker.contract import Run

SHORT = STEPS // 2


def finish(run: Run) -> tuple[list[Rows], StopReason]:
    blocks = list(run.blocks())
    reason = blocks[-1].stop_reason
    assert reason is not None
    return [block.rows for block in blocks], reason


def check(fields: dict[str, Any], *, until: dict[str, Any] | None = None) -> StopReason:
    """Extend a fit that ends by `until`, without its stop rules, to STEPS; tell how it ended."""
    fields = {"stop": {"loss_below": None}, **fields}
    short = prepare({**fields, **(until or {"steps": SHORT})})
    rows, reason = finish(short)
    if reason is StopReason.DIVERGED:
        return reason
    ended = short.result(reason)
    kept = short.snapshot()
    assert kept is not None
    longer = prepare(fields)
    longer.resume(kept)
    more, last = finish(longer)

    assert 0 < ended.steps < STEPS
    assert_same(play(fields, iter(())), (concatenate(rows + more), longer.result(last), 0))
    return reason


@pytest.mark.parametrize("load", LOADS.values(), ids=LOADS)
@pytest.mark.parametrize("optimizer", OPTIMIZER_CASES, ids=case_name)
def test_every_optimizer_goes_on(optimizer: dict[str, Any], load: dict[str, Any]) -> None:
    reason = check({"optimizer": optimizer, **load})

    # LBFGS fits batches whose gradients pile up: it leaves no line to go on from.
    may_diverge = optimizer["name"] == "LBFGS" and load.get("zero_grad") is False
    assert reason is StopReason.MAX_STEPS or may_diverge


@pytest.mark.parametrize("name", [name for name in SCHEDULES if name != "OneCycleLR"])
def test_every_scheduler_goes_on(name: str) -> None:
    check({"optimizer": "sgd", "scheduler": {"name": name, **SCHEDULES[name]}})


def test_one_cycle_of_a_given_length_goes_on() -> None:
    cycle = {"name": "OneCycleLR", **SCHEDULES["OneCycleLR"], "total_steps": STEPS}
    check({"optimizer": "sgd", "scheduler": cycle})


@pytest.mark.parametrize(
    "rule", [{"loss_below": 1.0}, {"gradient_below": 1.0}, {"patience": 3}], ids=str
)
def test_fit_that_met_a_stop_rule_goes_on(rule: dict[str, Any]) -> None:
    stop = {"loss_below": None, **rule}
    check({"optimizer": {"name": "sgd", "lr": 0.45}, "batch_size": 3}, until={"stop": stop})
