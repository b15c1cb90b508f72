"""Reading one job: waiting, versions, latest, text, and what it shows in every state."""

import asyncio
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from redis import Redis

from app.domain.job import JobError, JobErrorType, Status
from app.domain.result import StopReason
from tests.integration.hand import Hand, make_outcome, make_result, make_rows
from tests.waiting import wait_until_async

QUICK = {"steps": 100}
DIVERGED = JobError(
    type=JobErrorType.DIVERGED,
    detail="The loss is inf after step 7",
    retryable=False,
    step=7,
    suggestion="lower lr",
)


async def post(client: httpx.AsyncClient, body: object = QUICK, path: str = "/v1/jobs") -> str:
    job: dict[str, Any] = (await client.post(path, json=body)).json()
    return f"/v1/jobs/{job['id']}"


async def test_unknown_id_is_404_and_expired_is_410(
    client: httpx.AsyncClient, hand: Hand, redis: Redis
) -> None:
    path = await post(client)
    hand.run_next()
    redis.delete(f"{{fit}}:job:{path.rpartition('/')[2]}")

    assert (await client.get("/v1/jobs/unknown")).status_code == 404
    assert (await client.get("/v1/jobs/not.an.id")).status_code == 404
    assert (await client.get(path)).status_code == 410


async def test_finished_job_carries_everything(client: httpx.AsyncClient, hand: Hand) -> None:
    path = await post(client)
    hand.run_next(rows=300)
    answer = await client.get(path)
    job = answer.json()

    assert answer.headers["etag"] == '"4"'
    assert "retry-after" not in answer.headers
    assert "queue" not in job
    assert job["done"] is True
    assert job["progress"]["fraction"] == 1.0
    assert set(job["timing"]) == {"queue_seconds", "run_seconds", "total_seconds"}
    assert all(seconds >= 0 for seconds in job["timing"].values())
    assert job["expires_at"] > job["finished_at"]
    result = job["result"]
    assert result["exact"]["a"] == 1.0
    assert result["problem"]["condition_number"] == 1.0
    assert (result["history"]["points"], result["history"]["of"]) == (200, 300)
    assert result["history"]["full"] == f"{path}/history"
    assert len(result["history"]["loss"]) == 200
    assert 12 <= len(result["spark"]) <= 24
    assert "cancel" not in job["links"]


@pytest.mark.parametrize(
    ("asked", "points"), [("full", 300), ("none", None), ("0", None), ("7", 7), ("1", 1)]
)
async def test_history_is_as_long_as_asked(
    client: httpx.AsyncClient, hand: Hand, asked: str, points: int | None
) -> None:
    path = await post(client)
    hand.run_next(rows=300)
    history = (await client.get(path, params={"history": asked})).json()["result"]["history"]

    if points is None:
        assert history is None
    else:
        assert history["points"] <= points
        assert history["step"][-1] == 299


@pytest.mark.parametrize("asked", ["some", "-1", "1.5"])
async def test_history_of_no_length_is_refused(client: httpx.AsyncClient, asked: str) -> None:
    path = await post(client)

    assert (await client.get(path, params={"history": asked})).status_code == 400


async def test_running_job_shows_what_it_has(client: httpx.AsyncClient, hand: Hand) -> None:
    path = await post(client)
    hand.record(hand.claim(), make_rows(10))
    answer = await client.get(path)
    job = answer.json()

    assert answer.headers["retry-after"] == "1"
    assert job["status"] == "running"
    assert job["progress"]["step"] == 9
    assert job["device"]["worker"] == "w1"
    assert job["engine"] == {
        "name": "rules",
        "reason": "asked for",
        "version": "2.13.0",
        "verified": {
            "against": "torch.optim.Adam 2.13.0",
            "steps": 4,
            "points": 1000,
            "max_relative_difference": 2e-16,
        },
    }
    assert job["result"]["engine"] is None
    assert job["result"]["a"] is None
    assert job["result"]["best"]["step"] == 9
    assert job["result"]["history"]["points"] == 10
    assert job["timing"]["run_seconds"] is None


async def test_failed_job_has_no_line_but_best_history_and_problem(
    client: httpx.AsyncClient, hand: Hand
) -> None:
    path = await post(client)
    claim = hand.claim()
    hand.record(claim, make_rows(10))
    hand.finish(claim, make_outcome(), status=Status.FAILED, error=DIVERGED)
    answer = await client.get(path)
    job = answer.json()

    assert answer.status_code == 200
    assert (job["result"]["a"], job["result"]["b"]) == (None, None)
    assert job["result"]["best"]["step"] == 9
    assert job["result"]["history"]["points"] == 10
    assert job["error"] == {
        "type": "/problems/diverged",
        "title": job["error"]["title"],
        "detail": "The loss is inf after step 7",
        "retryable": False,
        "step": 7,
        "suggestion": "lower lr",
    }
    assert (await client.get(job["error"]["type"])).status_code == 200


