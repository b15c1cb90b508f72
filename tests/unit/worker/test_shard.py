"""A job of many runs by scripted workers on the real store: split, compute, assemble."""

from collections.abc import Callable
from itertools import pairwise

import pytest
from redis import Redis

from app.domain.data import Columns, store_columns
from app.domain.errors import EngineFault, JobErrorType
from app.domain.job import JobRecord, Status
from app.domain.run_records import never_made
from app.settings import Settings
from app.store.claim import Claim
from app.store.runs import RunStore
from tests.store.conftest import find_leaks
from tests.store.samples import make_sweep, records_of
from tests.unit.worker.desk import Clock, TestDesk
from tests.unit.worker.scripted import EXACT, ScriptedMany
from worker.runner import Runner

NUM_RUNS = 1_000
NUM_SHARDS = 16
SMALL = make_sweep(50)
LARGE = make_sweep(NUM_RUNS)


class NotingStore(RunStore):
    """Notes the points of every claim."""

    def __init__(self, redis: Redis, settings: Settings) -> None:
        super().__init__(redis, settings)
        self.seen: list[object] = []

    def claim(
        self, queue: str, *, worker: str, device: str, in_hand: JobRecord | None = None
    ) -> Claim | None:
        found = super().claim(queue, worker=worker, device=device, in_hand=in_hand)
        self.seen.append(found and found.columns)
        return found


def work_all(runner: Runner) -> int:
    """Work until nothing is ready; return how many claims that took."""
    claims = 0
    while runner.work("cpu", worker="w1") is not None:
        claims += 1
        assert claims < 100
    return claims


def all_records(desk: TestDesk, count: int = NUM_RUNS) -> bytes:
    return desk.ask(lambda store: store.records("j", 0, count + 10))


def nothing_is_left(desk: TestDesk) -> bool:
    prefix = "{fit}:"
    places = ("ready:cpu", "waiting", "leases", "deadlines")
    shards = list(desk.redis.scan_iter(f"{prefix}job:j/*"))
    return not shards and not any(desk.redis.exists(f"{prefix}{place}") for place in places)


def at(run: int, number: int, act: Callable[[], object]) -> Callable[[int, int], object]:
    """Act before block `number` of the slice that begins at `run`."""
    return lambda first, block: act() if (first, block) == (run, number) else None


def test_small_job_is_computed_by_the_attempt_that_claims_it(desk: TestDesk) -> None:
    desk.put(SMALL)
    engine = ScriptedMany()

    assert work_all(desk.make_runner(engine)) == 1
    record = desk.record()
    assert record.status is Status.SUCCEEDED
    assert record.attempt == 1
    assert record.outcome is not None
    assert record.outcome.sweep is not None
    assert (record.outcome.exact, record.outcome.sweep.done) == (EXACT, 50)
    assert record.engine is not None
    assert record.progress is not None
    assert (record.progress.run, record.progress.fraction) == (50, 1.0)
    assert all_records(desk, 50) == records_of(range(50))
    assert list(desk.ask(lambda store: store.order("j", "a", 0, 3))) == [49, 48, 47]
    assert desk.types()[-1] == "job.succeeded"
    assert nothing_is_left(desk)


def test_large_job_is_split_computed_and_assembled(desk: TestDesk) -> None:
    desk.put(LARGE)
    engine = ScriptedMany()

    assert work_all(desk.make_runner(engine)) == 1 + NUM_SHARDS + 1
    record = desk.record()
    assert (record.status, record.attempt) == (Status.SUCCEEDED, 1)
    assert record.outcome is not None
    assert record.outcome.sweep is not None
    assert record.outcome.sweep.done == NUM_RUNS
    assert record.engine is not None
    assert (record.device.used, record.device.worker) == ("cpu", "w1")
    assert [run for part in engine.slices for run in part] == list(range(NUM_RUNS))
    assert engine.prepared == 1
    assert engine.summed == [records_of(range(NUM_RUNS))]
    assert all_records(desk) == records_of(range(NUM_RUNS))
    assert desk.ask(lambda store: store.records_at("j", [999, 0])) == [
        records_of([999]),
        records_of([0]),
    ]
    assert list(desk.ask(lambda store: store.order("j", "a", 998, 10))) == [1, 0]
    kinds = set(desk.types())
    assert kinds == {"job.queued", "job.started", "job.progress", "job.succeeded"}
    assert nothing_is_left(desk)


def test_records_can_be_read_while_others_are_computed(desk: TestDesk) -> None:
    desk.put(LARGE)
    runner = desk.make_runner(ScriptedMany())
    for _ in range(2):
        runner.work("cpu", worker="w1")

    found = all_records(desk)

    first = 62
    rest = never_made(NUM_RUNS - first, is_batch=False)
    assert found == records_of(range(first)) + rest
    assert desk.record().status is Status.RUNNING


