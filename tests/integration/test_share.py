"""Several keys share one queue: turns, shares, and when to come back."""

from collections.abc import AsyncIterator

import httpx
import pytest
from redis import Redis

from app.main import create_app, open_rooms
from app.service import estimate_relief
from app.settings import Settings
from tests.integration.hand import Hand


def bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


@pytest.fixture
async def shared(api_settings: Settings, redis: Redis) -> AsyncIterator[httpx.AsyncClient]:
    """An API with two keys and a queue of four places."""
    assert redis.ping()
    settings = api_settings.model_copy(update={"api_keys": "mine, yours", "max_queued_jobs": 4})
    app = create_app(settings)
    async with open_rooms(settings) as rooms:
        app.state.rooms = rooms
        transport = httpx.ASGITransport(app=app)
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as speaking:
            yield speaking


async def test_other_keys_find_room_beside_one_that_submits_all_it_can(
    shared: httpx.AsyncClient,
) -> None:
    mine = [await shared.post("/v1/jobs", headers=bearer("mine")) for _ in range(3)]
    yours = await shared.post("/v1/jobs", headers=bearer("yours"))

    assert [answer.status_code for answer in mine] == [202, 202, 429]
    assert mine[-1].json()["type"] == "/problems/too-many-requests"
    assert int(mine[-1].headers["Retry-After"]) >= 1
    assert yours.status_code == 202


async def test_keys_take_turns(shared: httpx.AsyncClient, hand: Hand) -> None:
    first, second = [
        (await shared.post("/v1/jobs", headers=bearer("mine"))).json()["id"] for _ in range(2)
    ]
    late = (await shared.post("/v1/jobs", headers=bearer("yours"))).json()
    claimed = [hand.claim().record.id for _ in range(3)]

    assert late["queue"]["ahead"] == 1
    assert claimed == [first, late["id"], second]


async def test_refusal_says_when_a_place_will_be_free(
    shared: httpx.AsyncClient, hand: Hand, redis: Redis
) -> None:
    hand.announce()
    # As if the last jobs had run for a quarter of a minute each.
    redis.lpush("{fit}:durations:cpu", 15_000, 15_000)
    for _ in range(2):
        await shared.post("/v1/jobs", headers=bearer("mine"))
    answer = await shared.post("/v1/jobs", headers=bearer("mine"))

    assert answer.status_code == 429
    assert 15 <= int(answer.headers["Retry-After"]) <= 30


@pytest.mark.parametrize(
    ("durations", "workers", "least", "most"),
    [
        ((), 2, 5, 5),
        ((1.0,), 0, 5, 5),
        ((0.01,), 2, 1, 1),
        ((20.0, 10.0), 1, 15, 30),
        ((20.0, 10.0), 3, 5, 10),
        ((600.0,), 1, 60, 60),
    ],
)
def test_relief_is_a_share_of_what_jobs_take(
    durations: tuple[float, ...], workers: int, least: int, most: int
) -> None:
    for _ in range(50):
        assert least <= estimate_relief(durations, workers=workers) <= most
