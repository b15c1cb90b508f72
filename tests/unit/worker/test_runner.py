"""One attempt at a job, driven by a scripted engine against the real store."""

import logging
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from app.domain.errors import EngineFault, JobErrorType, StoreUnavailable
from app.domain.job import JobRecord, Status
from app.domain.result import StopReason
from app.settings import Settings
from app.store import server
from tests.unit.worker.desk import TestDesk
from tests.unit.worker.scripted import EXACT, PROBLEM, ScriptedEngine, ScriptedRun
from tests.waiting import wait_until
from worker import outage as outage_module

COMPARISON = {"kind": "comparison", "optimizers": ["adam", "sgd", "adagrad"]}


def at(number: int, act: Callable[[], object]) -> Callable[[int], object]:
    """Act before block `number`, once."""
    return lambda block: act() if block == number else None


def play(**given: object) -> ScriptedEngine:
    return ScriptedEngine(runs=[ScriptedRun(**given)])  # type: ignore[arg-type]  # a script's fields


def error_of(record: JobRecord) -> tuple[JobErrorType, bool]:
    assert record.status is Status.FAILED
    assert record.error is not None
    return record.error.type, record.error.retryable


def test_runner_finds_nothing_to_do(desk: TestDesk) -> None:
    assert desk.work(play()) is None


def test_job_that_stops_by_itself_succeeds(desk: TestDesk) -> None:
    desk.submit()

    assert desk.work(play()) == "j"
    record = desk.record()
    assert record.status is Status.SUCCEEDED
    assert record.error is None
    assert record.outcome is not None
    assert (record.outcome.exact, record.outcome.problem) == (EXACT, PROBLEM)
    assert [run.stop_reason for run in record.outcome.runs] == [StopReason.MAX_STEPS]
    assert (record.outcome.ranking, record.outcome.winner) == (None, None)
    assert list(desk.history().step) == list(range(31))
    assert desk.types()[0] == "job.queued"
    assert desk.types()[-1] == "job.succeeded"


def test_short_job_writes_twice_its_claim_and_its_end(desk: TestDesk) -> None:
    desk.submit(job_id="first")
    desk.work(play())  # loads the scripts
    desk.submit()
    desk.redis.config_resetstat()
    desk.work(play(num_blocks=1))
    calls = desk.redis.info("commandstats")["cmdstat_evalsha"]["calls"]

    assert calls == 2
    assert desk.record().engine is not None
    assert len(desk.history()) > 0


def test_job_says_where_and_how_it_runs(desk: TestDesk) -> None:
    desk.submit()
    desk.work(play())
    record = desk.record()

    assert record.engine is not None
    assert record.engine.name == "scripted"
    assert (record.device.used, record.device.worker) == ("cpu", "w1")
    assert record.device.reason == "a test"


def test_worker_tells_which_job_is_in_hand(desk: TestDesk) -> None:
    desk.submit()
    desk.work(play())

    assert desk.told == ["j", None]


@pytest.mark.parametrize(
    ("asked", "queue", "device"),
    [
        ("cpu", "cpu", "cpu"),
        ("auto", "cpu", "cpu"),
        ("auto", "cuda", "cuda"),
        ("cuda", "cuda", "cuda"),
        ("cuda:1", "cuda", "cuda:1"),
        ("cuda", "cpu", "cpu"),
    ],
)
def test_engine_gets_the_device_that_the_job_was_routed_to(
    desk: TestDesk, asked: str, queue: str, device: str
) -> None:
    desk.submit(device=asked, queue=queue)
    engine = play()
    desk.work(engine, queue=queue)

    assert engine.device == device


def test_diverged_fit_fails_and_keeps_its_outcome(desk: TestDesk) -> None:
    desk.submit()
    desk.work(play(reason=StopReason.DIVERGED))
    record = desk.record()

    assert error_of(record) == (JobErrorType.DIVERGED, False)
    assert record.error is not None
    assert record.error.detail == (
        "Adam at lr 0.1 diverged: the loss was no longer a finite number at step 30"
    )
    assert record.error.step == 30
    assert record.outcome is not None
    assert record.outcome.runs[0].a is None
    assert record.progress is not None
    assert (record.progress.loss, record.progress.a) == (None, None)
    assert len(desk.history()) == 31


def test_cancel_is_obeyed_between_two_blocks(desk: TestDesk) -> None:
    desk.submit()
    run = ScriptedRun(num_blocks=100, between=at(2, desk.cancel))
    desk.work(ScriptedEngine(runs=[run]))
    record = desk.record()

    assert record.status is Status.CANCELLED
    assert record.error is None
    assert record.outcome is not None
    assert record.outcome.runs[0].stop_reason is StopReason.CANCELLED
    assert run.made == 30
    assert list(desk.history().step) == list(range(31))


