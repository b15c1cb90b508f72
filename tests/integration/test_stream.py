"""Following a job's log: what comes first, what comes after, each once, and how it ends."""

from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from redis import Redis

from tests.integration.hand import Hand, make_rows
from tests.integration.listener import listening
from tests.waiting import wait_until_async

QUICK = {"steps": 100}


async def post(client: httpx.AsyncClient) -> str:
    job: dict[str, Any] = (await client.post("/v1/jobs", json=QUICK)).json()
    return f"/v1/jobs/{job['id']}"


async def read_job(client: httpx.AsyncClient, path: str) -> dict[str, Any]:
    """Return the job object as a GET without history shows it."""
    job: dict[str, Any] = (await client.get(path, params={"history": "none"})).json()
    return job


def trim(redis: Redis, path: str, *, keep: int) -> None:
    name = f"{{fit}}:job:{path.rpartition('/')[2]}:events"
    redis.xtrim(name, maxlen=keep, approximate=False)


async def test_stream_begins_with_the_job_and_ends_with_it(
    api: FastAPI, client: httpx.AsyncClient, hand: Hand
) -> None:
    path = await post(client)
    queued = await read_job(client, path)
    async with listening(api, f"{path}/stream") as listener:
        first = await listener.frame()
        hand.run_next()
        following = await listener.rest()
    ended = await read_job(client, path)

    assert (first.seq, first.event, first.data) == (1, "snapshot", queued)
    assert [(frame.seq, frame.event) for frame in following] == [
        (2, "job.started"),
        (4, "job.succeeded"),
    ]
    assert following[-1].data == ended


async def test_events_come_as_they_happen_and_as_the_log_has_them(
    api: FastAPI, client: httpx.AsyncClient, hand: Hand
) -> None:
    path = await post(client)
    async with listening(api, f"{path}/stream") as listener:
        await listener.frame()
        claim = hand.claim()
        started = await listener.frame()
        hand.record(claim, make_rows(3), with_event=True)
        moved = await listener.frame()
        hand.record(claim, make_rows(3, first=3), with_event=True)
        again = await listener.frame()
    log = (await client.get(f"{path}/events?after=1")).json()["data"]

    assert [started.data, moved.data, again.data] == log
    assert [started.seq, moved.seq, again.seq] == [event["seq"] for event in log]
    assert [started.event, moved.event, again.event] == [event["type"] for event in log]


async def test_stream_says_that_it_is_one(
    api: FastAPI, client: httpx.AsyncClient, hand: Hand
) -> None:
    path = await post(client)
    hand.run_next()
    async with listening(api, f"{path}/stream") as listener:
        hint = await listener.block()

    assert listener.status == 200
    assert listener.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert listener.headers["cache-control"] == "no-store"
    assert listener.headers["x-accel-buffering"] == "no"
    assert "content-location" not in listener.headers
    assert 1_000 <= int(hint.removeprefix("retry: ")) <= 3_000


async def test_job_that_has_ended_is_told_with_its_end(
    api: FastAPI, client: httpx.AsyncClient, hand: Hand
) -> None:
    path = await post(client)
    hand.run_next()
    await client.patch(path, json={"name": "renamed"})
    async with listening(api, f"{path}/stream") as listener:
        frames = await listener.rest()
    job = await read_job(client, path)

    assert [(frame.seq, frame.event) for frame in frames] == [
        (3, "snapshot"),
        (4, "job.succeeded"),
    ]
    assert [frame.data for frame in frames] == [job, job]


@pytest.mark.parametrize("seen", range(5))
async def test_client_that_comes_back_gets_what_it_missed(
    api: FastAPI, client: httpx.AsyncClient, hand: Hand, seen: int
) -> None:
    path = await post(client)
    claim = hand.claim()
    hand.record(claim, make_rows(3), with_event=True)
    # 3 was no event: a worker said which device it uses.
    seqs = [seq for seq in (1, 2, 4) if seq > seen]
    async with listening(api, f"{path}/stream", last_event_id=str(seen)) as listener:
        missed = [await listener.frame() for _ in seqs]
        hand.finish(claim)
        missed += await listener.rest()

    assert [frame.seq for frame in missed] == [*seqs, 5]
    assert missed[-1].event == "job.succeeded"


async def test_query_is_the_same_as_the_header_and_the_header_wins(
    api: FastAPI, client: httpx.AsyncClient, hand: Hand
) -> None:
    path = await post(client)
    hand.run_next()
    async with listening(api, f"{path}/stream", query="after=0") as whole:
        everything = await whole.rest()
    # A browser keeps the query of its first request when it comes back.
    async with listening(api, f"{path}/stream", query="after=0", last_event_id="2") as back:
        missed = await back.rest()

    assert [frame.seq for frame in everything] == [1, 2, 4]
    assert [frame.seq for frame in missed] == [4]