def test_progress_of_a_split_job_rises_and_is_told(desk: TestDesk) -> None:
    desk.put(LARGE)
    clock = Clock()

    def pass_time(_first: int, _number: int) -> None:
        clock.now += 1
        # The store tells four times a second at most.
        desk.redis.hdel("{fit}:job:j", "told_at_ms")

    work_all(desk.make_runner(ScriptedMany(between=pass_time), clock=clock))
    told = [event.data for event in desk.events() if event.type == "job.progress"]
    fractions = [data["fraction"] for data in told]

    assert len(fractions) > NUM_SHARDS
    assert fractions == sorted(fractions)
    assert [data["run"] for data in told] == sorted(data["run"] for data in told)
    assert desk.record().progress is not None


def test_progress_is_not_told_at_every_shard(desk: TestDesk) -> None:
    desk.put(make_sweep(64 * 90))
    work_all(desk.make_runner(ScriptedMany()))
    times = [event.at_ms for event in desk.events() if event.type == "job.progress"]

    assert all(later - sooner >= 250 for sooner, later in pairwise(times))


def test_cancel_drops_what_waits_and_keeps_the_runs_that_are_done(desk: TestDesk) -> None:
    desk.put(LARGE)
    engine = ScriptedMany(between=at(62, 1, desk.cancel))

    # Split, a shard, the cancelled one, the assembly.
    assert work_all(desk.make_runner(engine)) == 4
    record = desk.record()
    assert record.status is Status.CANCELLED
    assert record.outcome is not None
    assert record.outcome.sweep is not None
    assert record.outcome.sweep.done == 62
    assert all_records(desk)[: 62 * 52] == records_of(range(62))
    assert desk.types()[-1] == "job.cancelled"
    assert nothing_is_left(desk)


def test_cancel_of_a_small_job_leaves_no_run(desk: TestDesk) -> None:
    desk.put(SMALL)
    work_all(desk.make_runner(ScriptedMany(between=at(0, 1, desk.cancel))))
    record = desk.record()

    assert record.status is Status.CANCELLED
    assert record.outcome is not None
    assert record.outcome.sweep is not None
    assert record.outcome.sweep.done == 0
    assert all_records(desk, 50) == never_made(50, is_batch=False)


def test_cancel_between_claim_and_split_opens_no_shard(desk: TestDesk) -> None:
    desk.put(LARGE)

    class Cancelling(ScriptedMany):
        def prepare_many(self, spec: object, **given: object) -> ScriptedMany:
            desk.cancel()
            return super().prepare_many(spec, **given)  # type: ignore[arg-type]

    engine = Cancelling()

    assert work_all(desk.make_runner(engine)) == 2
    assert desk.record().status is Status.CANCELLED
    assert engine.slices == []
    assert nothing_is_left(desk)


@pytest.mark.parametrize("breaths", [0, 1])
def test_drained_worker_hands_its_shard_back(desk: TestDesk, breaths: int) -> None:
    desk.put(LARGE)
    clock = Clock()

    def drain() -> None:
        desk.is_draining = True
        clock.now += 1

    engine = ScriptedMany(between=at(62, 1, drain), breaths=breaths)
    runner = desk.make_runner(engine, clock=clock)
    for _ in range(3):
        runner.work("cpu", worker="w1")

    assert desk.redis.hget("{fit}:job:j/1", "status") == b"queued"
    assert desk.redis.hget("{fit}:job:j/1", "attempt") == b"0"
    assert desk.record().status is Status.RUNNING
    desk.is_draining = False
    work_all(desk.make_runner(ScriptedMany()))
    assert all_records(desk) == records_of(range(NUM_RUNS))
    assert "job.requeued" not in desk.types()


def test_shard_without_its_lease_writes_nothing(desk: TestDesk) -> None:
    desk.put(LARGE)

    def take_over() -> None:
        desk.redis.zadd("{fit}:leases", {"j/1": 1}, xx=True)
        assert desk.recovery.round().requeued == 1
        assert desk.runs.claim("cpu", worker="w2", device="cpu") is not None

    engine = ScriptedMany(between=at(62, 1, take_over))
    runner = desk.make_runner(engine)
    for _ in range(3):
        runner.work("cpu", worker="w1")

    assert desk.redis.getbit("{fit}:job:j:done", 1) == 0
    assert desk.redis.hget("{fit}:job:j/1", "attempt") == b"2"


@pytest.mark.parametrize(
    ("fault", "error_type"),
    [
        (EngineFault("no such GPU", error_type=JobErrorType.DEVICE_ERROR), "device-error"),
        (MemoryError(), "out-of-memory"),
        (ZeroDivisionError("a fault of ours"), "internal"),
    ],
    ids=["fault", "memory", "crash"],
)
@pytest.mark.parametrize("run", [0, 62])
def test_shard_that_fails_fails_its_job_with_what_was_made(
    desk: TestDesk, fault: Exception, error_type: str, run: int
) -> None:
    desk.put(LARGE)

    def fail() -> None:
        raise fault

    work_all(desk.make_runner(ScriptedMany(between=at(run, 1, fail))))
    record = desk.record()

    assert record.status is Status.FAILED
    assert record.error is not None
    assert record.error.type == error_type
    assert record.outcome is not None
    assert record.outcome.sweep is not None
    assert record.outcome.sweep.done == run
    assert desk.types()[-1] == "job.failed"
    assert nothing_is_left(desk)