def test_time_limit_ends_the_job_with_what_it_has(desk: TestDesk) -> None:
    desk.submit(timeout_seconds=5)
    now = [0.0]

    def pass_a_second(_: int) -> None:
        now[0] += 1

    run = ScriptedRun(num_blocks=100, between=pass_a_second)
    desk.work(ScriptedEngine(runs=[run]), clock=lambda: now[0])
    record = desk.record()

    assert error_of(record) == (JobErrorType.TIME_LIMIT_EXCEEDED, True)
    assert record.error is not None
    assert record.error.detail == (
        "Adam had made 60 of 100 steps when timeout_seconds (5) were over"
    )
    assert record.outcome is not None
    assert record.outcome.runs[0].a == 1.0


def test_drained_worker_hands_the_job_back(desk: TestDesk) -> None:
    desk.submit()
    run = ScriptedRun(num_blocks=100, between=at(1, lambda: setattr(desk, "is_draining", True)))
    desk.work(ScriptedEngine(runs=[run]))
    record = desk.record()

    assert (record.status, record.attempt) == (Status.QUEUED, 0)
    assert desk.types()[-1] == "job.requeued"
    assert run.made == 20


def test_job_handed_back_runs_again(desk: TestDesk) -> None:
    desk.submit()
    desk.work(play(num_blocks=9, between=at(1, lambda: setattr(desk, "is_draining", True))))
    desk.is_draining = False
    desk.work(play())

    assert desk.record().status is Status.SUCCEEDED
    assert list(desk.history().step) == list(range(31))


def test_run_that_has_ended_is_kept_even_while_draining(desk: TestDesk) -> None:
    desk.submit()
    desk.work(play(between=at(2, lambda: setattr(desk, "is_draining", True))))

    assert desk.record().status is Status.SUCCEEDED


def test_attempt_without_its_lease_writes_nothing(desk: TestDesk) -> None:
    desk.submit()
    desk.work(play(between=at(1, desk.take_over)))
    record = desk.record()

    assert (record.status, record.attempt) == (Status.RUNNING, 2)
    assert record.outcome is None
    assert "job.succeeded" not in desk.types()


def test_lease_lost_in_the_last_block_writes_nothing(desk: TestDesk) -> None:
    desk.submit()
    desk.work(play(between=at(2, desk.take_over)))

    assert desk.record().status is Status.RUNNING


def test_lost_lease_is_heard_of_by_the_heartbeat(
    redis_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, logger="worker.lease")
    settings = Settings.model_construct(heartbeat_seconds=0.01)
    with TestDesk(redis_url, settings) as desk:
        desk.submit()

        def lose_it() -> None:
            desk.take_over()
            wait_until(lambda: "lease.lost" in caplog.messages, "the heartbeat saw the loss")

        run = ScriptedRun(num_blocks=9, between=at(1, lose_it))
        desk.work(ScriptedEngine(runs=[run]))

        assert run.made == 20
        assert desk.record().attempt == 2


def test_drained_worker_without_its_lease_lets_go(desk: TestDesk) -> None:
    desk.submit()

    def lose_and_drain() -> None:
        desk.take_over()
        desk.is_draining = True

    desk.work(play(num_blocks=9, between=at(1, lose_and_drain)))

    assert (desk.record().status, desk.record().attempt) == (Status.RUNNING, 2)


@pytest.mark.parametrize(
    ("fault", "error_type", "is_retryable"),
    [
        (
            EngineFault("no such GPU", error_type=JobErrorType.DEVICE_ERROR),
            JobErrorType.DEVICE_ERROR,
            False,
        ),
        (MemoryError(), JobErrorType.OUT_OF_MEMORY, True),
        (ZeroDivisionError("a fault of ours"), JobErrorType.INTERNAL, True),
    ],
    ids=["fault", "memory", "crash"],
)
def test_engine_that_cannot_prepare_fails_the_job(
    desk: TestDesk, fault: Exception, error_type: JobErrorType, *, is_retryable: bool
) -> None:
    desk.submit()
    desk.work(ScriptedEngine(fault=fault))
    record = desk.record()

    assert error_of(record) == (error_type, is_retryable)
    assert record.outcome is None
    assert record.error is not None
    assert "a fault of ours" not in record.error.detail


def test_crash_in_a_block_keeps_the_history_before_it(
    desk: TestDesk, caplog: pytest.LogCaptureFixture
) -> None:
    desk.submit()

    def crash() -> None:
        raise ZeroDivisionError

    desk.work(play(between=at(2, crash)))
    record = desk.record()

    assert error_of(record) == (JobErrorType.INTERNAL, True)
    assert record.outcome is not None
    assert record.outcome.exact == EXACT
    assert list(desk.history().step) == list(range(21))
    assert "job.crashed" in caplog.messages


def test_engine_without_a_reason_is_a_fault_of_ours(desk: TestDesk) -> None:
    desk.submit()
    desk.work(play(reason=None))

    assert error_of(desk.record())[0] is JobErrorType.INTERNAL


