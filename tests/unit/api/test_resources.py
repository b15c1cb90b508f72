"""The catalogue, the presets, the workers, health and the way in."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import httpx
import pytest
from redis import Redis

from app.api.health import durability_of
from app.domain.catalogue import OPTIMIZERS, SCHEDULERS
from app.domain.job import WorkerInfo
from app.domain.parse import parse_spec
from app.domain.presets import COMPARISON_PRESETS, DATA_PRESETS
from app.settings import Settings
from app.store.runs import RunStore

Ask = Callable[..., AbstractAsyncContextManager[httpx.AsyncClient]]

WORKER = WorkerInfo(
    name="host-7-cpu",
    queue="cpu",
    devices=("cpu",),
    torch="2.13.0",
    started_at_ms=1_700_000_000_000,
    job="job_x",
)


@pytest.fixture
def worker(redis: Redis, settings: Settings) -> WorkerInfo:
    RunStore(redis, settings).announce(WORKER, ttl_seconds=60)
    return WORKER


@pytest.fixture
async def alone(settings: Settings, ask: Ask, tmp_path: Path) -> AsyncIterator[httpx.AsyncClient]:
    """A client of a service whose Redis is away."""
    async with ask(redis_url=f"unix://{tmp_path}/nobody.sock") as client:
        assert settings.redis_url is None
        yield client


async def test_root_tells_commands_limits_and_links(client: httpx.AsyncClient) -> None:
    answer = (await client.get("/")).json()

    assert all("http://localhost:8000/" in command for command in answer["try"].values())
    assert answer["limits"]["body_bytes"] == 8 * 1024 * 1024
    assert answer["limits"]["inline_points"] == 1_000_000
    assert answer["kinds"] == ["fit", "comparison", "sweep", "batch"]


async def test_links_of_the_root_lead_somewhere(
    client: httpx.AsyncClient, worker: WorkerInfo
) -> None:
    links = (await client.get("/")).json()["links"]

    assert worker.queue == "cpu"
    assert {path: (await client.get(path)).status_code for path in links.values()} == dict.fromkeys(
        links.values(), 200
    )


async def test_root_is_json_for_a_browser_too(client: httpx.AsyncClient) -> None:
    answer = await client.get("/", headers={"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"})

    assert answer.headers["content-type"] == "application/json"
    assert answer.text.startswith("{\n  ")


async def test_commands_carry_a_key_where_keys_are_set(ask: Ask) -> None:
    async with ask(api_keys="secret-key") as client:
        answer = await client.get("/", headers={"Authorization": "Bearer secret-key"})

    assert all("Authorization: Bearer" in command for command in answer.json()["try"].values())
    assert "secret-key" not in answer.text


@pytest.mark.parametrize("host", ["evil$(rm -rf)", "a b", "x';echo"])
async def test_host_that_is_no_address_reaches_no_command(
    client: httpx.AsyncClient, host: str
) -> None:
    answer = await client.get("/", headers={"Host": host})

    assert host not in answer.text
    assert "http://localhost:8000/fit" in answer.text


async def test_optimizers_are_those_of_the_catalogue(client: httpx.AsyncClient) -> None:
    items = (await client.get("/v1/optimizers")).json()["items"]

    assert [item["name"] for item in items] == list(OPTIMIZERS)
    assert all(item["reference"].startswith("https://") for item in items)


@pytest.mark.parametrize("name", list(OPTIMIZERS))
async def test_optimizer_has_a_schema_whose_defaults_run(
    client: httpx.AsyncClient, name: str
) -> None:
    answer = (await client.get(f"/v1/optimizers/{name.upper()}")).json()
    schema = answer["json_schema"]
    defaults = {
        field: entry["default"] for field, entry in schema["properties"].items() if field != "name"
    }

    assert answer["name"] == name
    assert schema["properties"]["name"] == {"const": name}
    assert parse_spec({"optimizer": {"name": name, **defaults}}) is not None


async def test_schedulers_are_those_of_the_catalogue(client: httpx.AsyncClient) -> None:
    items = (await client.get("/v1/schedulers")).json()["items"]
    one = (await client.get("/v1/schedulers/steplr")).json()

    assert [item["name"] for item in items] == list(SCHEDULERS)
    assert one["json_schema"]["required"] == ["name", "step_size"]


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("/v1/optimizers/adm", "did you mean Adam?"),
        ("/v1/optimizers/zzzz", "GET /v1/optimizers lists them all"),
        ("/v1/schedulers/StepRL", "did you mean StepLR?"),
    ],
)
async def test_unknown_name_is_not_found(client: httpx.AsyncClient, path: str, words: str) -> None:
    answer = await client.get(path)

    assert answer.status_code == 404
    assert words in answer.json()["detail"]


async def test_presets_come_with_bodies_that_run(client: httpx.AsyncClient) -> None:
    answer = (await client.get("/v1/presets")).json()

    assert [preset["name"] for preset in answer["data"]] == list(DATA_PRESETS)
    assert [preset["name"] for preset in answer["comparisons"]] == list(COMPARISON_PRESETS)
    for preset in (*answer["data"], *answer["comparisons"]):
        assert parse_spec(preset["body"]) is not None


async def test_workers_are_listed_with_their_queues(
    client: httpx.AsyncClient, worker: WorkerInfo
) -> None:
    answer = (await client.get("/v1/workers")).json()

    assert answer["items"] == [
        {
            "name": worker.name,
            "queue": "cpu",
            "devices": ["cpu"],
            "torch": "2.13.0",
            "started_at": "2023-11-14T22:13:20.000Z",
            "job": "job_x",
        }
    ]
    assert answer["queues"] == [
        {"name": "cpu", "waiting": 0, "workers": 1, "busy": 1},
        {"name": "cuda", "waiting": 0, "workers": 0, "busy": 0},
    ]


async def test_service_is_ready_once_a_worker_lives(
    client: httpx.AsyncClient, worker: WorkerInfo
) -> None:
    answer = await client.get("/readyz")

    assert answer.status_code == 200
    assert answer.json()["ready"] is True
    assert answer.json()["workers"] == {worker.queue: 1}
    # The tests' Redis does not sync: it must say so.
    assert answer.json()["durability"] == "degraded"


async def test_service_without_workers_is_not_ready(client: httpx.AsyncClient) -> None:
    answer = await client.get("/readyz")

    assert answer.status_code == 503
    assert answer.headers["retry-after"] == "1"
    assert answer.json()["type"] == "/problems/not-ready"
    assert answer.json()["missing"] == ["no worker is live"]


async def test_service_lives_while_redis_is_away(alone: httpx.AsyncClient) -> None:
    ready, workers = await alone.get("/readyz"), await alone.get("/v1/workers")

    assert (await alone.get("/livez")).json() == {"live": True}
    assert (ready.status_code, ready.json()["durability"]) == (503, "unknown")
    assert ready.json()["missing"][0].startswith("Redis: ")
    assert (workers.status_code, workers.json()["type"]) == (503, "/problems/store-unavailable")
    assert workers.headers["retry-after"] == "1"


@pytest.mark.parametrize(
    ("redis", "word"),
    [
        ({"appendonly": "yes", "appendfsync": "always"}, "durable"),
        ({"appendonly": "yes", "appendfsync": "everysec"}, "degraded"),
        ({"appendonly": "no", "appendfsync": "always"}, "degraded"),
        ({"appendonly": "unknown", "appendfsync": "unknown"}, "unknown"),
        ({}, "unknown"),
    ],
)
def test_durability_is_what_redis_says(redis: dict[str, str], word: str) -> None:
    assert durability_of(redis) == word


async def test_version_names_service_and_torch(client: httpx.AsyncClient) -> None:
    answer = (await client.get("/version")).json()

    assert answer["service"] == "fitjobs"
    assert answer["torch"] == "2.13.0"
