"""A job that goes on where another has ended: the same rows as one long job, with or without a kill."""

from typing import Any

import pytest
import torch

from app.domain.errors import InvalidSpec
from app.domain.extension import extend_spec
from app.domain.job import Status
from app.domain.result import DeviceUsed
from app.store.codec import encode_rows
from app.store.submission import NewJob
from tests.unit.worker.desk import TestDesk
from tests.unit.worker.test_resume import Clock, end_of
from worker.engine.torch_engine import TorchEngine

BODY: dict[str, Any] = {
    "data": {"preset": "noisy"},
    "batch_size": 7,
    "stop": {"loss_below": None},
    "engine": "torch",
}


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


def extend(desk: TestDesk, base: str, *, job_id: str = "longer", **changes: Any) -> str:
    record = desk.record(base)
    parsed = extend_spec(record, changes)
    device = DeviceUsed(requested="auto", queue="cpu", reason="a test")
    new = NewJob(
        id=job_id,
        spec=parsed.spec,
        fingerprint=job_id,
        device=device,
        extends=base,
        extended_at_ms=record.created_at_ms,
    )
    return desk.ask(lambda store: store.create(new)).record.id


def rows_of(desk: TestDesk, job_id: str) -> bytes:
    return encode_rows(desk.history(job_id))


@pytest.mark.parametrize("optimizer", ["adam", "sgd", "lbfgs", "sparseadam"])
def test_extension_is_one_long_fit(desk: TestDesk, optimizer: str) -> None:
    desk.submit(job_id="short", **BODY, optimizer=optimizer, steps=30)
    desk.work(TorchEngine())
    extend(desk, "short", steps=50)
    desk.work(TorchEngine())
    desk.submit(job_id="whole", **BODY, optimizer=optimizer, steps=80)
    desk.work(TorchEngine())

    assert desk.record("longer").extends == "short"
    assert "started over" not in desk.record("longer").engine.reason  # type: ignore[union-attr]
    assert rows_of(desk, "longer") == rows_of(desk, "whole")
    assert end_of(desk.record("longer")) == end_of(desk.record("whole"))


def test_extension_makes_only_the_steps_that_are_new(desk: TestDesk) -> None:
    desk.submit(job_id="short", **BODY, steps=30)
    desk.work(TorchEngine())
    extend(desk, "short", steps=50)
    claim = desk.runs.claim("cpu", worker="w", device="cpu")

    assert claim is not None
    assert claim.checkpoint is not None
    assert (claim.checkpoint.step, claim.checkpoint.seconds) == (30, 0.0)
    assert list(desk.history("longer").step) == list(range(31))


def test_extension_outlives_the_fit_that_it_went_on_from(desk: TestDesk) -> None:
    desk.submit(job_id="short", **BODY, steps=30)
    desk.work(TorchEngine())
    extend(desk, "short", steps=50)
    desk.ask(lambda store: store.delete("short"))

    assert desk.redis.ttl("{fit}:job:longer:checkpoint") == -1
    assert desk.redis.ttl("{fit}:job:longer:history:0") == -1
    desk.work(TorchEngine())
    assert len(desk.history("longer")) == 81


def test_extension_without_a_checkpoint_begins_at_the_start(desk: TestDesk) -> None:
    desk.submit(job_id="short", **BODY, steps=30)
    desk.work(TorchEngine())
    desk.redis.delete("{fit}:job:short:checkpoint")
    extend(desk, "short", steps=50)
    desk.work(TorchEngine())
    desk.submit(job_id="whole", **BODY, steps=80)
    desk.work(TorchEngine())

    assert rows_of(desk, "longer") == rows_of(desk, "whole")


def test_extension_takes_nothing_from_another_job_of_the_same_name(desk: TestDesk) -> None:
    desk.submit(job_id="short", **BODY, steps=30)
    desk.work(TorchEngine())
    old = desk.record("short")
    desk.ask(lambda store: store.delete("short"))
    desk.submit(job_id="short", **BODY, steps=30, seed=7)
    desk.work(TorchEngine())
    parsed = extend_spec(old, {"steps": 50})
    new = NewJob(
        id="longer",
        spec=parsed.spec,
        fingerprint="longer",
        device=DeviceUsed(requested="auto", queue="cpu", reason="a test"),
        extends="short",
        extended_at_ms=old.created_at_ms,
    )
    desk.ask(lambda store: store.create(new))

    assert not desk.redis.exists("{fit}:job:longer:checkpoint")


def test_extension_of_an_extension_goes_on(desk: TestDesk) -> None:
    desk.submit(job_id="short", **BODY, steps=30)
    desk.work(TorchEngine())
    extend(desk, "short", steps=20)
    desk.work(TorchEngine())
    extend(desk, "longer", job_id="longest", steps=30)
    desk.work(TorchEngine())
    desk.submit(job_id="whole", **BODY, steps=80)
    desk.work(TorchEngine())

    assert rows_of(desk, "longest") == rows_of(desk, "whole")


def test_cancelled_fit_can_be_extended(desk: TestDesk) -> None:
    desk.submit(job_id="short", **BODY, steps=1_000_000)
    clock = Clock(0.001)
    clock.at(20, lambda: desk.cancel("short"))
    desk.work(TorchEngine(), clock=clock)
    made = desk.record("short").outcome.runs[0].steps  # type: ignore[union-attr]
    assert desk.record("short").status is Status.CANCELLED
    extend(desk, "short", steps=50)
    desk.work(TorchEngine())
    record = desk.record("longer")

    assert record.status is Status.SUCCEEDED
    assert record.outcome is not None
    assert record.outcome.runs[0].steps == made + 50


def test_timed_out_fit_can_be_extended_with_time_of_its_own(desk: TestDesk) -> None:
    desk.submit(job_id="short", **BODY, steps=1_000_000, timeout_seconds=0.2)
    desk.work(TorchEngine())
    assert desk.record("short").status is Status.FAILED
    extend(desk, "short", steps=5, timeout_seconds=600.0)
    desk.work(TorchEngine())

    assert desk.record("longer").status is Status.SUCCEEDED


def test_diverged_fit_leaves_nothing_to_go_on_from(desk: TestDesk) -> None:
    desk.submit(job_id="short", optimizer={"name": "sgd", "lr": 50.0}, steps=5_000)
    desk.work(TorchEngine())

    assert desk.record("short").status is Status.FAILED
    with pytest.raises(InvalidSpec):
        extend(desk, "short", steps=5)


def test_stop_rules_of_an_extension_count_from_its_old_end_only(desk: TestDesk) -> None:
    met_at_once: dict[str, Any] = {"stop": {"loss_below": 1e9}}
    desk.submit(job_id="short", **BODY, steps=30)
    desk.work(TorchEngine())
    extend(desk, "short", steps=50, **met_at_once)
    desk.work(TorchEngine())
    desk.submit(job_id="whole", **(BODY | met_at_once), steps=80)
    desk.work(TorchEngine())
    outcomes = [desk.record(job_id).outcome for job_id in ("longer", "whole")]

    assert [outcome.runs[0].steps for outcome in outcomes if outcome] == [31, 0]
