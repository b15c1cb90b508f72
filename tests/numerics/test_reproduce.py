"""The script of a job, run on its own, prints the job's numbers bit for bit."""

import subprocess
import sys
from array import array
from pathlib import Path
from typing import Any

import pytest

from app.domain.catalogue import OPTIMIZERS
from app.domain.data import Columns, StoredColumns, store_columns
from app.domain.spec import FitSpec
from app.reproduce import make_script
from tests.numerics.fitted import Fitted, Printed, execute, fit, read, reproduce, same_bits

SCHEDULERS: list[dict[str, Any]] = [
    {"name": "StepLR", "step_size": 10},
    {"name": "MultiStepLR", "milestones": [5, 20], "gamma": 0.5},
    {"name": "ConstantLR"},
    {"name": "LinearLR", "total_iters": 20},
    {"name": "ExponentialLR", "gamma": 0.99},
    {"name": "PolynomialLR", "total_iters": 40, "power": 2.0},
    {"name": "CosineAnnealingLR", "T_max": 25},
    {"name": "CosineAnnealingWarmRestarts", "T_0": 10, "T_mult": 2},
    {"name": "CyclicLR", "base_lr": 0.001, "max_lr": 0.1, "step_size_up": 7},
    {"name": "OneCycleLR", "max_lr": 0.2},
    {"name": "ReduceLROnPlateau", "patience": 2, "factor": 0.5},
]
VARIANTS: dict[str, dict[str, Any]] = {
    "float32": {"dtype": "float32"},
    "batches": {"batch_size": 64, "data": {"preset": "noisy"}},
    "batches-float32": {"batch_size": 300, "dtype": "float32"},
    "batch-of-all": {"batch_size": 1000},
    "never-zeroed": {"zero_grad": False},
    "one-point": {"data": {"preset": "classic", "points": 1}, "zero_grad": False},
    "far": {"data": {"preset": "far"}, "optimizer": {"name": "Rprop"}},
    "outliers": {"data": {"preset": "outliers"}, "loss": "huber"},
    "l1": {"data": {"preset": "noisy", "seed": 7}, "loss": "l1"},
    "smooth-l1": {"loss": "smooth_l1", "seed": 3},
    "generated": {"data": {"generate": {"a": -3.0, "b": 0.5, "n": 77, "noise": 0.25}}},
    "uniform": {"data": {"generate": {"x": [-2.0, 5.0], "seed": 9}}, "dtype": "float32"},
    "inline": {"data": [[0.1, 1.0], [1.0, 3.5], [2.0, 4.9]]},
    "inline-float32": {"data": [[0.1, 1.0], [1.0, 3.5], [2.0, 4.9]], "dtype": "float32"},
    "given-start": {"init": {"a": 0.1, "b": -4.0}, "dtype": "float32"},
    "thinned": {"record_every": 7},
    "gradient": {"stop": {"gradient_below": 2.0}, "optimizer": {"name": "Adam", "lr": 0.1}},
    "patience": {"stop": {"patience": 3, "loss_below": None}, "optimizer": {"name": "Rprop"}},
    "loss-below": {"optimizer": {"name": "Adam", "lr": 0.2}, "stop": {"loss_below": 0.5}},
    "diverges": {"optimizer": {"name": "SGD", "lr": 1e8}},
    "hyperparameters": {
        "optimizer": {"name": "AdamW", "lr": 0.01, "betas": [0.8, 0.9], "amsgrad": True}
    },
    "lbfgs-line-search": {"optimizer": {"name": "LBFGS", "line_search_fn": "strong_wolfe"}},
    "lbfgs-batches": {"optimizer": {"name": "LBFGS", "max_iter": 2}, "batch_size": 100},
    "lbfgs-never-zeroed": {"optimizer": "LBFGS", "zero_grad": False, "steps": 3},
    "sparse-gradient": {"optimizer": "SparseAdam", "stop": {"gradient_below": 1e-9}},
    "muon-gradient": {"optimizer": "Muon", "stop": {"gradient_below": 1e-9}},
}


def assert_same(printed: Printed, fitted: Fitted) -> None:
    assert printed.step == list(fitted.rows.step)
    for column in ("loss", "a", "b"):
        assert same_bits(getattr(printed, column), list(getattr(fitted.rows, column)))
    assert printed.result == {
        "a": fitted.result.a,
        "b": fitted.result.b,
        "steps": fitted.result.steps,
        "stop_reason": str(fitted.result.stop_reason),
    }


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_script_prints_the_history_of_every_optimizer(name: str, dtype: str) -> None:
    spec = {"optimizer": name, "dtype": dtype, "steps": 40, "data": {"preset": "noisy"}}

    assert_same(reproduce(**spec), fit(**spec))


