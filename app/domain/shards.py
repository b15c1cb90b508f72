"""How a job of many runs is cut into slices that workers compute by themselves."""

from typing import Final

RUN_STEPS_A_SHARD: Final = 50_000_000
"""About half a second of lanes: what is lost with a worker, and how long a small fit waits."""
FEWEST_LANES: Final = 64
"""Below, a lane costs several times as much."""
MOST_SHARDS: Final = 1_024
"""Each is a few hundred bytes and a dozen commands of Redis."""


def shards_of(num_runs: int, *, steps: int) -> tuple[range, ...]:
    """Cut runs into slices of about equal length, in order.

    Args:
        num_runs: At least 1.
        steps: Most steps of each.
    """
    lanes = max(FEWEST_LANES, RUN_STEPS_A_SHARD // steps)
    count = min(MOST_SHARDS, -(-num_runs // lanes))
    return tuple(
        range(shard * num_runs // count, (shard + 1) * num_runs // count) for shard in range(count)
    )