@pytest.mark.parametrize("spec", [SMALL, LARGE], ids=["small", "large"])
def test_engine_that_cannot_prepare_fails_the_job(desk: TestDesk, spec: object) -> None:
    desk.put(spec)  # type: ignore[arg-type]  # one of two sweeps
    work_all(desk.make_runner(ScriptedMany(fault=MemoryError())))
    record = desk.record()

    assert record.status is Status.FAILED
    assert record.outcome is None
    assert nothing_is_left(desk)


def test_sum_that_fails_fails_the_job(desk: TestDesk) -> None:
    desk.put(LARGE)
    work_all(desk.make_runner(ScriptedMany(sum_fault=ZeroDivisionError())))
    record = desk.record()

    assert record.error is not None
    assert record.error.type is JobErrorType.INTERNAL
    assert all_records(desk) == records_of(range(NUM_RUNS))


@pytest.mark.parametrize("spec", [SMALL, LARGE], ids=["small", "large"])
def test_job_without_a_finite_line_has_diverged(desk: TestDesk, spec: object) -> None:
    desk.put(spec)  # type: ignore[arg-type]  # one of two sweeps
    work_all(desk.make_runner(ScriptedMany(has_line=False)))
    record = desk.record()

    assert record.error is not None
    assert record.error.type is JobErrorType.DIVERGED
    assert record.outcome is not None


def test_time_limit_of_a_small_job_ends_it(desk: TestDesk) -> None:
    desk.put(make_sweep(50, timeout_seconds=2))
    clock = Clock()

    def pass_a_second(_first: int, _number: int) -> None:
        clock.now += 1

    work_all(desk.make_runner(ScriptedMany(between=pass_a_second), clock=clock))
    record = desk.record()

    assert record.error is not None
    assert record.error.type is JobErrorType.TIME_LIMIT_EXCEEDED
    assert record.error.detail == (
        "Not all of the 50 runs were made when timeout_seconds (2) were over"
    )


def test_points_are_sent_once_to_a_worker_that_keeps_them(desk: TestDesk) -> None:
    columns = Columns(x=[1.0, 2.0, 3.0], y=[1.0, 2.0, 3.0])
    stored, raw = store_columns(columns)
    desk.put(make_sweep(NUM_RUNS, data=stored), points=raw)
    noting = desk.runs = NotingStore(desk.redis, desk.settings)
    work_all(desk.make_runner(ScriptedMany()))
    seen = noting.seen

    assert seen[0] == columns
    assert seen[1:] == [None] * (NUM_SHARDS + 2)


def test_another_worker_gets_the_points_too(desk: TestDesk) -> None:
    columns = Columns(x=[1.0, 2.0, 3.0], y=[1.0, 2.0, 3.0])
    stored, raw = store_columns(columns)
    desk.put(make_sweep(NUM_RUNS, data=stored), points=raw)
    engines = [ScriptedMany(), ScriptedMany()]
    runners = [desk.make_runner(engine) for engine in engines]
    for runner in runners:
        runner.work("cpu", worker="w1")
    work_all(runners[1])

    assert [engine.columns for engine in engines] == [columns, columns]
    assert engines[1].prepared == 1


def test_one_shard_follows_another_while_a_small_fit_goes_between(desk: TestDesk) -> None:
    desk.put(LARGE)
    engine = ScriptedMany()
    runner = desk.make_runner(engine)
    runner.work("cpu", worker="w1")
    desk.put(SMALL, job_id="small")
    ended = 0
    while desk.record("small").status is not Status.SUCCEEDED:
        runner.work("cpu", worker="w1")
        ended += 1

    # The window of shards that was open when it came, and itself.
    assert ended == 5


def test_everything_of_a_split_job_dies_with_it(desk: TestDesk) -> None:
    desk.put(LARGE)
    work_all(desk.make_runner(ScriptedMany()))

    assert find_leaks(desk.redis) == []
    desk.ask(lambda store: store.delete("j"))
    assert list(desk.redis.scan_iter("{fit}:job:j*")) == []


def test_other_workers_are_woken_for_the_first_shards(desk: TestDesk) -> None:
    desk.put(LARGE)
    runner = desk.make_runner(ScriptedMany(), make_wake_up=lambda queue: f"wake {queue}".encode())
    runner.work("cpu", worker="w1")

    assert desk.redis.lrange("{fit}:celery:cpu", 0, -1) == [b"wake cpu"] * 4
    desk.redis.delete("{fit}:celery:cpu")
