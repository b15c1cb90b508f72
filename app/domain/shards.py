"""How a job of many runs is cut into slices that workers compute by themselves."""

from typing import Final, NamedTuple

RUN_STEPS_A_SHARD: Final = 50_000_000
"""About half a second of lanes: what is lost with a worker, and how long a small fit waits."""
FEWEST_LANES: Final = 64
"""Below, a lane costs several times as much."""
SINGLE_RUN_STEPS_A_SHARD: Final = 20_000
"""Runs that are made one by one: some milliseconds of compiled rules, ten seconds of torch."""
MOST_SHARDS: Final = 1_024
"""Each is a few hundred bytes and a dozen commands of Redis."""


class Cut(NamedTuple):
    """Runs cut into slices of about equal length, in order.

    A job keeps its cut for life, whatever later versions would choose.

    Attributes:
        num_runs: At least 1.
        num_shards: At least 1, and at most one a run.
    """

    num_runs: int
    num_shards: int

    def runs_of(self, shard: int) -> range:
        """Return the runs of a shard; `shard` counts from 0."""
        first, stop = (
            place * self.num_runs // self.num_shards for place in range(shard, shard + 2)
        )
        return range(first, stop)

    def shard_of(self, run: int) -> int:
        """Return the shard that a run belongs to; `run` counts from 0."""
        return ((run + 1) * self.num_shards - 1) // self.num_runs


def cut_runs(num_runs: int, *, steps: int, are_lanes: bool = True) -> Cut:
    """Decide how runs are cut.

    Args:
        num_runs: At least 1.
        steps: Most steps of each.
        are_lanes: Whether they are computed side by side.
    """
    if are_lanes:
        most = max(FEWEST_LANES, RUN_STEPS_A_SHARD // steps)
    else:
        most = max(1, SINGLE_RUN_STEPS_A_SHARD // steps)
    return Cut(num_runs=num_runs, num_shards=min(MOST_SHARDS, -(-num_runs // most)))
