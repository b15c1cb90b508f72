"""The contract's own numbers."""

import math

import pytest
import torch

from app.domain.spec import FitSpec
from worker.engine.fidelity import FACTOR, allowed_difference, spread_of
from worker.engine.problem import load


@pytest.mark.parametrize("line", [(0.3, -2.0), (-1e3, 5.0), (0.0, 0.0)])
@pytest.mark.parametrize("preset", ["classic", "far", "outliers"])
def test_spread_is_the_mean_square_of_the_terms(preset: str, line: tuple[float, float]) -> None:
    spec = FitSpec.model_validate({"data": preset})
    task = load(spec, columns=None, device=torch.device("cpu"))
    a, b = line
    terms = (a * task.x).abs() + abs(b) + task.y.abs()

    assert spread_of(task)(a, b) == pytest.approx(float(terms.square().mean()), rel=1e-13)


def test_allowed_difference_is_the_formula() -> None:
    eps = torch.finfo(torch.float32).eps

    assert allowed_difference(4.0, 9.0, torch.float32) == pytest.approx(
        FACTOR * (eps * (4.0 + 6.0) + eps**2 * 9.0)
    )
    assert allowed_difference(0.0, 1.0, torch.float64) == FACTOR * 2.0**-104
    assert allowed_difference(1e200, 1e200, torch.float64) == pytest.approx(64e200 * 2.0**-52)
    assert allowed_difference(math.inf, 1.0, torch.float64) == math.inf
