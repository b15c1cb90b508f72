"""A sweep: every run is the fit that repeats it, and what the runs come to."""

import math
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from app.domain.ranking import rank
from app.domain.result import RunResult
from app.domain.run_records import RunRecord, never_made, unpack_records
from app.domain.summary import RateRange, SweepSummary
from app.domain.sweep import SweepSpec, fit_of
from tests.numerics.fitted import drain
from tests.numerics.test_lanes import record_of
from worker.contract import PreparedMany
from worker.engine.rules.kernels import Kernels
from worker.engine.torch_engine import TorchEngine


def spec_of(**fields: Any) -> SweepSpec:
    given = {
        "data": {"preset": "noisy", "points": 50},
        "optimizers": ["SGD", "Adam"],
        "lr": {"min": 1e-3, "max": 3.0, "num": 6},
        "seeds": 4,
        "steps": 150,
        **fields,
    }
    return SweepSpec.model_validate(given)


def make(prepared: PreparedMany, runs: range) -> bytes:
    part = prepared.slice(runs)
    shares = list(part.blocks())
    assert shares[-1] == 1.0
    assert shares == sorted(shares)
    return part.records()


def prepare(spec: SweepSpec, kernels: Kernels | None) -> PreparedMany:
    return TorchEngine(kernels=kernels).prepare_many(spec, columns=None, device="cpu")


def alone(spec: SweepSpec, kernels: Kernels | None) -> list[RunResult]:
    engine = TorchEngine(kernels=kernels)
    runs = (
        engine.prepare(fit_of(spec, run), columns=None, device="cpu").runs[0]
        for run in range(spec.num_runs)
    )
    return [drain(run)[1] for run in runs]


def bits(records: list[RunRecord]) -> list[list[str]]:
    return [[float(part).hex() for part in record] for record in records]


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"dtype": "float32", "data": {"preset": "classic"}},
        {"data": {"generate": {"n": 30, "seed": 2}}},
        {"data": [[0.0, 1.0], [1.0, 3.0], [2.0, 4.5]], "seed": 7},
        {"init": {"a": 3.0, "b": -1.0}, "scheduler": {"name": "ExponentialLR", "gamma": 0.99}},
        {"zero_grad": False, "stop": {"patience": 5}},
        {"optimizers": ["SGD"], "loss": "l1", "steps": 5, "lr": [0.1, 0.01], "seeds": 2},
        {"optimizers": ["LBFGS", "RAdam"], "steps": 8, "lr": [0.1], "seeds": 2},
        {"optimizers": ["Adam"], "batch_size": 7, "steps": 30, "lr": [0.1], "seeds": 2},
    ],
    ids=lambda fields: "-".join(fields) or "default",
)
def test_a_run_is_the_fit_that_repeats_it(fields: dict[str, Any], kernels: Kernels) -> None:
    spec = spec_of(**fields)
    prepared = prepare(spec, kernels)
    cuts = [0, 1, spec.num_runs // 2 + 1, spec.num_runs]
    raw = b"".join(make(prepared, range(*pair)) for pair in pairwise(cuts) if pair[0] < pair[1])
    found = list(unpack_records(raw, is_batch=False))

    assert bits(found) == bits([record_of(result) for result in alone(spec, kernels)])


def test_without_a_compiled_rule_runs_are_made_by_themselves(kernels: Kernels) -> None:
    spec = spec_of(steps=20, seeds=1, lr=[0.01, 0.1])
    slow, quick = prepare(spec, None), prepare(spec, kernels)
    runs = range(spec.num_runs)

    assert make(slow, runs) == make(quick, runs)
    assert "not compiled here yet" in slow.engine.reason
    assert slow.engine.verified is None


def test_the_plain_loop_judges_lanes(kernels: Kernels) -> None:
    verified = prepare(spec_of(), kernels).engine.verified

    assert verified is not None
    assert verified.steps == 4
    assert verified.points == 50
    assert verified.max_relative_difference < 32 * np.finfo(float).eps


def test_a_sweep_ranks_its_runs_as_a_comparison_does(kernels: Kernels) -> None:
    spec = spec_of(lr={"min": 1e-3, "max": 1e3, "num": 8}, steps=300)
    prepared = prepare(spec, kernels)
    tally = prepared.sum_up(make(prepared, range(spec.num_runs)))
    results = alone(spec, kernels)
    order = tuple(np.frombuffer(tally.orders["rank"], "<i4").tolist())
    summary = tally.summary

    assert order == rank(results)
    assert isinstance(summary, SweepSummary)
    assert summary.converged == sum(result.converged for result in results) > 0
    assert summary.diverged == sum(result.a is None for result in results) > 0
    assert summary.best is not None
    assert summary.best.run == order[0]


def test_orders_put_the_smallest_first_and_what_is_missing_last(kernels: Kernels) -> None:
    spec = spec_of(lr=[0.5, 1e-3, 500.0], steps=200)
    prepared = prepare(spec, kernels)
    half = spec.num_runs // 2
    raw = make(prepared, range(half)) + never_made(half, is_batch=False)
    tally = prepared.sum_up(raw)
    records = list(unpack_records(raw, is_batch=False))

    for name in ("loss", "excess_loss", "a", "b", "steps", "steps_to_tolerance"):
        order: list[int] = np.frombuffer(tally.orders[name], "<i4").tolist()
        values = [float(getattr(records[run], name)) for run in order]
        if name in {"steps", "steps_to_tolerance"}:
            values = [math.nan if value < 0 else value for value in values]
        known = [value for value in values if not math.isnan(value)]
        assert sorted(order) == list(range(spec.num_runs))
        assert known == sorted(known)
        assert all(map(math.isnan, values[len(known) :]))
    assert np.frombuffer(tally.orders["rank"], "<i4")[half:].tolist() == list(range(half, 2 * half))
    assert isinstance(tally.summary, SweepSummary)
    assert tally.summary.done == half
    assert tally.summary.optimizers[1].best is None


def test_a_sweep_finds_where_gradient_descent_diverges(kernels: Kernels) -> None:
    spec = spec_of(
        optimizers=["SGD", {"name": "SGD", "momentum": 0.9, "label": "heavy"}],
        lr={"min": 0.01, "max": 100.0, "num": 81},
        steps=4000,
        seeds=2,
    )
    prepared = prepare(spec, kernels)
    summary = prepared.sum_up(make(prepared, range(spec.num_runs))).summary

    assert isinstance(summary, SweepSummary)
    for swept in summary.optimizers:
        assert swept.predicted_divergence is not None
        assert swept.diverges_from is not None
        below = max(rate for rate in spec.rates if rate < swept.diverges_from)
        assert below < swept.predicted_divergence <= swept.diverges_from
        assert isinstance(swept.usable, RateRange)
        assert swept.usable.max <= below
        assert swept.edge is None
        assert swept.best is not None
        assert swept.refine is not None
        assert swept.refine.min < swept.best.lr < swept.refine.max
