"""The recorder writes seldom, in time, and never drops a row."""

from itertools import pairwise
from typing import Any

import pytest

from app.domain.errors import LeaseLost, StoreUnavailable
from app.domain.events import EventType
from app.domain.job import Progress
from app.domain.result import DeviceUsed, EngineUsed
from app.store.checkpoint import Checkpoint
from app.store.claim import Description
from app.store.runs import RunStore
from tests.unit.worker.desk import Clock, TestDesk
from tests.unit.worker.scripted import rows_between
from worker import recorder as recorder_module
from worker.outage import Outage
from worker.pulse import Pulse
from worker.recorder import CHECKPOINT_SECONDS, FIRST_RECORD_SECONDS, RECORD_SECONDS, Last, Recorder


@pytest.fixture
def clock() -> Clock:
    return Clock()


def make_outage(clock: Clock) -> Outage:
    return Outage(is_draining=lambda: False, pulse=Pulse(), clock=clock)


@pytest.fixture
def recorder(desk: TestDesk, clock: Clock) -> Recorder:
    desk.submit()
    claim = desk.runs.claim("cpu", worker="w1", device="cpu")
    assert claim is not None
    return Recorder(desk.runs, claim, outage=make_outage(clock), clock=clock)


def progress_at(step: int, *, run: int = 0) -> Progress:
    return Progress(run=run, step=step, steps=100, fraction=0.5)


def add(recorder: Recorder, first: int, stop: int, *, run: int = 0) -> None:
    recorder.add(rows_between(first, stop), progress=progress_at(stop - 1, run=run))


def steps_of_progress(desk: TestDesk) -> list[int]:
    return [event.data["step"] for event in desk.events() if event.type is EventType.PROGRESS]


def test_first_progress_comes_early_then_ever_later(
    desk: TestDesk, clock: Clock, recorder: Recorder
) -> None:
    for millisecond in range(2000):
        clock.now = 100 + millisecond / 1000
        recorder.add(rows_between(0, 0), progress=progress_at(millisecond))
    times = steps_of_progress(desk)
    gaps = [later - earlier for earlier, later in pairwise([0, *times])]

    assert gaps[:4] == pytest.approx([30, 60, 120, 240], abs=2)
    assert gaps[4:] == pytest.approx([1000 * RECORD_SECONDS] * len(gaps[4:]), abs=2)
    assert len(times) == 10


def test_rows_wait_until_it_is_time(desk: TestDesk, clock: Clock, recorder: Recorder) -> None:
    add(recorder, 0, 5)
    assert len(desk.history()) == 0

    clock.now += FIRST_RECORD_SECONDS
    add(recorder, 5, 10)

    assert list(desk.history().step) == list(range(10))
    assert steps_of_progress(desk) == [9]


def test_flush_writes_what_waits_without_an_event(desk: TestDesk, recorder: Recorder) -> None:
    add(recorder, 0, 5)
    recorder.flush()
    recorder.flush()
    progress = desk.record().progress

    assert list(desk.history().step) == list(range(5))
    assert steps_of_progress(desk) == []
    assert progress is not None
    assert progress.step == 4


def test_flush_of_nothing_is_nothing(desk: TestDesk, recorder: Recorder) -> None:
    recorder.flush()

    assert desk.record().progress is None


def test_progress_without_rows_is_written_too(desk: TestDesk, recorder: Recorder) -> None:
    add(recorder, 0, 5)
    recorder.flush()
    recorder.add(rows_between(0, 0), progress=progress_at(50))
    recorder.flush()
    progress = desk.record().progress

    assert progress is not None
    assert progress.step == 50
    assert len(desk.history()) == 5


def test_runs_have_their_own_histories(desk: TestDesk, recorder: Recorder) -> None:
    add(recorder, 0, 5)
    recorder.flush()
    add(recorder, 0, 3, run=1)
    recorder.flush()

    assert [len(desk.history(run=run)) for run in (0, 1)] == [5, 3]


def test_backlog_is_written_in_pieces(
    desk: TestDesk, clock: Clock, recorder: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recorder_module, "ROWS_A_WRITE", 25)
    for first in range(0, 100, 10):
        add(recorder, first, first + 10)
    # A block that is larger than a piece goes alone.
    add(recorder, 100, 140)
    clock.now += 1
    add(recorder, 140, 150)

    assert list(desk.history().step) == list(range(150))
    assert desk.redis.xlen("{fit}:job:j:history:0") == 7
    assert steps_of_progress(desk) == [149]


class Snapshots:
    """Says where the recorder's caller stands, and counts how often it was asked."""

    def __init__(self) -> None:
        self.step = -1
        self.asked: list[int] = []

    def __call__(self) -> Checkpoint:
        self.asked.append(self.step)
        return Checkpoint(run=0, step=self.step, state=b"state")


def kept_step(desk: TestDesk) -> int | None:
    raw = desk.redis.hget("{fit}:job:j:checkpoint", "step")
    return None if raw is None else int(raw)


def test_checkpoint_is_made_each_second(desk: TestDesk, clock: Clock, recorder: Recorder) -> None:
    snapshots = Snapshots()
    for step in range(400):
        clock.now = 100 + step / 100
        snapshots.step = step
        recorder.add(rows_between(step, step + 1), progress=progress_at(step), snapshot=snapshots)
    gaps = [later - earlier for earlier, later in pairwise([0, *snapshots.asked])]

    assert len(gaps) == 3
    # Due after a second, and written with the next record.
    slowest = 100 * (CHECKPOINT_SECONDS + RECORD_SECONDS)
    assert all(100 * CHECKPOINT_SECONDS <= gap <= slowest + 1 for gap in gaps)
    assert kept_step(desk) == snapshots.asked[-1]


