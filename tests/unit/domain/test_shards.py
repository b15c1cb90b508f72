"""How runs are cut into shards."""

from itertools import chain

import pytest

from app.domain.shards import FEWEST_LANES, MOST_SHARDS, RUN_STEPS_A_SHARD, cut_runs


@pytest.mark.parametrize("num_runs", [1, 63, 64, 65, 1_000, 999_983, 1_000_000])
@pytest.mark.parametrize("steps", [1, 10_000, 10_000_000])
def test_every_run_lies_in_one_shard(num_runs: int, steps: int) -> None:
    cut = cut_runs(num_runs, steps=steps)
    shards = [cut.runs_of(shard) for shard in range(cut.num_shards)]

    assert list(chain.from_iterable(shards)) == list(range(num_runs))
    assert 1 <= len(shards) <= MOST_SHARDS
    assert max(map(len, shards)) - min(map(len, shards)) <= 1
    assert all(
        cut.shard_of(runs[0]) == cut.shard_of(runs[-1]) == n for n, runs in enumerate(shards)
    )


@pytest.mark.parametrize("steps", [1_000, 10_000, 100_000])
def test_shard_is_about_half_a_second_of_work(steps: int) -> None:
    cut = cut_runs(100_000, steps=steps)

    assert len(cut.runs_of(0)) * steps <= RUN_STEPS_A_SHARD


def test_runs_made_one_by_one_are_spread_as_far_as_shards_go() -> None:
    assert cut_runs(64, steps=10_000, are_lanes=False).num_shards == 32
    assert cut_runs(64, steps=10_000_000, are_lanes=False).num_shards == 64
    assert cut_runs(1_000_000, steps=10_000, are_lanes=False).num_shards == MOST_SHARDS


def test_shard_fills_the_lanes_that_are_computed_at_once() -> None:
    cut = cut_runs(1_000, steps=10_000_000)

    assert len(cut.runs_of(0)) > FEWEST_LANES // 2
    assert cut_runs(FEWEST_LANES, steps=10_000_000).num_shards == 1
