"""A sweep: grids, the numbering of its runs, and the plain fit behind each of them."""

from typing import Any

import pytest

from app.domain.data import Generated, Preset
from app.domain.engines import choose_job_engine
from app.domain.kinds import contenders_of, fit_of_run, label_of_run
from app.domain.parse import parse_spec
from app.domain.sweep import Grid, SweepSpec, place_of


def sweep_of(**body: Any) -> SweepSpec:
    spec = parse_spec(body, kind="sweep").spec
    assert isinstance(spec, SweepSpec)
    return spec


def test_empty_sweep_tries_four_optimizers_at_sixteen_rates() -> None:
    spec = sweep_of()

    assert spec.num_runs == 64
    assert [contender.label for contender in spec.optimizers] == [
        *("SGD", "Adam", "Adagrad", "RMSprop")
    ]
    assert (spec.rates[0], spec.rates[-1]) == (1e-4, 10.0)


def test_log_grid_has_equal_ratios_and_exact_ends() -> None:
    rates = Grid(min=0.001, max=10, num=5).values()

    assert rates == pytest.approx((0.001, 0.01, 0.1, 1, 10))
    assert (rates[0], rates[-1]) == (0.001, 10)


def test_linear_grid_has_equal_distances() -> None:
    assert Grid(min=1, max=3, num=5, scale="linear").values() == (1, 1.5, 2, 2.5, 3)
    assert Grid(min=1, max=3, num=1).values() == (1,)


@pytest.mark.parametrize(
    ("body", "rates"),
    [
        ({"lr": [0.1, 0.3]}, (0.1, 0.3)),
        ({"lr": 0.5}, (0.5,)),
        ({"learning_rate": [1]}, (1.0,)),
        ({"lr": {"min": 1, "max": 2, "num": 2}}, (1.0, 2.0)),
    ],
    ids=str,
)
def test_rates_have_short_forms(body: dict[str, Any], rates: tuple[float, ...]) -> None:
    assert sweep_of(**body).rates == rates


def test_one_optimizer_needs_no_list() -> None:
    spec = sweep_of(optimizer={"name": "sgd", "momentum": 0.9, "nesterov": True})

    assert [each.label for each in spec.optimizers] == ["SGD momentum 0.9 nesterov True"]


def test_runs_are_numbered_with_the_starts_fastest() -> None:
    spec = sweep_of(optimizers=["adam", "sgd"], lr=[0.1, 0.2, 0.3], seeds=2, seed=5)

    assert [tuple(place_of(spec, run)) for run in (0, 1, 2, 6, 11)] == [
        *((0, 0, 0), (0, 0, 1), (0, 1, 0), (1, 0, 0), (1, 2, 1))
    ]
    assert label_of_run(spec, 11) == "SGD lr 0.3 seed 6"
    assert [label for label, _ in contenders_of(spec)] == ["Adam", "SGD"]


@pytest.mark.parametrize("data", ["noisy", {"generate": {"n": 9}}], ids=str)
def test_fit_behind_a_run_has_the_sweep_s_points_and_its_own_start(data: Any) -> None:
    spec = sweep_of(optimizers=["adam", "sgd"], lr=[0.1, 0.2], seeds=3, seed=5, data=data)
    fit = fit_of_run(spec, 11)

    assert (fit.optimizer.name, fit.optimizer.lr, fit.seed) == ("SGD", 0.2, 7)
    drawn = fit.data
    assert isinstance(drawn, Preset | Generated)
    assert (drawn.seed if isinstance(drawn, Preset) else drawn.generate.seed) == 5
    assert parse_spec(fit.model_dump(mode="json")).spec == fit


def test_record_every_is_for_one_run_at_a_time() -> None:
    assert sweep_of(record_every=1, steps=100_000).num_runs == 64


def test_remarks_on_what_the_grid_or_the_seeds_cannot_change() -> None:
    start = {"init": {"a": 0, "b": 0}, "seeds": 4}
    cycle = {
        "scheduler": {"name": "OneCycleLR", "max_lr": 0.1, "cycle_momentum": False},
        "steps": 100,
    }

    def codes(body: dict[str, Any]) -> list[str]:
        return [warning.code for warning in parse_spec(body, kind="sweep").warnings]

    assert codes(start) == ["seeds-change-nothing"]
    assert codes(cycle) == ["rates-change-little"]
    assert codes({**start, "batch_size": 10}) == []


def test_engine_of_a_sweep_is_that_of_its_optimizers() -> None:
    assert choose_job_engine(sweep_of(), queue="cpu").name == "rules"
    mixed = choose_job_engine(sweep_of(optimizers=["adam", "lbfgs"]), queue="cpu")
    assert mixed.reason.endswith('rules for "Adam", moments for "LBFGS"')
