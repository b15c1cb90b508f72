"""`engine: "torch"` has the plain loop's own bits: every class, all options, every data set."""

from typing import Any

import pytest
import torch

from app.domain.catalogue import OPTIMIZERS
from app.domain.spec import FitSpec
from tests.numerics.cases import ALL_OPTIONS, MILLION, data_sets, title
from tests.numerics.fitted import fit, same_bits
from tests.numerics.literally import Row, run_script
from worker.engine.problem import load

STEPS = 10
"""RAdam's rectification begins with the sixth, ASGD's averaging here with the fifth."""
FEW_STEPS = 2


def scripted(fields: dict[str, Any]) -> list[Row]:
    """Run the literal script on the points and from the start that a spec names."""
    task = load(FitSpec.model_validate(fields), columns=None, device=torch.device("cpu"))
    # Python has no int where the catalogue has a number.
    start = (task.start.a, task.start.b)
    kept = {"zero_grad": fields["zero_grad"]} if "zero_grad" in fields else {}
    return run_script(
        task.x, task.y, start=start, steps=fields["steps"], optimizer=fields["optimizer"], **kept
    )


def is_same(**fields: Any) -> bool:
    """Tell whether the engine says bit for bit what the script says."""
    theirs = scripted(fields)
    rows = fit(stop={"loss_below": None}, record_every=1, **fields).rows
    ours = zip(rows.loss, rows.a, rows.b, strict=True)
    flat = [[value for row in part for value in row] for part in (theirs, list(ours))]
    return same_bits(*flat)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_every_data_set_has_the_script_s_bits(name: str, dtype: str) -> None:
    steps = FEW_STEPS if name == "LBFGS" else STEPS
    differing = [
        (title(optimizer), data)
        for optimizer in ({"name": name, **options} for options in ALL_OPTIONS[name])
        for data, points in data_sets(dtype).items()
        if not is_same(optimizer=optimizer, dtype=dtype, steps=steps, **points)
    ]

    assert differing == []


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_gradient_that_is_kept_has_the_script_s_bits(name: str, dtype: str) -> None:
    optimizer = {"name": name, "lr": 0.01}

    assert is_same(optimizer=optimizer, dtype=dtype, steps=STEPS, data="noisy", zero_grad=False)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", ["SGD", "Adam", "LBFGS", "SparseAdam"])
def test_a_million_points_have_the_script_s_bits(name: str, dtype: str) -> None:
    steps = 1 if name == "LBFGS" else FEW_STEPS

    assert is_same(optimizer={"name": name}, dtype=dtype, steps=steps, **MILLION)
