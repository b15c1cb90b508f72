"""A batch: every series has its own exact line, and its run is the fit that repeats it."""

import math
from typing import Any

import numpy as np
import pytest
import torch

from app.domain.batch import BatchSpec, fit_of_series
from app.domain.run_records import RunRecord, unpack_records
from app.domain.summary import BatchSummary
from tests.numerics.fitted import drain
from tests.numerics.test_lanes import record_of
from tests.numerics.test_sweep import make
from worker.contract import PreparedMany
from worker.engine.exact import solve
from worker.engine.rules.kernels import Kernels
from worker.engine.series import SeriesSource
from worker.engine.torch_engine import TorchEngine

RANDOM = np.random.default_rng(5)


def points(count: int, *, scale: float = 1.0, offset: float = 0.0, noise: float = 0.1) -> Any:
    x = offset + scale * RANDOM.standard_normal(count)
    y = 2.0 * x + 1.0 + noise * scale * RANDOM.standard_normal(count)
    return {"x": x.tolist(), "y": y.tolist()}


SERIES: dict[str, Any] = {
    "one point": {"x": [2.0], "y": [5.0]},
    "two points": {"x": [1.0, 2.0], "y": [0.5, 4.0]},
    "constant x": {"x": [3.0, 3.0, 3.0], "y": [1.0, 2.0, 4.0]},
    "constant y": {"x": [3.0, 4.0, 7.0], "y": [2.0, 2.0, 2.0]},
    "a line": {"x": [0.0, 1.0, 2.0, 3.0], "y": [1.0, 3.0, 5.0, 7.0]},
    "ordinary": points(100),
    "far": points(60, offset=1e6),
    "tiny": points(20, scale=1e-6),
    "huge": points(20, scale=1e100),
    "too large for products": {"x": [1e149, 2e149, 4e149], "y": [1.0, 2.0, 2.5]},
}


def prepare(spec: BatchSpec, kernels: Kernels | None) -> PreparedMany:
    return TorchEngine(kernels=kernels).prepare_many(spec, columns=None, device="cpu")


def all_records(spec: BatchSpec, kernels: Kernels | None) -> list[RunRecord]:
    prepared, cut = prepare(spec, kernels), (spec.num_runs + 2) // 3
    raw = make(prepared, range(cut)) + make(prepared, range(cut, spec.num_runs))
    return list(unpack_records(raw, is_batch=True))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("way", ["compiled", "one by one"])
def test_every_series_is_solved_as_one(dtype: str, way: str, kernels: Kernels) -> None:
    names = [
        name
        for name in SERIES
        if dtype == "float64" or name not in {"huge", "too large for products"}
    ]
    spec = BatchSpec.model_validate({"data": [SERIES[name] for name in names], "dtype": dtype})
    pass_over = kernels.load_series() if way == "compiled" else None
    source = SeriesSource(spec, columns=None, pass_over=pass_over)
    group = source.take(range(len(names)), lambda: None)

    for place, name in enumerate(names):
        x, y = (
            torch.tensor(SERIES[name][axis], dtype=getattr(torch, dtype)).double() for axis in "xy"
        )
        bowl, found = solve(x, y), [float(column[place]) for column in group.bowls.columns]
        size = float(y.abs().max())
        assert found[0] == bowl.exact.a, name
        assert found[1] == pytest.approx(bowl.exact.b, rel=1e-15, abs=1e-30 * size), name
        assert found[4] == bowl.deviation_x, name
        assert found[5] == bowl.problem.mean_x, name
        assert found[6] == pytest.approx(bowl.exact.loss, rel=1e-14, abs=1e-60 * size**2), name
        assert bool(group.is_unique[place]) == bowl.exact.unique, name


def test_exact_lines_agree_with_numpy(kernels: Kernels) -> None:
    spec = BatchSpec.model_validate({"data": [points(count) for count in range(2, 60)], "steps": 1})
    for run, record in enumerate(all_records(spec, kernels)):
        columns = fit_of_series(spec, run, None).data
        x, y = np.array(columns.x), np.array(columns.y)  # type: ignore[union-attr]
        design = np.stack([x, np.ones_like(x)], axis=1)
        (a, b), *_ = np.linalg.lstsq(design, y, rcond=None)
        assert record.points == len(x)
        assert record.exact_a == pytest.approx(a, rel=1e-11)
        assert record.exact_b == pytest.approx(b, rel=1e-11)
        assert record.exact_loss == pytest.approx(
            float(np.mean((a * x + b - y) ** 2)), rel=1e-9, abs=1e-28
        )


@pytest.mark.parametrize(
    "fields",
    [
        {"data": {"generate": {"n": 12, "series": 25}}},
        {"data": {"generate": {"n": 12, "series": 9, "seed": 3}}, "seed": 5, "dtype": "float32"},
        {"data": {"generate": {"n": 12, "series": 7}}, "loss": "huber", "steps": 6},
        {"data": {"generate": {"n": 12, "series": 7}}, "batch_size": 5, "steps": 6},
        {"data": [SERIES["ordinary"], SERIES["a line"]], "init": {"a": 1.0, "b": 1.0}},
    ],
    ids=["drawn", "seeded", "huber", "batches", "given"],
)
def test_a_run_is_the_fit_that_repeats_it(fields: dict[str, Any], kernels: Kernels) -> None:
    spec = BatchSpec.model_validate({"steps": 120, "optimizer": "RMSprop", **fields})
    found = all_records(spec, kernels)
    engine = TorchEngine(kernels=kernels)
    fits = (fit_of_series(spec, run, None) for run in range(spec.num_runs))
    alone = [drain(engine.prepare(fit, columns=None, device="cpu").runs[0])[1] for fit in fits]

    for record, result in zip(found, alone, strict=True):
        # The exact line of a series is computed in another order than that of a fit: to rounding.
        assert record[:3] == record_of(result)[:3]
        assert record[3:8] == pytest.approx(
            record_of(result)[3:8], rel=1e-12, abs=1e-25, nan_ok=True
        )


def test_learning_rates_are_found_for_every_bowl(kernels: Kernels) -> None:
    data = [points(40, scale=scale) for scale in (0.1, 1.0, 30.0)]
    optimizer = {"name": "SGD", "lr": "auto"}
    spec = BatchSpec.model_validate({"data": data, "optimizer": optimizer, "steps": 5000})
    prepared = prepare(spec, kernels)
    tally = prepared.sum_up(make(prepared, range(3)))

    assert isinstance(tally.summary, BatchSummary)
    assert tally.summary.converged == 3


def test_a_batch_is_summed_up(kernels: Kernels) -> None:
    data = [SERIES[name] for name in ("ordinary", "one point", "a line", "constant x")]
    spec = BatchSpec.model_validate({"data": data, "optimizer": {"name": "Adam", "lr": 0.1}})
    prepared = prepare(spec, kernels)
    raw = make(prepared, range(4))
    summary = prepared.sum_up(raw).summary
    records = list(unpack_records(raw, is_batch=True))

    assert isinstance(summary, BatchSummary)
    assert (summary.series, summary.done, summary.points) == (4, 4, 108)
    assert (summary.converged, summary.diverged, summary.not_unique) == (4, 0, 2)
    assert summary.a is not None
    assert (summary.a.min, summary.a.max) == (
        min(record.a for record in records),
        max(record.a for record in records),
    )
    assert summary.farthest == max(range(4), key=lambda run: records[run].excess_loss)
    assert not math.isnan(records[0].best_loss)
