"""How long a worker is busy with a job outside the engine: claiming, recording, finishing."""

import asyncio
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any, Final

from app.domain.parse import parse_spec
from app.service import Service
from app.settings import Settings
from app.store import server
from app.store.connect import connect_async, connect_sync
from app.store.jobs import JobStore
from app.store.runs import RunStore
from worker.contract import Block, Engine, Prepared, Run
from worker.engine.torch_engine import TorchEngine
from worker.runner import Runner

_STEPS: Final = 1500
_QUEUE: Final = "cpu"


@dataclass(frozen=True, slots=True, kw_only=True)
class Outside:
    """Medians over some jobs, in milliseconds, of what the engine does not use.

    Attributes:
        wall_ms: By the clock, with the answers of Redis and the waits for its disk.
        cpu_ms: Of the worker's process alone.
    """

    wall_ms: float
    cpu_ms: float


@dataclass(slots=True)
class _Watch:
    """Adds up what happens inside the engine."""

    wall: float = 0.0
    cpu: float = 0.0

    def timed(self, work: Callable[[], Any]) -> Any:  # noqa: ANN401  # whatever the work returns
        wall, cpu = time.perf_counter(), time.process_time()
        try:
            return work()
        finally:
            self.wall += time.perf_counter() - wall
            self.cpu += time.process_time() - cpu


class _TimedRun:
    """A run whose every call is timed."""

    def __init__(self, run: Run, watch: _Watch) -> None:
        self._run = run
        self._watch = watch

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401  # as the run has it
        found = getattr(self._run, name)
        if name in ("result", "snapshot", "resume"):

            def timed(*given: Any) -> Any:  # noqa: ANN401  # as the run has it
                return self._watch.timed(lambda: found(*given))

            return timed
        return found

    def blocks(self, breathe: Callable[[], None] = lambda: None) -> Iterator[Block]:
        blocks = self._run.blocks(breathe)
        while (block := self._watch.timed(lambda: next(blocks, None))) is not None:
            yield block


class _TimedPrepared:
    """A prepared job with timed runs."""

    def __init__(self, prepared: Prepared, watch: _Watch) -> None:
        self._prepared = prepared
        self.runs = [_TimedRun(run, watch) for run in prepared.runs]

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401  # as the engine has it
        return getattr(self._prepared, name)


class _TimedEngine:
    """An engine that is timed."""

    def __init__(self, engine: Engine, watch: _Watch) -> None:
        self._engine = engine
        self._watch = watch

    def prepare(self, *given: Any, **named: Any) -> Any:  # noqa: ANN401  # as the engine takes them
        prepared = self._watch.timed(lambda: self._engine.prepare(*given, **named))
        return _TimedPrepared(prepared, self._watch)


def measure_outside(*, jobs: int) -> Outside:
    """Run 1,500-step jobs by a runner of this process, with the real engine and a real Redis.

    Args:
        jobs: How many; the first warms up and is not counted.
    """
    with tempfile.TemporaryDirectory(prefix="bench-") as directory:
        redis = server.start(Path(directory) / "redis", fsync="always")
        try:
            asyncio.run(_submit(redis.url, count=jobs + 1))
            return _run_all(redis.url, count=jobs + 1)
        finally:
            redis.stop()


async def _submit(url: str, *, count: int) -> None:
    settings = Settings(redis_url=url)
    client = connect_async(settings, url)
    service = Service(store=JobStore(client, settings), wake_text=lambda _: b"", settings=settings)
    for _ in range(count):
        await service.submit(parse_spec({"steps": _STEPS}))
    await client.aclose()


def _run_all(url: str, *, count: int) -> Outside:
    settings = Settings(redis_url=url)
    client = connect_sync(settings, url)
    watch = _Watch()
    engine: Any = _TimedEngine(TorchEngine(), watch)
    runner = Runner(runs=RunStore(client, settings), engine=engine, settings=settings)
    walls: list[float] = []
    cpus: list[float] = []
    for _ in range(count):
        watch.wall = watch.cpu = 0.0
        wall, cpu = time.perf_counter(), time.process_time()
        runner.work(_QUEUE, worker="bench")
        walls.append(time.perf_counter() - wall - watch.wall)
        cpus.append(time.process_time() - cpu - watch.cpu)
    client.close()
    return Outside(wall_ms=median(walls[1:]) * 1000, cpu_ms=median(cpus[1:]) * 1000)
