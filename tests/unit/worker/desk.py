"""Everything around a runner, on a real Redis: submit, read back, and act while it runs."""

import asyncio
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Any, Self, TypeVar

from redis import Redis

from app.domain.events import Event
from app.domain.history import Rows
from app.domain.job import JobRecord
from app.domain.kinds import AnySpec
from app.domain.parse import parse_spec
from app.domain.result import DeviceUsed
from app.settings import Settings
from app.store.connect import connect_async, connect_sync
from app.store.jobs import JobStore
from app.store.recovery import Recovery
from app.store.runs import RunStore
from app.store.submission import NewJob
from worker.contract import Engine
from worker.runner import Runner

T = TypeVar("T")


class Clock:
    """Seconds that a test moves on."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class TestDesk:
    """A worker's desk in the test's own thread.

    Args:
        url: The Redis.
        settings: Those of store and runner.
    """

    __test__ = False

    def __init__(self, url: str, settings: Settings) -> None:
        self.settings = settings
        self.redis: Redis = connect_sync(settings, url)
        self.runs = RunStore(self.redis, settings)
        self.recovery = Recovery(self.redis, settings)
        self.is_draining = False
        self.told: list[str | None] = []
        self.url = url
        self._loop = asyncio.Runner()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.redis.close()
        self._loop.close()

    def ask(self, question: Callable[[JobStore], Awaitable[T]]) -> T:
        """Call one async method of the job store."""

        async def answer() -> T:
            async with connect_async(self.settings, self.url) as client:
                return await question(JobStore(client, self.settings))

        return self._loop.run(answer())

    def submit(self, *, job_id: str = "j", queue: str = "cpu", **body: Any) -> str:
        """Put a job into the queue; return its id."""
        return self.put(parse_spec(body).spec, job_id=job_id, queue=queue)

    def put(
        self, spec: AnySpec, *, job_id: str = "j", queue: str = "cpu", points: bytes | None = None
    ) -> str:
        """Put a job with this spec into the queue; return its id."""
        device = DeviceUsed(requested=spec.device, queue=queue, reason="a test")
        new = NewJob(id=job_id, spec=spec, fingerprint=job_id, device=device, points=points)
        return self.ask(lambda store: store.create(new)).record.id

    def record(self, job_id: str = "j") -> JobRecord:
        return self.ask(lambda store: store.get(job_id))

    def history(self, job_id: str = "j", *, run: int = 0) -> Rows:
        return self.ask(lambda store: store.history(job_id, run=run))

    def events(self, job_id: str = "j") -> tuple[Event, ...]:
        return self.ask(lambda store: store.events(job_id, limit=1_000))

    def types(self, job_id: str = "j") -> list[str]:
        return [str(event.type) for event in self.events(job_id)]

    def cancel(self, job_id: str = "j") -> JobRecord:
        return self.ask(lambda store: store.cancel(job_id))

    def work(self, engine: Engine, *, queue: str = "cpu", **changes: Any) -> str | None:
        """Let a runner take the next job."""
        return self.make_runner(engine, **changes).work(queue, worker="w1")

    def make_runner(self, engine: Engine, **changes: Any) -> Runner:
        return Runner(
            runs=self.runs,
            engine=engine,
            settings=self.settings,
            is_draining=lambda: self.is_draining,
            tell=self.told.append,
            **changes,
        )

    def take_over(self, job_id: str = "j") -> None:
        """Let the lease end and the job be claimed by another worker."""
        prefix = f"{{{self.settings.namespace}}}:"
        assert self.redis.zadd(f"{prefix}leases", {job_id: 1}, xx=True, ch=True) == 1
        assert self.recovery.round().requeued == 1
        assert self.runs.claim("cpu", worker="w2", device="cpu") is not None
