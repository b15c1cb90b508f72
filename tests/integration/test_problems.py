"""Every problem that has a page can happen: each is provoked through the real API or a real run."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
from fastapi import FastAPI, Request
from redis import Redis

from app.api.body import _read_raw_spec, read_body
from app.api.errors import PROBLEMS, STATUSES
from app.domain.errors import JobErrorType
from app.domain.job import Status
from app.main import create_app, open_rooms
from app.settings import Settings
from app.store.runs import RunStore
from tests.integration.hand import Hand
from tests.unit.worker.desk import TestDesk
from tests.unit.worker.scripted import ScriptedEngine, ScriptedRun
from worker.engine.torch_engine import TorchEngine

JSON = {"Content-Type": "application/json"}


@dataclass(frozen=True, kw_only=True)
class House:
    """An API with an empty store, and the hands that reach behind it."""

    app: FastAPI
    client: httpx.AsyncClient
    redis: Redis
    hand: Hand

    async def put(self, job_id: str, **spec: Any) -> None:
        assert (await self.client.put(f"/v1/jobs/{job_id}", json=spec)).status_code == 202

    def finish(self) -> None:
        self.hand.runs.finish(self.hand.claim(), status=Status.CANCELLED, outcome=None, error=None)


@asynccontextmanager
async def open_house(settings: Settings, redis: Redis) -> AsyncIterator[House]:
    app = create_app(settings)
    async with open_rooms(settings) as rooms:
        app.state.rooms = rooms
        # The server, not the test client, must turn a crash into an answer.
        transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            hand = Hand(RunStore(redis, settings))
            yield House(app=app, client=client, redis=redis, hand=hand)


Provoke = Callable[[House], Awaitable[httpx.Response]]


async def conflict_of_ids(house: House) -> httpx.Response:
    await house.put("mine", seed=1)
    return await house.client.put("/v1/jobs/mine", json={"seed": 2})


async def reused_key(house: House) -> httpx.Response:
    key = {"Idempotency-Key": "k"}
    await house.client.post("/v1/jobs", json={"seed": 1}, headers=key)
    return await house.client.post("/v1/jobs", json={"seed": 2}, headers=key)


async def broken_record(house: House) -> httpx.Response:
    await house.put("mine")
    house.redis.hset("{fit}:job:mine", "status", "dancing")
    return await house.client.get("/v1/jobs/mine")


async def expired_job(house: House) -> httpx.Response:
    await house.put("mine")
    house.finish()
    # What its time to live does, seven days early.
    house.redis.delete("{fit}:job:mine")
    return await house.client.get("/v1/jobs/mine")


async def unfinished_job(house: House) -> httpx.Response:
    await house.put("mine")
    return await house.client.delete("/v1/jobs/mine")


async def changed_job(house: House) -> httpx.Response:
    await house.put("mine")
    return await house.client.patch(
        "/v1/jobs/mine", json={"name": "x"}, headers={"If-Match": '"9"'}
    )


async def slow_body(house: House) -> httpx.Response:
    async def impatient(request: Request) -> object:
        return await read_body(request, house.app.state.rooms.settings, seconds=0.01)

    async def drip() -> AsyncIterator[bytes]:
        yield b"{"
        await asyncio.Event().wait()

    house.app.dependency_overrides[_read_raw_spec] = impatient
    return await house.client.post("/fit", content=drip(), headers=JSON)


async def closed_renderer(house: House) -> httpx.Response:
    await house.put("mine")
    await house.app.state.rooms.renderer.close()
    return await house.client.get("/v1/jobs/mine/chart.svg")


def get(path: str, **headers: str) -> Provoke:
    return lambda house: house.client.get(path, headers=headers)


def post(path: str, content: bytes = b"{}", **headers: str) -> Provoke:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return lambda house: house.client.post(path, content=content, headers=named)


async def used_up_share(house: House) -> httpx.Response:
    key = {"Authorization": "Bearer mine"}
    await house.client.post("/v1/jobs", headers=key)
    return await house.client.post("/v1/jobs", headers=key)


async def full_queue(house: House) -> httpx.Response:
    await house.put("first")
    return await house.client.post("/v1/jobs")


PROVOKED: dict[str, Provoke] = {
    "malformed-json": post("/fit", b"{nope"),
    "invalid-parameter": get("/v1/jobs?limit=0"),
    "invalid-cursor": get("/v1/jobs?cursor=zz"),
    "unauthorized": post("/fit"),
    "cross-site-request": post("/fit", Origin="http://evil.example"),
    "not-found": get("/nothing"),
    "job-not-found": get("/v1/jobs/nobody"),
    "method-not-allowed": get("/fit"),
    "not-acceptable": get("/v1/jobs/nobody", Accept="image/png"),
    "request-timeout": slow_body,
    "job-not-finished": unfinished_job,
    "id-conflict": conflict_of_ids,
    "job-expired": expired_job,
    "precondition-failed": changed_job,
    "payload-too-large": post("/fit", b" " * 2000),
    "unsupported-media-type": post("/fit", Content_Encoding="gzip"),
    "validation": post("/fit", b'{"steps": -1}'),
    "idempotency-key-reused": reused_key,
    "internal": broken_record,
    "queue-full": full_queue,
    "too-many-requests": used_up_share,
    "device-unavailable": post("/fit", b'{"device": "cuda"}'),
    "store-unavailable": get("/v1/jobs"),
    "chart-unavailable": closed_renderer,
    "not-ready": get("/readyz"),
}
SETTINGS: dict[str, dict[str, Any]] = {
    "unauthorized": {"api_keys": "secret"},
    "payload-too-large": {"max_body_bytes": 1024},
    "queue-full": {"max_queued_jobs": 1},
    "too-many-requests": {"max_queued_jobs": 2, "api_keys": "mine,yours"},
    "store-unavailable": {"redis_url": "redis://127.0.0.1:1/0"},
}


@pytest.mark.parametrize("slug", sorted(PROVOKED))
async def test_problem_is_answered_as_its_page_says(
    slug: str, redis: Redis, redis_url: str
) -> None:
    given = {"redis_url": redis_url, "recovery_seconds": 60.0, **SETTINGS.get(slug, {})}
    async with open_house(Settings.model_construct(**given), redis) as house:
        answer = await PROVOKED[slug](house)
        queued = redis.zcard("{fit}:ready:cpu")

    assert answer.status_code == STATUSES[slug]
    assert answer.headers["content-type"].startswith("application/problem+json")
    assert answer.json()["type"] == f"/problems/{slug}"
    assert answer.json()["detail"]
    assert len(answer.content) < 16_000
    assert queued <= 1  # what the set-up put there, never what was refused


def raise_in_block(error: Exception) -> Callable[[int], object]:
    def act(_: int) -> object:
        raise error

    return act


def end_by_hand(desk: TestDesk) -> None:
    for _ in range(desk.settings.max_fruitless_attempts):
        assert desk.runs.claim("cpu", worker="w", device="cpu") is not None
        desk.redis.zadd("{fit}:leases", {"j": 1}, xx=True)
        desk.recovery.round()


def end_late(desk: TestDesk) -> None:
    impatient = desk.settings.model_copy(update={"queue_timeout_seconds": 0})
    with TestDesk(str(desk.settings.redis_url), impatient) as other:
        other.recovery.round()


def script(**run: Any) -> Callable[[TestDesk], object]:
    return lambda desk: desk.work(ScriptedEngine(runs=[ScriptedRun(**run)]))


def really(queue: str = "cpu") -> Callable[[TestDesk], object]:
    return lambda desk: desk.work(TorchEngine(), queue=queue)


ENDED: dict[JobErrorType, tuple[dict[str, Any], Callable[[TestDesk], object]]] = {
    JobErrorType.DIVERGED: ({"optimizer": "sgd", "lr": 5.0}, really()),
    JobErrorType.TIME_LIMIT_EXCEEDED: (
        {"timeout_seconds": 0.001, "steps": 10**6, "engine": "torch"},
        really(),
    ),
    JobErrorType.QUEUE_TIME_EXCEEDED: ({}, end_late),
    JobErrorType.WORKER_LOST: ({}, end_by_hand),
    JobErrorType.OUT_OF_MEMORY: ({}, script(between=raise_in_block(MemoryError()))),
    JobErrorType.DEVICE_ERROR: ({"device": "cuda", "if_unavailable": "queue"}, really("cuda")),
    JobErrorType.INTERNAL: ({}, script(between=raise_in_block(ZeroDivisionError()))),
}


@pytest.mark.parametrize("kind", sorted(ENDED))
def test_job_ends_as_the_page_of_its_error_says(
    kind: JobErrorType, redis_url: str, settings: Settings
) -> None:
    spec, end = ENDED[kind]
    with TestDesk(redis_url, settings.model_copy(update={"redis_url": redis_url})) as desk:
        desk.submit(queue="cuda" if "device" in spec else "cpu", **spec)
        end(desk)
        record = desk.record()

    assert record.status is Status.FAILED
    assert record.error is not None
    assert record.error.type is kind


def test_every_page_is_provoked() -> None:
    assert {*PROVOKED, *ENDED} == set(PROBLEMS)
    assert set(PROVOKED) == set(STATUSES)
    assert set(ENDED) == set(JobErrorType)