async def test_comparison_shows_every_run_that_has_begun(
    client: httpx.AsyncClient, hand: Hand
) -> None:
    body = {"optimizers": ["adam", "sgd", "adagrad"], "steps": 100}
    path = await post(client, body, "/compare?wait=0")
    claim = hand.claim()
    hand.record(claim, make_rows(400))
    hand.record(claim, make_rows(5), run=1)
    running = (await client.get(path)).json()["result"]
    results = [
        make_result(run, label, best=None)
        for run, label in enumerate(("Adam lr 0.001", "SGD", "Adagrad"))
    ]
    hand.record(claim, make_rows(5), run=2)
    hand.finish(claim, make_outcome(*results, ranking=(2, 0, 1)))
    done = (await client.get(path)).json()["result"]

    assert [run["label"] for run in running["runs"]] == ["Adam lr 0.001", "SGD lr 0.001"]
    assert running["ranking"] is None
    assert done["ranking"] == ["Adagrad", "Adam lr 0.001", "SGD"]
    assert done["winner"]["label"] == "Adagrad"
    assert done["exact"]["a"] == 1.0
    first = done["runs"][0]
    assert first["links"]["history"] == f"{path}/history?run=0"
    assert first["history"]["full"] == f"{path}/history?run=0"
    assert (first["history"]["points"], first["history"]["of"]) == (200, 400)
    assert len(first["spark"]) >= 12
    assert [run["history"]["of"] for run in done["runs"]] == [400, 5, 5]


async def test_queued_job_tells_its_place(client: httpx.AsyncClient, hand: Hand) -> None:
    await post(client)
    hand.run_next()
    await post(client, {"seed": 1})
    path = await post(client, {"seed": 2})
    lonely = (await client.get(path)).json()["queue"]
    hand.announce(job="job_x")
    busy = (await client.get(path)).json()["queue"]
    hand.announce("w2")
    hand.announce("w3")
    soon = (await client.get(path)).json()["queue"]

    assert lonely["waiting_for"] == "a cpu worker: none is live"
    assert (lonely["position"], lonely["ahead"]) == (2, 1)
    assert busy["estimated_start_seconds"] >= 0
    assert busy["waiting_for"].startswith("a free cpu worker: 1 of 1 busy")
    assert soon["estimated_start_seconds"] == 0.0


async def test_etag_turns_an_unchanged_answer_into_304(
    client: httpx.AsyncClient, hand: Hand
) -> None:
    path = await post(client)
    etag = (await client.get(path)).headers["etag"]
    same = await client.get(path, headers={"If-None-Match": etag})
    hand.run_next()
    moved = await client.get(path, headers={"If-None-Match": etag})

    assert (same.status_code, same.content) == (304, b"")
    assert same.headers["retry-after"] == "1"
    assert moved.status_code == 200


async def test_long_poll_ends_with_the_next_event(client: httpx.AsyncClient, hand: Hand) -> None:
    path = await post(client)
    asking = asyncio.create_task(client.get(f"{path}?wait=20", headers={"If-None-Match": '"1"'}))
    await asyncio.to_thread(hand.claim)
    answer = await asking

    assert answer.status_code == 200
    assert answer.json()["status"] == "running"


async def test_long_poll_that_hears_nothing_is_304(client: httpx.AsyncClient) -> None:
    path = await post(client)
    answer = await client.get(f"{path}?wait=0.05", headers={"If-None-Match": '"1"'})

    assert answer.status_code == 304


async def test_wait_ends_when_the_job_does(client: httpx.AsyncClient, hand: Hand) -> None:
    path = await post(client)
    asking = asyncio.create_task(client.get(path, headers={"Prefer": "wait=20"}))
    await asyncio.to_thread(hand.run_next)
    answer = await asking

    assert answer.json()["status"] == "succeeded"
    assert answer.headers["preference-applied"] == "wait=20"


async def test_waiting_does_not_poll_the_store(client: httpx.AsyncClient, redis: Redis) -> None:
    path = await post(client)
    redis.config_resetstat()
    await client.get(f"{path}?wait=0.5&history=none")
    calls: int = redis.info("commandstats")["cmdstat_hgetall"]["calls"]

    # Once to answer unknown ids at once, once under the watch, once at the end of the time.
    assert calls <= 4


async def test_client_that_hangs_up_ends_the_wait(api: FastAPI, client: httpx.AsyncClient) -> None:
    path = await post(client)
    feed = api.state.rooms.feed
    gone = asyncio.Event()
    sent: list[Any] = []

    async def receive() -> dict[str, Any]:
        if not sent:
            sent.append("request")
            return {"type": "http.request", "body": b"", "more_body": False}
        await gone.wait()
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "GET",
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"wait=50",
        "headers": [],
        "server": ("test", 80),
        "client": ("test", 1),
    }
    serving = asyncio.create_task(api(scope, receive, send))  # type: ignore[arg-type]
    await wait_until_async(lambda: feed._watches, "somebody waits")
    gone.set()
    await asyncio.wait_for(serving, timeout=5)

    assert not feed._watches


