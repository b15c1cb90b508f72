"""The same data are loaded once; everything that changes a task changes its key."""

import hashlib
from array import array
from typing import Any

import pytest
import torch

from app.domain.catalogue import OPTIMIZERS
from app.domain.data import Columns, store_columns
from app.domain.errors import EngineFault
from app.domain.result import StopReason
from app.domain.spec import FitSpec
from tests.numerics.cut import Kind
from worker.engine.autograd import AutogradRun
from worker.engine.moments import MomentsRun
from worker.engine.problem import Task, load
from worker.engine.task_cache import TaskCache
from worker.engine.torch_engine import TorchEngine

CPU = torch.device("cpu")
POINTS = Columns(x=array("d", [0.0, 1.0, 2.0]), y=array("d", [1.0, 3.0, 4.0]))
DATA: dict[str, Any] = {
    "preset": {"preset": "noisy"},
    "part of a preset": {"preset": "noisy", "points": 10},
    "preset of another seed": {"preset": "noisy", "seed": 1},
    "rule": {"generate": {"n": 20}},
    "rule of another seed": {"generate": {"n": 20, "seed": 3}},
    "inline": [[0.0, 1.0], [1.0, 3.0], [2.0, 4.0]],
    "inline, one value changed": [[0.0, 1.0], [1.0, 3.0], [2.0, 4.5]],
}
FIELDS: dict[str, dict[str, Any]] = {
    "default": {},
    "float32": {"dtype": "float32"},
    "seed": {"seed": 7},
    "start": {"init": {"a": 1.0, "b": 2.0}},
}


def take(cache: TaskCache, columns: Columns | None = None, **fields: Any) -> Task:
    return cache.load(FitSpec.model_validate(fields), columns=columns, device=CPU)


def assert_equal(one: Task, other: Task) -> None:
    assert torch.equal(one.x, other.x)
    assert torch.equal(one.y, other.y)
    assert (one.x.dtype, one.start, one.bowl) == (other.x.dtype, other.start, other.bowl)


def test_the_same_data_are_loaded_once() -> None:
    cache = TaskCache()
    first = take(cache, data="noisy", optimizer="Adam")

    assert take(cache, data="noisy", optimizer="SGD", steps=5, batch_size=7) is first


def test_every_task_is_what_loading_it_gives() -> None:
    cache = TaskCache()
    asked = [{"data": data, **fields} for data in DATA.values() for fields in FIELDS.values()]
    for _ in range(2):
        for fields in asked:
            spec = FitSpec.model_validate(fields)
            fresh = load(spec, columns=None, device=CPU)
            assert_equal(cache.load(spec, columns=None, device=CPU), fresh)


def test_stored_points_are_known_by_their_hash() -> None:
    cache = TaskCache()
    named, raw = store_columns(POINTS)
    first = take(cache, POINTS, data=named.model_dump())

    assert named.sha256 == hashlib.sha256(raw).hexdigest()
    assert take(cache, POINTS, data=named.model_dump()) is first
    # Inline, the same points have the same key.
    assert take(cache, data=DATA["inline"]) is first


def test_missing_points_are_a_fault_each_time() -> None:
    cache = TaskCache()
    named, _ = store_columns(POINTS)
    for _ in range(2):
        with pytest.raises(EngineFault, match="missing"):
            take(cache, data=named.model_dump())


def test_longest_unused_tasks_go_first() -> None:
    # Two tasks of 10 points have 320 bytes.
    cache = TaskCache(max_bytes=350)
    rules = [{"generate": {"n": 10, "seed": seed}} for seed in range(3)]
    first, second = (take(cache, data=rule) for rule in rules[:2])

    assert take(cache, data=rules[0]) is first
    take(cache, data=rules[2])
    assert take(cache, data=rules[0]) is first
    assert take(cache, data=rules[1]) is not second


def test_task_that_is_too_large_is_not_kept() -> None:
    cache = TaskCache(max_bytes=100)

    assert take(cache, data="noisy") is not take(cache, data="noisy")


@pytest.mark.parametrize("kind", [AutogradRun, MomentsRun])
@pytest.mark.parametrize("batch_size", [None, 7])
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_no_run_writes_into_its_task(optimizer: str, batch_size: int | None, kind: Kind) -> None:
    fields: dict[str, Any] = {"data": {"preset": "noisy", "points": 20}, "steps": 3}
    spec = FitSpec.model_validate({**fields, "optimizer": optimizer, "batch_size": batch_size})
    task, fresh = (load(spec, columns=None, device=CPU) for _ in range(2))
    run = kind(spec, task=task, index=0, label="run")
    for _ in run.blocks():
        pass
    run.result(StopReason.MAX_STEPS)

    assert_equal(task, fresh)


def test_jobs_of_the_same_data_share_the_answer() -> None:
    engine = TorchEngine()
    specs = [FitSpec.model_validate({"optimizer": name}) for name in ("Adam", "SGD")]
    one, other = (engine.prepare(spec, columns=None, device="cpu") for spec in specs)

    assert one.exact is other.exact
