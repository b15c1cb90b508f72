"""A job that lost its worker goes on where it stood, and ends as if nothing had happened."""

import logging
from collections.abc import Callable
from typing import Any

import pytest
import torch

from app.domain.job import JobRecord, Status
from app.store.checkpoint import Checkpoint
from app.store.claim import Claim
from app.store.codec import encode_rows
from app.store.runs import RunStore
from tests.unit.worker.desk import TestDesk
from tests.unit.worker.scripted import ScriptedEngine, ScriptedRun
from worker import recorder as recorder_module
from worker.contract import Engine
from worker.engine.torch_engine import TorchEngine

COMPARISON: dict[str, Any] = {"kind": "comparison", "optimizers": ["adam", "sgd", "lbfgs"]}


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


class Clock:
    """Seconds that rise by a fixed step at every look, and acts that happen at certain looks."""

    def __init__(self, step: float) -> None:
        self.now = 0.0
        self.looks = 0
        self._step = step
        self._acts: dict[int, Callable[[], object]] = {}

    def at(self, look: int, act: Callable[[], object]) -> None:
        self._acts[look] = act

    def __call__(self) -> float:
        self.now += self._step
        self.looks += 1
        self._acts.pop(self.looks, lambda: None)()
        return self.now


def drain(desk: TestDesk) -> Callable[[], object]:
    return lambda: setattr(desk, "is_draining", True)


def end_of(record: JobRecord) -> object:
    """Return what a job found out, without how long that took."""
    outcome = record.outcome
    assert outcome is not None
    runs = [run.model_copy(update={"run_seconds": 0.0}) for run in outcome.runs]
    return record.status, record.error, outcome.model_copy(update={"runs": tuple(runs)})


def histories(desk: TestDesk, job_id: str) -> list[bytes]:
    """Return the rows of every run as bytes, in which a NaN equals itself."""
    return [encode_rows(desk.history(job_id, run=run)) for run in range(3)]


def work(desk: TestDesk, engine: Engine, **given: Any) -> None:
    desk.is_draining = False
    assert desk.work(engine, **given) is not None


@pytest.mark.parametrize(
    "body",
    [
        {"optimizer": "adam", "batch_size": 9, "steps": 60},
        {"optimizer": "sgd", "zero_grad": False, "steps": 60},
        {**COMPARISON, "steps": 30},
    ],
    ids=["batches", "kept-gradient", "comparison"],
)
@pytest.mark.parametrize("fate", ["drained", "lost", "both"])
def test_interrupted_job_ends_as_the_undisturbed_one(
    desk: TestDesk, body: dict[str, Any], fate: str
) -> None:
    body = {**body, "data": {"preset": "noisy"}, "stop": {"loss_below": None}, "engine": "torch"}
    desk.submit(job_id="whole", **body)
    # One look a step of the engine: every block is one step.
    work(desk, TorchEngine(clock=Clock(0.06)))
    desk.submit(job_id="j", **body)
    attempts = 0
    while desk.record().status is not Status.SUCCEEDED:
        attempts += 1
        engine, runner = Clock(0.06), Clock(0.3)
        act = drain(desk) if fate == "drained" or (fate == "both" and attempts % 2) else None
        # Every write is followed by a look, so the attempts move on by some blocks each.
        engine.at(60, act or (lambda: give_up(desk)))
        work(desk, TorchEngine(clock=engine), clock=runner)

    assert attempts >= 2
    assert end_of(desk.record()) == end_of(desk.record("whole"))
    assert histories(desk, "j") == histories(desk, "whole")


class Losing(RunStore):
    """A store that lets the lease of the first attempt end just before the job's end is written."""

    def __init__(self, desk: TestDesk) -> None:
        super().__init__(desk.redis, desk.settings)
        self._desk = desk

    def finish(self, claim: Claim, **given: Any) -> None:
        if claim.attempt == 1:
            give_up(self._desk)
        super().finish(claim, **given)


@pytest.mark.parametrize(
    "body",
    [{"steps": 60, "stop": {"loss_below": None}}, {"stop": {"loss_below": 1e-3}}],
    ids=["all-steps", "early"],
)
@pytest.mark.parametrize("rows_a_write", [5, recorder_module.ROWS_A_WRITE])
def test_job_lost_between_its_last_row_and_its_end_makes_no_further_step(
    desk: TestDesk, monkeypatch: pytest.MonkeyPatch, body: dict[str, Any], rows_a_write: int
) -> None:
    # More rows than go with the end are written before it.
    monkeypatch.setattr(recorder_module, "ROWS_A_WRITE", rows_a_write)
    body = {**body, "lr": 0.1, "engine": "torch"}
    desk.submit(job_id="whole", **body)
    # A block a step.
    work(desk, TorchEngine(clock=Clock(1.0)))
    desk.submit(job_id="j", **body)

    usual, desk.runs = desk.runs, Losing(desk)
    work(desk, TorchEngine(clock=Clock(1.0)))
    desk.runs = usual
    assert desk.record().status is Status.QUEUED
    work(desk, TorchEngine(clock=Clock(1.0)))

    assert end_of(desk.record()) == end_of(desk.record("whole"))
    assert histories(desk, "j") == histories(desk, "whole")
    assert desk.record().attempt == 2


def give_up(desk: TestDesk) -> None:
    """Let the lease end, and the job go back to the queue."""
    assert desk.redis.zadd("{fit}:leases", {"j": 1}, xx=True, ch=True) == 1
    assert desk.recovery.round().requeued == 1