async def test_wait_for_a_version_that_is_past_ends_at_once(
    client: httpx.AsyncClient, hand: Hand
) -> None:
    path = await post(client)
    hand.claim()
    answer = await client.get(f"{path}?wait=20", headers={"If-None-Match": '"1"'})

    assert answer.json()["status"] == "running"


async def test_wait_for_news_of_a_finished_job_ends_at_once(
    client: httpx.AsyncClient, hand: Hand
) -> None:
    path = await post(client)
    hand.run_next()
    etag = (await client.get(path)).headers["etag"]
    answer = await client.get(f"{path}?wait=20", headers={"If-None-Match": etag})

    assert answer.status_code == 304


async def test_latest_is_the_newest_and_says_where_it_is(client: httpx.AsyncClient) -> None:
    nothing = await client.get("/latest")
    await post(client)
    path = await post(client, {"seed": 3})
    long = await client.get("/v1/jobs/latest")
    short = await client.get("/latest/events?limit=1")

    assert nothing.status_code == 404
    assert long.json()["links"]["self"] == path
    assert long.headers["content-location"] == path
    assert short.headers["content-location"] == f"{path}/events?limit=1"
    assert (await client.get("/latestx")).status_code == 404


@pytest.mark.parametrize("method", ["PATCH", "DELETE"])
async def test_latest_cannot_be_changed(client: httpx.AsyncClient, method: str) -> None:
    await post(client)
    answer = await client.request(method, "/v1/jobs/latest", json={})

    assert answer.status_code == 404
    assert "can only be read" in answer.json()["detail"]


async def test_job_is_text_where_text_is_accepted(client: httpx.AsyncClient, hand: Hand) -> None:
    path = await post(client)
    hand.run_next(rows=50)
    by_format = await client.get(f"{path}?format=text")
    by_header = await client.get(path, headers={"Accept": "text/plain"})

    assert by_format.text == by_header.text
    assert "exact" in by_format.text
    assert "excess loss, log scale" in by_format.text
    assert (await client.get(path, headers={"Accept": "image/png"})).status_code == 406


async def test_cancel_of_a_queued_job_is_at_once_and_can_be_repeated(
    client: httpx.AsyncClient,
) -> None:
    path = await post(client)
    first = await client.post(f"{path}/cancel")
    second = await client.post(f"{path}/cancel")

    assert [first.status_code, second.status_code] == [200, 200]
    assert second.json()["status"] == "cancelled"
    assert second.json()["result"] is None
    assert second.json()["timing"]["run_seconds"] is None


async def test_cancel_of_a_running_job_is_asked_for_and_awaited(
    client: httpx.AsyncClient, hand: Hand
) -> None:
    path = await post(client)
    claim = hand.claim()
    hand.record(claim, make_rows(10))
    asked = await client.post(f"{path}/cancel")
    waiting = asyncio.create_task(client.post(f"{path}/cancel?wait"))
    outcome = make_outcome(make_result(stop_reason=StopReason.CANCELLED, converged=False))
    await asyncio.to_thread(hand.finish, claim, outcome, status=Status.CANCELLED)
    ended = await waiting

    assert asked.status_code == 202
    assert asked.json()["cancel_requested_at"] is not None
    assert asked.json()["status"] == "running"
    assert ended.status_code == 200
    assert ended.json()["result"]["stop_reason"] == "cancelled"
    assert ended.json()["result"]["history"]["points"] == 10


async def test_patch_changes_name_and_tags_under_a_version(client: httpx.AsyncClient) -> None:
    path = await post(client)
    etag = (await client.get(path)).headers["etag"]
    first = await client.patch(
        path, json={"name": "n", "tags": {"team": "a"}}, headers={"If-Match": etag}
    )
    stale = await client.patch(path, json={"name": "m"}, headers={"If-Match": etag})
    early = await client.patch(path, json={"expires_at": "2030-01-01T00:00:00Z"})

    assert first.status_code == 200
    assert (first.json()["name"], first.json()["tags"]) == ("n", {"team": "a"})
    assert first.headers["etag"] != etag
    assert stale.status_code == 412
    assert early.status_code in {409, 422}
    assert (await client.patch(path, json={"steps": 1})).status_code == 422


async def test_delete_forgets_a_finished_job_only(client: httpx.AsyncClient, hand: Hand) -> None:
    path = await post(client)
    early = await client.delete(path)
    hand.run_next()
    stale = await client.delete(path, headers={"If-Match": '"1"'})
    done = await client.delete(path)

    assert early.status_code == 409
    assert early.json()["type"] == "/problems/job-not-finished"
    assert stale.status_code == 412
    assert (done.status_code, done.content) == (204, b"")
    assert (await client.get(path)).status_code == 404
