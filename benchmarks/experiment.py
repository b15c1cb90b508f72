"""The question's whole experiment through HTTP, against its own script as a process."""

import statistics
import time
from typing import Final

from benchmarks.house import House, open_house
from benchmarks.peers import question_script
from benchmarks.table import Row
from benchmarks.verdict import below, faster, in_words

PRESET: Final = "weak-optimizers-20000"
_LEAST: Final = 300.0
_MOST_SECONDS: Final = 0.1
_LONG_SECONDS: Final = 2.0
"""An experiment that takes so long is not repeated."""
_ROUNDS: Final = 9
_WAIT_SECONDS: Final = 55
_SCRIPT_STEPS: Final = 1_000


def measure(*, quick: bool) -> list[Row]:
    """Return the rows of three optimizers with 20,000 steps each, bugs and all."""
    steps = question_script.QUESTION_STEPS
    measured_steps = _SCRIPT_STEPS // 5 if quick else _SCRIPT_STEPS
    ratios, ours, scripts = list[float](), list[float](), list[float]()
    with open_house() as house:
        # The service is warm, as the goal says: one is not counted.
        rounds = 2 if quick or _ask(house) > _LONG_SECONDS else _ROUNDS
        for _ in range(rounds):
            # In turns, as everywhere; the house idles while the script runs.
            scripts.append(question_script.seconds_for(measured_steps=measured_steps))
            ours.append(_ask(house))
            ratios.append(scripts[-1] / ours[-1])
    mine, script = statistics.median(ours), statistics.median(scripts)
    case = f"the question's experiment, 3 x {steps:,} steps, POST to finished answer"
    beside = f"{in_words(mine)} against {in_words(script)}, scaled up from {measured_steps:,} steps"
    return [
        faster(
            f"{case}, against its script as a process",
            statistics.median(ratios),
            least=_LEAST,
            measured=f"wall, {beside}",
        ),
        below(case, mine, most=_MOST_SECONDS, shown="100 ms", measured=f"{in_words(mine)}, wall"),
    ]


def _ask(house: House) -> float:
    """Return how long the whole experiment takes.

    Raises:
        RuntimeError: It did not come to its end.
    """
    started = time.perf_counter()
    job = house.ask(f"/compare?wait={_WAIT_SECONDS}", {"preset": PRESET})
    while not job["done"]:
        # The longest wait of one request is shorter than three plain loops may take.
        job = house.ask(f"/v1/jobs/{job['id']}?wait={_WAIT_SECONDS}")
    if job["status"] != "succeeded":
        raise RuntimeError(f"the experiment is {job['status']}")
    return time.perf_counter() - started
