"""A run of a comparison that torch refuses ends alone."""

import pytest
import torch

from app.domain.errors import EngineFault, JobErrorType
from app.domain.result import StopReason
from app.domain.spec import FitSpec
from tests.numerics.fitted import compare
from worker.engine.contained import ContainedRun
from worker.engine.tiers import TieredRun

CPU = torch.device("cpu")


def refused() -> TieredRun:
    raise ValueError("no such setting")


def test_run_that_torch_refuses_ends_as_failed_with_the_reason() -> None:
    run = ContainedRun(FitSpec(), index=2, label="Adam", device=CPU, make=refused)
    (block,) = run.blocks()
    result = run.result(StopReason.FAILED)

    assert (block.stop_reason, len(block.rows), block.step) == (StopReason.FAILED, 0, 0)
    assert (result.run, result.a, result.stop_reason) == (2, None, StopReason.FAILED)
    assert result.error == "torch refused these settings: no such setting"
    assert run.snapshot() is None


def test_lack_of_memory_is_no_run_s_own() -> None:
    def exhausted() -> TieredRun:
        raise MemoryError

    with pytest.raises(EngineFault) as fault:
        ContainedRun(FitSpec(), index=0, label="Adam", device=CPU, make=exhausted)

    assert fault.value.error_type is JobErrorType.OUT_OF_MEMORY


def test_lbfgs_is_counted_by_what_it_evaluates() -> None:
    (_, adam), (_, lbfgs) = compare(
        optimizers=[{"name": "Adam", "lr": 0.1}, "lbfgs"], steps=300, data="noisy"
    )

    assert adam.evaluations_to_tolerance == adam.steps_to_tolerance
    assert lbfgs.steps_to_tolerance is not None
    assert lbfgs.evaluations_to_tolerance is not None
    assert lbfgs.steps_to_tolerance < lbfgs.evaluations_to_tolerance <= lbfgs.evaluations