async def test_client_that_has_seen_the_end_is_told_not_to_come_back(
    client: httpx.AsyncClient, hand: Hand
) -> None:
    path = await post(client)
    hand.run_next()
    seen = await client.get(f"{path}/stream", headers={"Last-Event-ID": "4"})
    await client.patch(path, json={"name": "renamed"})
    later = await client.get(f"{path}/stream", headers={"Last-Event-ID": "4"})
    latest = await client.get("/latest/stream?after=5")

    assert [answer.status_code for answer in (seen, later, latest)] == [204, 204, 204]
    assert seen.content == b""
    assert latest.headers["content-location"] == f"{path}/stream?after=5"


@pytest.mark.parametrize("seen", ["1", "900"])
async def test_snapshot_comes_where_the_log_does_not_go_on(
    api: FastAPI, client: httpx.AsyncClient, hand: Hand, redis: Redis, seen: str
) -> None:
    path = await post(client)
    claim = hand.claim()
    hand.record(claim, make_rows(3), with_event=True)
    trim(redis, path, keep=1)
    async with listening(api, f"{path}/stream", last_event_id=seen) as listener:
        first = await listener.frame()
        hand.finish(claim)
        following = await listener.rest()

    assert (first.seq, first.event) == (4, "snapshot")
    assert first.data["progress"]["step"] == 2
    assert [(frame.seq, frame.event) for frame in following] == [(5, "job.succeeded")]


async def test_newest_job_is_named_and_always_begins_with_a_snapshot(
    api: FastAPI, client: httpx.AsyncClient, hand: Hand
) -> None:
    await post(client)
    hand.claim()
    path = await post(client)
    hand.claim()
    # The client has seen seq 2 of the job that was the newest then.
    async with listening(api, "/latest/stream", last_event_id="2") as listener:
        first = await listener.frame()

    assert listener.headers["content-location"] == f"{path}/stream"
    assert (first.seq, first.event, first.data["links"]["self"]) == (3, "snapshot", path)
    assert first.data["links"]["stream"] == f"{path}/stream"


async def test_more_events_than_one_read_brings_come_in_order(
    api: FastAPI, client: httpx.AsyncClient, hand: Hand
) -> None:
    path = await post(client)
    claim = hand.claim()
    for step in range(250):
        hand.record(claim, make_rows(1, first=step), with_event=True)
    hand.finish(claim)
    async with listening(api, f"{path}/stream", query="after=0") as listener:
        frames = await listener.rest()

    assert [frame.seq for frame in frames] == [1, 2, *range(4, 255)]


async def test_job_that_is_deleted_ends_its_stream(
    api: FastAPI, client: httpx.AsyncClient, redis: Redis
) -> None:
    path = await post(client)
    async with listening(api, f"{path}/stream") as listener:
        await listener.frame()
        name = path.rpartition("/")[2]
        redis.delete(f"{{fit}}:job:{name}", f"{{fit}}:job:{name}:events")
        redis.publish("{fit}:bus", f"{name} 9")
        following = await listener.rest()

    assert following == []


# Refusals come before the stream begins


async def test_stream_of_no_job_is_404_and_of_a_forgotten_one_410(
    client: httpx.AsyncClient, hand: Hand, redis: Redis
) -> None:
    path = await post(client)
    hand.run_next()
    redis.delete(f"{{fit}}:job:{path.rpartition('/')[2]}")
    answers = [await client.get(f"{job}/stream") for job in ("/v1/jobs/unknown", path)]

    assert [answer.status_code for answer in answers] == [404, 410]
    assert {answer.headers["content-type"] for answer in answers} == {"application/problem+json"}


@pytest.mark.parametrize(
    ("headers", "query", "slug"),
    [
        ({"Accept": "application/json"}, "", "not-acceptable"),
        ({"Last-Event-ID": "last"}, "", "invalid-parameter"),
        ({}, "?after=-1", "invalid-parameter"),
        ({}, "?afer=1", "invalid-parameter"),
    ],
)
async def test_stream_that_cannot_be_is_refused(
    client: httpx.AsyncClient, headers: dict[str, str], query: str, slug: str
) -> None:
    path = await post(client)
    answer = await client.get(f"{path}/stream{query}", headers=headers)

    assert answer.json()["type"] == f"/problems/{slug}"


@pytest.mark.parametrize("accept", ["text/event-stream", "text/*", "*/*", "text/html, */*;q=0.1"])
async def test_stream_is_made_for_who_takes_it(
    client: httpx.AsyncClient, hand: Hand, accept: str
) -> None:
    path = await post(client)
    hand.run_next()
    answer = await client.get(f"{path}/stream", headers={"Accept": accept})

    assert answer.status_code == 200
    assert answer.text.count("event: ") == 2


async def test_head_of_a_stream_ends_at_once(client: httpx.AsyncClient, redis: Redis) -> None:
    path = await post(client)
    answer = await client.head(f"{path}/stream")

    assert redis.hget(f"{{fit}}:job:{path.rpartition('/')[2]}", "status") == b"queued"
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert answer.content == b""


async def test_client_that_hangs_up_is_noticed_at_once(
    api: FastAPI, client: httpx.AsyncClient
) -> None:
    path = await post(client)
    async with listening(api, f"{path}/stream") as listener:
        await listener.frame()
        watches = api.state.rooms.feed._watches
        assert len(watches) == 1
        listener.hang_up()

        await wait_until_async(lambda: not watches, "nobody watches the job")
