"""Listing jobs: filters, pages, refusals."""

from typing import Any

import httpx
import pytest

from tests.integration.hand import Hand


async def fill(client: httpx.AsyncClient) -> None:
    """Make four queued jobs, the oldest first: adam, tagged sgd, comparison, named adagrad."""
    bodies: list[dict[str, Any]] = [
        {"optimizer": "adam"},
        {"optimizer": "sgd", "tags": {"team": "a", "x": "1"}},
        {"kind": "comparison", "optimizers": ["adam", "lbfgs"]},
        {"optimizer": "adagrad", "name": "n"},
    ]
    for body in bodies:
        assert (await client.post("/v1/jobs", json=body)).status_code == 202


async def kinds_of(client: httpx.AsyncClient, query: str) -> list[str]:
    data = (await client.get(f"/v1/jobs?{query}")).json()["data"]
    return [
        job["spec"]["optimizer"]["name"] if job["kind"] == "fit" else job["kind"] for job in data
    ]


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("", ["Adagrad", "comparison", "SGD", "Adam"]),
        ("status=succeeded", ["Adam"]),
        ("status=succeeded,queued&limit=2", ["Adagrad", "comparison"]),
        ("status=succeeded&status=queued&kind=fit", ["Adagrad", "SGD", "Adam"]),
        ("kind=comparison", ["comparison"]),
        ("optimizer=ADAM", ["comparison", "Adam"]),
        ("optimizer=sgd,lbfgs", ["comparison", "SGD"]),
        ("device=cuda", []),
        ("device=cpu&tag.team=a", ["SGD"]),
        ("tag.team=b", []),
        ("created_after=2000-01-01&limit=1", ["Adagrad"]),
        ("created_before=2000-01-01T00:00:00Z", []),
        ("created_after=99999999999", []),
    ],
)
async def test_list_is_filtered(
    client: httpx.AsyncClient, hand: Hand, query: str, expected: list[str]
) -> None:
    await fill(client)
    hand.run_next()

    assert await kinds_of(client, query) == expected


async def test_list_carries_no_history(client: httpx.AsyncClient, hand: Hand) -> None:
    await client.post("/v1/jobs")
    hand.run_next()
    (job,) = (await client.get("/v1/jobs")).json()["data"]

    assert job["result"]["a"] == 1.0
    assert job["result"]["history"] is None
    assert job["result"]["spark"] is None


async def test_pages_follow_each_other_without_gaps(client: httpx.AsyncClient) -> None:
    await fill(client)
    seen: list[str] = []
    path: str | None = "/v1/jobs?limit=3&status=queued"
    while path:
        answer = await client.get(path)
        page = answer.json()
        seen += [job["id"] for job in page["data"]]
        path = page["next"]
        assert answer.headers.get("link") == (f'<{path}>; rel="next"' if path else None)
        assert (page["next_cursor"] is None) == (path is None)

    assert len(seen) == len(set(seen)) == 4


@pytest.mark.parametrize(
    ("query", "slug", "detail"),
    [
        ("status=done", "invalid-parameter", "status cannot be"),
        ("status=succeded", "invalid-parameter", 'did you mean "succeeded"'),
        ("kind=swepp", "invalid-parameter", "kind cannot be"),
        ("optimizer=adamm", "invalid-parameter", "did you mean"),
        ("device=gpu9x", "invalid-parameter", "it is one of cpu, cuda"),
        ("limit=101", "invalid-parameter", "limit"),
        ("limit=x", "invalid-parameter", "limit"),
        ("created_after=soon", "invalid-parameter", "created_after must be a time"),
        ("statsu=queued", "invalid-parameter", 'did you mean "status"'),
        ("cursor=nonsense", "invalid-cursor", "cursor"),
    ],
)
async def test_mistake_in_the_query_is_named(
    client: httpx.AsyncClient, query: str, slug: str, detail: str
) -> None:
    answer = await client.get(f"/v1/jobs?{query}")

    assert answer.status_code == 400
    assert answer.json()["type"] == f"/problems/{slug}"
    assert detail in answer.json()["detail"]
