"""Ratios of alternated rounds, on a clock that only work moves."""

from collections.abc import Callable

from benchmarks.alternate import Candidate, Sample, Timings, alternate


class Time:
    """Two clocks that stand still but for the work: the processor is busy half of the time."""

    def __init__(self) -> None:
        self.wall = 0.0

    def work(self, seconds: float) -> None:
        self.wall += seconds

    @property
    def clocks(self) -> tuple[Callable[[], float], Callable[[], float]]:
        return (lambda: self.wall / 2), (lambda: self.wall)


def samples(*seconds: float) -> list[Sample]:
    return [Sample(cpu=each, wall=2 * each) for each in seconds]


def test_ratio_is_taken_within_rounds() -> None:
    # The machine slows down tenfold for two rounds: the ratio is 2 in each of them.
    timings = Timings({"slow": samples(2, 20, 20, 2, 2), "fast": samples(1, 10, 10, 1, 1)})

    assert timings.ratio("slow", "fast") == 2
    assert timings.ratio("fast", "slow") == 0.5


def test_one_disturbed_round_moves_no_ratio() -> None:
    timings = Timings({"one": samples(3, 3, 3), "other": samples(1, 100, 1)})

    assert timings.ratio("one", "other") == 3
    assert timings.seconds("other") == 1


def test_processor_and_wall_are_kept_apart() -> None:
    timings = Timings(
        {
            "one thread": [Sample(cpu=4, wall=4)],
            "two threads": [Sample(cpu=4, wall=2)],
        }
    )

    assert timings.ratio("one thread", "two threads") == 1
    assert timings.ratio("one thread", "two threads", "wall") == 2


def test_seconds_are_told_a_unit() -> None:
    time = Time()
    candidate = Candidate(name="fit", call=lambda _: time.work(8.0), units=4)
    timings = alternate([candidate], rounds=3, clocks=time.clocks)

    assert timings.samples["fit"] == [Sample(cpu=1.0, wall=2.0)] * 3


def test_preparation_is_not_timed_and_reaches_the_call() -> None:
    time = Time()
    seen = list[int]()

    def prepare() -> int:
        time.work(100.0)
        return 7

    def call(argument: int) -> None:
        seen.append(argument)
        time.work(1.0)

    candidate = Candidate(name="fit", call=call, units=1, prepare=prepare)
    timings = alternate([candidate], rounds=2, clocks=time.clocks)

    assert timings.seconds("fit", "wall") == 1.0
    assert set(seen) == {7}


def test_quick_work_is_repeated_until_a_sample_is_long_enough() -> None:
    time = Time()
    calls = list[None]()

    def call(_: object) -> None:
        calls.append(None)
        time.work(0.125)

    candidate = Candidate(name="fit", call=call, units=2)
    timings = alternate([candidate], rounds=1, shortest=1.0, clocks=time.clocks)

    assert timings.seconds("fit", "wall") == 0.0625
    # One that is not counted, one that says how long it takes, and eight.
    assert len(calls) == 10


def test_order_turns_round_every_round() -> None:
    time = Time()
    order = list[str]()

    def named(name: str) -> Candidate:
        def call(_: object) -> None:
            order.append(name)
            time.work(1.0)

        return Candidate(name=name, call=call, units=1)

    alternate([named("a"), named("b")], rounds=3, clocks=time.clocks)

    assert order[4:] == ["a", "b", "b", "a", "a", "b"]