@pytest.mark.parametrize("scheduler", SCHEDULERS, ids=lambda scheduler: scheduler["name"])
def test_script_prints_the_history_of_every_scheduler(scheduler: dict[str, Any]) -> None:
    spec = {"scheduler": scheduler, "optimizer": {"name": "Adam", "lr": 0.1}, "steps": 50}

    assert_same(reproduce(**spec), fit(**spec))


@pytest.mark.parametrize("variant", VARIANTS)
def test_script_prints_the_history_of(variant: str) -> None:
    spec = {"steps": 40, **VARIANTS[variant]}

    assert_same(reproduce(**spec), fit(**spec))


def test_script_of_an_automatic_rate_takes_the_number_that_ran() -> None:
    spec = {"optimizer": {"name": "SGD", "lr": "auto", "momentum": 0.5}, "steps": 30}
    fitted = fit(**spec)

    assert_same(reproduce(lr=fitted.result.lr, **spec), fitted)


@pytest.mark.parametrize("data", [{"preset": "noisy"}, {"preset": "classic", "points": 1}])
def test_script_knows_the_automatic_rate_up_to_rounding(data: dict[str, Any]) -> None:
    spec = {"optimizer": {"name": "SGD", "lr": "auto"}, "steps": 20, "data": data}
    printed, fitted = reproduce(**spec), fit(**spec)

    assert printed.a == pytest.approx(list(fitted.rows.a), rel=1e-9, abs=1e-9)
    assert printed.step == list(fitted.rows.step)


def test_script_reads_many_points_from_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    count = 1500
    points = Columns(
        x=array("d", [i / 7 for i in range(count)]), y=array("d", [i / 3 for i in range(count)])
    )
    stored, _ = store_columns(points)
    spec = {"data": stored, "optimizer": {"name": "Rprop"}, "steps": 20, "batch_size": 400}
    script, data = make_script(FitSpec.model_validate(spec), points), tmp_path / "points.csv"
    data.write_text("".join(f"{x!r},{y!r}\n" for x, y in zip(points.x, points.y, strict=True)))

    monkeypatch.setattr("sys.argv", ["reproduce.py", str(data)])

    assert make_script(FitSpec.model_validate(spec), None) == script
    assert_same(execute(script), fit(columns=points, **spec))


def test_script_embeds_stored_points_when_they_are_few() -> None:
    points = Columns(x=array("d", [0.0, 1.0, 3.0]), y=array("d", [1.0, 2.0, 9.0]))
    stored = StoredColumns(num_points=3, sha256="0" * 64)
    spec = {"data": stored, "steps": 20, "batch_size": 2}

    assert_same(reproduce(points, **spec), fit(columns=points, **spec))


@pytest.mark.parametrize(
    "spec",
    [
        {"dtype": "float32"},
        {"optimizer": "SparseAdam", "steps": 30, "batch_size": 100},
    ],
)
def test_script_runs_on_its_own(spec: dict[str, Any], tmp_path: Path) -> None:
    script = tmp_path / "reproduce.py"
    script.write_text(make_script(FitSpec.model_validate(spec), None))

    assert_same(run_alone(script), fit(**spec))


def run_alone(script: Path) -> Printed:
    done = subprocess.run(
        [sys.executable, "-W", "error", str(script)],
        capture_output=True,
        text=True,
        check=True,
        cwd=script.parent,
    )
    return read(done.stdout)


def test_script_says_only_what_the_spec_needs() -> None:
    script = make_script(FitSpec.model_validate({"dtype": "float32"}), None)

    assert "optimizer = torch.optim.Adam(net.parameters(), lr=0.001)\n" in script
    assert "fitjobs import" not in script
    for word in ("import csv", "scheduler", "shuffle", "best", "norm", ".to(", "no_grad", "cuda"):
        assert word not in script


def test_script_names_the_device_that_was_asked_for() -> None:
    script = make_script(FitSpec.model_validate({"device": "cuda:1", "dtype": "float64"}), None)

    assert "x = x.to('cuda:1', dtype=torch.float64)" in script
    assert "net = net.to('cuda:1', dtype=torch.float64)" in script


def test_long_calls_are_broken_into_lines() -> None:
    optimizer = {"name": "Adam", "betas": [0.5, 0.6], "eps": 1e-5, "weight_decay": 0.123456789}
    script = make_script(
        FitSpec.model_validate({"optimizer": {**optimizer, "amsgrad": True}}), None
    )

    assert "\n    betas=(0.5, 0.6),\n" in script
    assert max(map(len, script.splitlines())) <= 100
    execute(script.replace("range(10001)", "range(3)"))