def test_drained_job_goes_on_at_the_next_block(
    desk: TestDesk, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    desk.submit()
    first = ScriptedRun(num_blocks=9, between=lambda n: n == 3 and drain(desk)())
    work(desk, ScriptedEngine(runs=[first]))
    played: list[int] = []
    work(desk, ScriptedEngine(runs=[ScriptedRun(num_blocks=9, between=played.append)]))
    record = desk.record()

    assert played == [4, 5, 6, 7, 8]
    assert (record.status, record.attempt) == (Status.SUCCEEDED, 1)
    assert list(desk.history().step) == list(range(91))
    assert "job.resumed" in caplog.messages


def test_lost_job_goes_on_at_its_last_checkpoint(desk: TestDesk) -> None:
    desk.submit()
    # A look before and after every block, so each is recorded, and there is one checkpoint or more.
    lost = ScriptedRun(num_blocks=99, between=lambda n: n == 7 and give_up(desk))
    work(desk, ScriptedEngine(runs=[lost]), clock=Clock(0.2))
    progress = desk.record().progress
    played: list[int] = []
    work(desk, ScriptedEngine(runs=[ScriptedRun(num_blocks=9, between=played.append)]))

    assert progress is not None
    assert 0 < played[0] <= 7
    assert played[-1] == 8
    assert desk.record().attempt == 2
    assert list(desk.history().step) == list(range(91))


def test_comparison_goes_on_in_its_second_run(desk: TestDesk) -> None:
    desk.submit(**COMPARISON)
    runs = [
        ScriptedRun(label="x", num_blocks=2),
        ScriptedRun(label="y", num_blocks=6, between=lambda n: n == 2 and drain(desk)()),
        ScriptedRun(label="z"),
    ]
    work(desk, ScriptedEngine(runs=runs))
    played: list[tuple[str, int]] = []

    def listen(label: str) -> Callable[[int], object]:
        return lambda number: played.append((label, number))

    again = [
        ScriptedRun(label=label, num_blocks=number, between=listen(label))
        for label, number in (("x", 2), ("y", 6), ("z", 3))
    ]
    work(desk, ScriptedEngine(runs=again))
    outcome = desk.record().outcome

    assert played == [("y", 3), ("y", 4), ("y", 5), ("z", 0), ("z", 1), ("z", 2)]
    assert outcome is not None
    assert [(run.label, run.steps) for run in outcome.runs] == [("x", 20), ("y", 60), ("z", 30)]
    assert [len(desk.history(run=run)) for run in range(3)] == [21, 61, 31]


def test_run_that_has_ended_is_not_repeated(desk: TestDesk) -> None:
    desk.submit(**COMPARISON)
    runs = [ScriptedRun(label="x"), ScriptedRun(label="y", between=lambda _: give_up(desk))]
    work(desk, ScriptedEngine(runs=[*runs, ScriptedRun(label="z")]))
    played: list[int] = []
    again = [ScriptedRun(label="x", between=played.append), ScriptedRun(label="y")]
    work(desk, ScriptedEngine(runs=[*again, ScriptedRun(label="z")]))
    outcome = desk.record().outcome

    assert played == []
    assert outcome is not None
    assert [run.label for run in outcome.runs] == ["x", "y", "z"]


def test_time_of_the_attempt_before_counts(desk: TestDesk) -> None:
    desk.submit(timeout_seconds=5)
    clock = Clock(0.0)

    def pass_a_second(number: int) -> None:
        clock.now += 1
        if number == 3:
            drain(desk)()

    run = {"num_blocks": 100, "between": pass_a_second}
    work(desk, ScriptedEngine(runs=[ScriptedRun(**run)]), clock=clock)
    clock.now += 1000  # in the queue
    work(desk, ScriptedEngine(runs=[ScriptedRun(**run)]), clock=clock)
    record = desk.record()

    assert record.error is not None
    assert record.error.step == 60
    assert record.error.type == "time-limit-exceeded"


@pytest.mark.parametrize(
    "change",
    [{"state": b"gibberish"}, {"run": 5}, {"results": b"[{}]"}],
    ids=["state", "run", "results"],
)
def test_attempt_that_cannot_go_on_starts_over_and_says_so(
    desk: TestDesk, caplog: pytest.LogCaptureFixture, change: dict[str, Any]
) -> None:
    desk.submit()
    work(desk, ScriptedEngine(runs=[ScriptedRun(num_blocks=9, between=lambda _: drain(desk)())]))
    desk.redis.hset("{fit}:job:j:checkpoint", mapping=change)
    work(desk, ScriptedEngine(runs=[ScriptedRun(num_blocks=4)]))
    record = desk.record()

    assert record.status is Status.SUCCEEDED
    assert list(desk.history().step) == list(range(41))
    assert record.engine is not None
    assert record.engine.reason.startswith("a test; started over, because the checkpoint is ")
    assert "job.starts_over" in caplog.messages


def test_state_that_is_too_large_is_told_and_not_kept(
    desk: TestDesk, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ScriptedRun, "snapshot", lambda _: None)
    desk.submit()
    work(desk, ScriptedEngine(runs=[ScriptedRun(num_blocks=9, between=lambda _: drain(desk)())]))
    claim = desk.runs.claim("cpu", worker="w1", device="cpu")

    assert claim is not None
    assert claim.checkpoint is None
    assert "job.checkpoint_too_large" in caplog.messages


def test_checkpoint_says_how_much_time_was_used(desk: TestDesk) -> None:
    desk.submit()
    clock = Clock(0.0)

    def pass_a_second(_: int) -> None:
        clock.now += 1
        drain(desk)()

    work(desk, ScriptedEngine(runs=[ScriptedRun(between=pass_a_second)]), clock=clock)
    claim = desk.runs.claim("cpu", worker="w1", device="cpu")

    assert claim is not None
    assert claim.checkpoint == Checkpoint(run=0, step=10, state=b"10", seconds=1.0)
