"""How long the first job of a service that has just begun to serve takes, and of every optimizer."""

import asyncio
import tempfile
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Final

from app.domain.catalogue import OPTIMIZERS
from benchmarks.load import post
from benchmarks.sides import Side, make_house

_STEPS: Final = 10
"""Of every optimizer: some make a step in half a millisecond."""
_LATER: Final = 10
"""Jobs after the first; their median is what a job takes here anyway."""


@dataclass(frozen=True, slots=True, kw_only=True)
class First:
    """Medians over some cold starts, in seconds, from the POST to the finished answer.

    Attributes:
        job: The classic job, as soon as /readyz says 200.
        later: The same job again.
        optimizers: The first job of every optimizer, after those.
    """

    job: float
    later: float
    optimizers: dict[str, float]

    @property
    def slowest(self) -> tuple[str, float]:
        """The optimizer whose first job takes longest."""
        return max(self.optimizers.items(), key=lambda each: each[1])


def measure_first(*, starts: int) -> First:
    """Start the service some times, and each time ask at once.

    Args:
        starts: How often.
    """
    jobs: list[float] = []
    later: list[float] = []
    optimizers: dict[str, list[float]] = {name: [] for name in OPTIMIZERS}
    for _ in range(starts):
        with (
            tempfile.TemporaryDirectory(prefix="bench-") as directory,
            make_house(Path(directory)) as house,
        ):
            jobs.append(_seconds(house, {}))
            later += [_seconds(house, {}) for _ in range(_LATER)]
            for name, seconds in optimizers.items():
                seconds.append(_seconds(house, {"optimizer": name, "steps": _STEPS}))
    return First(
        job=median(jobs),
        later=median(later),
        optimizers={name: median(seconds) for name, seconds in optimizers.items()},
    )


def _seconds(house: Side, body: object) -> float:
    return asyncio.run(post(house.port, "/fit", body, count=1, connections=1)).latencies[0]