def test_comparison_ranks_its_runs(desk: TestDesk) -> None:
    desk.submit(**COMPARISON)
    runs = [
        ScriptedRun(label=label, num_blocks=n) for label, n in zip("xyz", (2, 4, 3), strict=True)
    ]
    desk.work(ScriptedEngine(runs=runs))
    record = desk.record()

    assert record.status is Status.SUCCEEDED
    assert record.outcome is not None
    assert [run.label for run in record.outcome.runs] == ["x", "y", "z"]
    assert record.outcome.ranking == (1, 2, 0)
    assert record.outcome.winner is not None
    assert record.outcome.winner.label == "y"
    assert [len(desk.history(run=run)) for run in range(3)] == [21, 41, 31]


def test_comparison_in_which_one_run_diverges_succeeds(desk: TestDesk) -> None:
    desk.submit(**COMPARISON)
    reasons = [StopReason.MAX_STEPS, StopReason.DIVERGED, StopReason.LOSS_BELOW]
    desk.work(ScriptedEngine(runs=[ScriptedRun(label=str(r), reason=r) for r in reasons]))
    record = desk.record()

    assert record.status is Status.SUCCEEDED
    assert record.outcome is not None
    assert [run.stop_reason for run in record.outcome.runs] == reasons


def test_comparison_in_which_all_runs_diverge_fails(desk: TestDesk) -> None:
    desk.submit(**COMPARISON)
    desk.work(ScriptedEngine(runs=[ScriptedRun(reason=StopReason.DIVERGED) for _ in range(3)]))
    record = desk.record()

    assert error_of(record) == (JobErrorType.DIVERGED, False)
    assert record.outcome is not None
    assert record.outcome.winner is None


def test_cancelled_comparison_keeps_the_runs_that_it_made(desk: TestDesk) -> None:
    desk.submit(**COMPARISON)
    runs = [ScriptedRun(label="x"), ScriptedRun(label="y", between=at(0, desk.cancel))]
    desk.work(ScriptedEngine(runs=[*runs, ScriptedRun(label="z")]))
    record = desk.record()

    assert record.status is Status.CANCELLED
    assert record.outcome is not None
    assert [run.label for run in record.outcome.runs] == ["x", "y"]


def test_progress_of_several_runs_rises_to_one(desk: TestDesk) -> None:
    desk.submit(**COMPARISON)
    fractions: list[float] = []
    now = [0.0]

    def look(_: int) -> None:
        # Every block is recorded.
        now[0] += 1
        progress = desk.record().progress
        fractions.append(progress.fraction if progress else 0.0)

    runs = [
        ScriptedRun(label=label, num_blocks=n, between=look)
        for label, n in zip("xyz", (4, 10, 7), strict=True)
    ]
    desk.work(ScriptedEngine(runs=runs), clock=lambda: now[0])
    progress = desk.record().progress

    assert fractions == sorted(fractions)
    assert len(set(fractions)) == len(fractions)
    assert progress is not None
    assert (progress.fraction, progress.run, progress.step) == (1.0, 2, 70)


class Outage:
    """A Redis of one test alone, which can go away and come back with what it held."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._server = server.start(directory)
        self.url = self._server.url

    def begin(self) -> None:
        self._server.stop()

    def end(self) -> None:
        self._server = server.start(self._directory)
        assert self._server.url == self.url


@pytest.fixture
def outage(tmp_path: Path) -> Iterator[Outage]:
    made = Outage(tmp_path)
    yield made
    made.begin()


def test_outage_of_redis_delays_a_job_and_loses_nothing(
    outage: Outage, settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    def end_when_felt() -> None:
        wait_until(lambda: "store.away" in caplog.messages, "the runner met the outage")
        outage.end()

    with TestDesk(outage.url, settings) as desk:
        desk.submit()
        rescue = threading.Thread(target=end_when_felt)
        rescue.start()
        # Away from the second block on, so rows, result and end all have to wait.
        desk.work(play(num_blocks=6, between=at(1, outage.begin)))
        rescue.join()

        assert desk.record().status is Status.SUCCEEDED
        assert list(desk.history().step) == list(range(61))
        assert caplog.messages.count("store.away") == 1


def test_drained_worker_does_not_wait_for_redis_for_ever(
    outage: Outage,
    settings: Settings,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(outage_module, "DRAIN_SECONDS", 0.3)
    caplog.set_level(logging.WARNING)
    with TestDesk(outage.url, settings) as desk:
        desk.submit()

        def lose_all() -> None:
            outage.begin()
            desk.is_draining = True

        desk.work(play(num_blocks=9, between=at(1, lose_all)))
        outage.end()

        assert "job.left_behind" in caplog.messages
        assert desk.record().status is Status.RUNNING


def test_claim_without_redis_is_told_to_the_caller(outage: Outage, settings: Settings) -> None:
    with TestDesk(outage.url, settings) as desk:
        outage.begin()
        with pytest.raises(StoreUnavailable):
            desk.work(play())
        outage.end()
