"""A million runs in one job through HTTP: against the engine alone, and on two workers against one."""

import statistics
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

from app.domain.sweep import SweepSpec
from app.settings import Settings
from benchmarks.house import House, open_house
from benchmarks.memory import workers_below
from benchmarks.table import Row
from benchmarks.verdict import below, faster, in_words, within
from worker.engine.rules.kernels import Kernels
from worker.engine.torch_engine import TorchEngine

_STEPS: Final = 1_000
_RATES: Final = 1_000
_STARTS: Final = 1_000
_ROUNDS: Final = 3
_MOST: Final = 2.0
_LEAST_SPEEDUP: Final = 1.7
_MOST_BYTES: Final = 2**30
_WAIT_SECONDS: Final = 55


def measure(*, quick: bool) -> list[Row]:
    """Return the rows of a sweep of a million runs with a thousand steps each."""
    body = _body(_STARTS // 10 if quick else _STARTS)
    engine, one, two = list[float](), list[float](), list[float]()
    with ExitStack() as houses:
        single = houses.enter_context(open_house())
        double = houses.enter_context(open_house(workers=2))
        for house in (single, double):
            # Each child prepares and judges once what the rounds then find done.
            _ask(house, {**body, "seeds": 100})
        for _ in range(1 if quick else _ROUNDS):
            engine.append(_alone(body))
            one.append(_ask(single, body))
            two.append(_ask(double, body))
        most = max(_most_resident(pid) for pid in workers_below(single.pid))
    runs = f"{_RATES * body['seeds']:,} runs x {_STEPS:,} steps of Adam, one job"
    times = [statistics.median(seconds) for seconds in (engine, one, two)]
    alone, by_one, by_two = map(in_words, times)
    return [
        within(
            f"{runs}, one worker, against the engine alone",
            statistics.median(a / b for a, b in zip(one, engine, strict=True)),
            most=_MOST,
            measured=f"wall, {by_one} against {alone}",
        ),
        faster(
            f"{runs}, two workers against one",
            statistics.median(a / b for a, b in zip(one, two, strict=True)),
            least=_LEAST_SPEEDUP,
            measured=f"wall, {by_two} against {by_one}",
        ),
        below(
            "the worker of such a job, resident at most",
            most,
            most=_MOST_BYTES,
            shown="1 GiB",
            measured=f"{most / 2**20:.0f} MiB",
        ),
    ]


def _body(starts: int) -> dict[str, Any]:
    return {
        "optimizers": ["Adam"],
        "lr": {"min": 1e-4, "max": 1.0, "num": _RATES},
        "seeds": starts,
        "steps": _STEPS,
        # Every run makes all of its steps.
        "stop": {"loss_below": None},
    }


def _alone(body: dict[str, Any]) -> float:
    """Return how long the engine computes the same runs in this process, without any service."""
    engine = TorchEngine(kernels=Kernels(Settings().kernel_dir))
    spec = SweepSpec.model_validate(body)
    prepared = engine.prepare_many(spec, columns=None, device="cpu")
    # Judged before, as in a worker that has done one shard.
    if prepared.engine.name != "rules":
        raise RuntimeError(prepared.engine.reason)
    started = time.perf_counter()
    part = prepared.slice(range(spec.num_runs))
    for _ in part.blocks(lambda: None):
        pass
    part.records()
    return time.perf_counter() - started


def _ask(house: House, body: dict[str, Any]) -> float:
    """Return how long a sweep takes from its POST to its end.

    Raises:
        RuntimeError: It did not succeed.
    """
    started = time.perf_counter()
    job = house.ask(f"/sweep?wait={_WAIT_SECONDS}", body)
    while not job["done"]:
        job = house.ask(f"/v1/jobs/{job['id']}?wait={_WAIT_SECONDS}")
    if job["status"] != "succeeded":
        raise RuntimeError(f"the sweep is {job['status']}: {job['message']}")
    return time.perf_counter() - started


def _most_resident(pid: int) -> int:
    """Return the most bytes that a process has ever held."""
    status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
    return int(status.partition("VmHWM:")[2].split()[0]) * 1024