def test_flush_writes_the_checkpoint_that_it_is_given(desk: TestDesk, recorder: Recorder) -> None:
    snapshots = Snapshots()
    add(recorder, 0, 5)
    recorder.flush()
    assert kept_step(desk) is None
    snapshots.step = 4
    recorder.flush(snapshot=snapshots)

    assert kept_step(desk) == 4
    assert snapshots.asked == [4]
    assert list(desk.history().step) == list(range(5))


def test_checkpoint_goes_with_the_last_piece_of_a_backlog(
    desk: TestDesk, recorder: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recorder_module, "ROWS_A_WRITE", 25)
    snapshots = Snapshots()
    for first in range(0, 100, 10):
        add(recorder, first, first + 10)
    snapshots.step = 99
    recorder.flush(snapshot=snapshots)

    assert snapshots.asked == [99]
    assert kept_step(desk) == 99
    assert list(desk.history().step) == list(range(100))


def test_state_that_cannot_be_kept_costs_no_row(
    desk: TestDesk, clock: Clock, recorder: Recorder
) -> None:
    clock.now += 10
    recorder.add(rows_between(0, 5), progress=progress_at(4), snapshot=lambda: None)

    assert kept_step(desk) is None
    assert list(desk.history().step) == list(range(5))


class Flaky(RunStore):
    """A store whose record fails as an absent Redis makes it fail; `is_written` loses the answer.

    Args:
        desk: Whose Redis.
        clock: Moved on by `hang_seconds` with every failure.
        is_written: Whether the rows arrive all the same.
    """

    def __init__(self, desk: TestDesk, *, clock: Clock, is_written: bool) -> None:
        super().__init__(desk.redis, desk.settings)
        self._clock = clock
        self.hang_seconds = 0.0
        self.tries = 0
        self.is_away = True
        self.is_written = is_written

    def record(self, *given: Any, **named: Any) -> None:
        self.tries += 1
        if self.is_written or not self.is_away:
            super().record(*given, **named)
        if self.is_away:
            self._clock.now += self.hang_seconds
            raise StoreUnavailable("away", retry_after_seconds=1)


@pytest.mark.parametrize("is_written", [False, True], ids=["not-written", "answer-lost"])
def test_store_that_is_away_loses_no_row_and_doubles_none(
    desk: TestDesk, clock: Clock, *, is_written: bool
) -> None:
    desk.submit()
    claim = desk.runs.claim("cpu", worker="w1", device="cpu")
    assert claim is not None
    flaky = Flaky(desk, clock=clock, is_written=is_written)
    recorder = Recorder(flaky, claim, outage=make_outage(clock), clock=clock)
    for first in range(0, 50, 10):
        clock.now += 1
        add(recorder, first, first + 10)
    with pytest.raises(StoreUnavailable):
        recorder.flush()
    flaky.is_away = False
    clock.now += 1
    add(recorder, 50, 60)

    assert list(desk.history().step) == list(range(60))


def test_store_that_hangs_is_left_alone_for_as_long(desk: TestDesk, clock: Clock) -> None:
    desk.submit()
    claim = desk.runs.claim("cpu", worker="w1", device="cpu")
    assert claim is not None
    flaky = Flaky(desk, clock=clock, is_written=False)
    flaky.hang_seconds = 5.0
    outage = make_outage(clock)
    recorder = Recorder(flaky, claim, outage=outage, clock=clock)
    tried_at: list[float] = []
    for first in range(0, 400, 10):
        clock.now += 0.5
        tried = flaky.tries
        add(recorder, first, first + 10)
        if flaky.tries > tried:
            tried_at.append(clock.now)

    # Half a second of each turn is the block that found the pause over.
    assert [later - earlier for earlier, later in pairwise(tried_at)] == [10.0] * 3
    assert outage.waited_seconds == 5.0 * flaky.tries


def test_lost_lease_is_told(desk: TestDesk, clock: Clock, recorder: Recorder) -> None:
    desk.take_over()
    add(recorder, 0, 5)
    with pytest.raises(LeaseLost):
        recorder.flush()
    clock.now += 1
    with pytest.raises(LeaseLost):
        add(recorder, 5, 10)


HOW = Description(
    device=DeviceUsed(requested="auto", queue="cpu", reason="few points"),
    engine=EngineUsed(name="torch", reason="asked for", version="2.13.0"),
)


def test_description_goes_with_the_first_rows(desk: TestDesk, recorder: Recorder) -> None:
    recorder.describe(HOW)
    assert desk.record().engine is None
    seq = desk.record().seq

    add(recorder, 0, 5)
    recorder.flush()

    assert desk.record().engine == HOW.engine
    assert desk.record().seq > seq


def test_description_does_not_wait_after_a_long_preparation(
    desk: TestDesk, clock: Clock, recorder: Recorder
) -> None:
    clock.now += FIRST_RECORD_SECONDS
    recorder.describe(HOW)

    assert desk.record().engine == HOW.engine
    assert recorder.take_last() == Last(batch=None, description=None)


def test_what_is_left_for_the_end_is_dropped_by_nobody(desk: TestDesk, recorder: Recorder) -> None:
    recorder.describe(HOW)
    add(recorder, 0, 5)
    first, second = recorder.take_last(), recorder.take_last()

    assert first == second
    assert first.description == HOW
    assert first.batch is not None
    assert [list(rows.step) for rows in first.batch.rows] == [[0, 1, 2, 3, 4]]
    assert len(desk.history()) == 0


def test_end_carries_no_more_than_one_write_holds(
    desk: TestDesk, recorder: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recorder_module, "ROWS_A_WRITE", 5)
    add(recorder, 0, 4)
    add(recorder, 4, 8)

    assert recorder.take_last().batch is None
    assert list(desk.history().step) == list(range(8))
