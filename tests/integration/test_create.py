"""Making jobs over HTTP: codes, headers, replays, aliases, reruns."""

import asyncio

import httpx
import pytest

from tests.integration.hand import Hand
from tests.waiting import wait_until_async

QUICK = {"steps": 100}


async def count_jobs(client: httpx.AsyncClient) -> int:
    return len((await client.get("/v1/jobs", params={"limit": 100})).json()["data"])


async def test_no_body_queues_the_classic_example(client: httpx.AsyncClient) -> None:
    answer = await client.post("/v1/jobs")
    job = answer.json()

    assert answer.status_code == 202
    assert answer.headers["location"] == f"/v1/jobs/{job['id']}"
    assert answer.headers["retry-after"] == "1"
    assert answer.headers["etag"] == '"1"'
    assert (job["object"], job["kind"], job["status"], job["done"]) == (
        "job",
        "fit",
        "queued",
        False,
    )
    assert job["spec"]["data"]["preset"] == "classic"
    assert "optimizer" in job["defaulted"]
    assert job["queue"]["position"] == 1
    assert job["result"] is None


async def test_wait_turns_202_into_201_when_the_job_ends(
    client: httpx.AsyncClient, hand: Hand
) -> None:
    asking = asyncio.create_task(client.post("/v1/jobs?wait=20", json=QUICK))
    await wait_until_async(lambda: count_jobs(client), "the job is there")
    await asyncio.to_thread(hand.run_next)
    answer = await asking

    assert answer.status_code == 201
    assert answer.json()["status"] == "succeeded"
    assert answer.json()["result"]["a"] == 1.0
    assert "retry-after" not in answer.headers


async def test_wait_that_is_over_answers_202(client: httpx.AsyncClient) -> None:
    answer = await client.post("/v1/jobs", json=QUICK, headers={"Prefer": "wait=0.01"})

    assert answer.status_code == 202
    assert answer.headers["preference-applied"] == "wait=0.01"


@pytest.mark.parametrize(
    ("path", "kind"),
    [("/fit", "fit"), ("/compare", "comparison"), ("/sweep", "sweep"), ("/batch", "batch")],
)
async def test_alias_makes_the_job_that_it_names(
    client: httpx.AsyncClient, path: str, kind: str
) -> None:
    answer = await client.post(f"{path}?wait=0", json=QUICK)

    assert answer.status_code == 202
    assert answer.json()["kind"] == kind


async def test_kind_that_is_none_says_which_there_are(client: httpx.AsyncClient) -> None:
    answer = await client.post("/v1/jobs", json={"kind": "sweeep"})
    flaw = answer.json()["errors"][0]

    assert answer.status_code == 422
    assert (flaw["code"], flaw["did_you_mean"]) == ("unknown-kind", "sweep")
    assert flaw["allowed"] == ["fit", "comparison", "sweep", "batch"]


async def test_alias_refuses_another_kind(client: httpx.AsyncClient) -> None:
    answer = await client.post("/fit", json={"kind": "comparison"})

    assert answer.status_code == 422
    assert answer.json()["errors"][0]["code"] == "kind-mismatch"


async def test_dry_run_resolves_and_enqueues_nothing(client: httpx.AsyncClient) -> None:
    answer = await client.post("/v1/jobs?dry_run", json={"lr": 0.5, "zero_grad": False})
    preview = answer.json()

    assert answer.status_code == 200
    assert preview["object"] == "dry_run"
    assert preview["spec"]["optimizer"]["lr"] == 0.5
    assert preview["device"]["queue"] == "cpu"
    assert preview["engine"] == {
        "name": "rules",
        "reason": "Adam's rule, written out, takes the closed-form gradient",
    }
    assert preview["warnings"][0]["code"] == "gradient-never-zeroed"
    assert await count_jobs(client) == 0


async def test_engine_that_cannot_is_refused_with_its_reason(client: httpx.AsyncClient) -> None:
    answer = await client.post("/fit", json={"engine": "rules", "loss": "huber"})
    (flaw,) = answer.json()["errors"]

    assert answer.status_code == 422
    assert (flaw["pointer"], flaw["code"]) == ("/engine", "engine-cannot")
    assert "the gradient of huber has no closed form" in flaw["detail"]
    assert flaw["allowed"] == ["auto", "torch"]


async def test_dry_run_foretells_many_points_and_those_of_another_job(
    client: httpx.AsyncClient,
) -> None:
    x = [k / 100 for k in range(1000)]
    body = {"data": {"x": x, "y": [2 * v + 1 for v in x]}, "optimizer": {"name": "SGD", "lr": 9.0}}
    mine = (await client.post("/v1/jobs?dry_run", json=body)).json()
    lender = (await client.post("/v1/jobs", json=body)).json()["id"]
    theirs = await client.post("/v1/jobs?dry_run", json={**body, "data": {"job": lender}})
    again = await client.post(f"/v1/jobs/{lender}/rerun?dry_run&history=3", json={"lr": 0.01})

    for answer in (mine, theirs.json()):
        assert answer["forecast"]["exact"]["a"] == pytest.approx(2.0)
        assert [found["code"] for found in answer["diagnosis"]] == ["learning-rate-too-high"]
    (run,) = again.json()["forecast"]["runs"]
    assert run["how"] == "closed form"
    assert len(run["history"]["step"]) == 3


async def test_dry_run_can_be_switched_off(client: httpx.AsyncClient) -> None:
    assert (await client.post("/v1/jobs?dry_run=0")).status_code == 202


async def test_dry_run_refuses_what_a_submit_would(client: httpx.AsyncClient) -> None:
    answer = await client.post("/v1/jobs?dry_run=true", json={"optimiser": "adam"})

    assert answer.status_code == 422
    assert answer.json()["errors"][0]["did_you_mean"] == "optimizer"


async def test_eight_posts_with_one_key_make_one_job(client: httpx.AsyncClient) -> None:
    headers = {"Idempotency-Key": "k"}
    posts = [client.post("/v1/jobs", json=QUICK, headers=headers) for _ in range(8)]
    answers = await asyncio.gather(*posts)

    assert sorted(answer.status_code for answer in answers) == [200] * 7 + [202]
    assert len({answer.json()["id"] for answer in answers}) == 1
    assert await count_jobs(client) == 1
    replays = [answer for answer in answers if answer.status_code == 200]
    assert all(answer.headers["idempotent-replayed"] == "true" for answer in replays)


async def test_key_with_another_spec_is_refused(client: httpx.AsyncClient) -> None:
    headers = {"Idempotency-Key": "k"}
    await client.post("/v1/jobs", json=QUICK, headers=headers)
    answer = await client.post("/v1/jobs", json={"steps": 7}, headers=headers)

    assert answer.status_code == 422
    assert answer.json()["type"] == "/problems/idempotency-key-reused"


@pytest.mark.parametrize("key", ["", "k" * 256])
async def test_key_out_of_bounds_is_refused(client: httpx.AsyncClient, key: str) -> None:
    answer = await client.post("/v1/jobs", headers={"Idempotency-Key": key})

    assert answer.status_code == 400
    assert answer.json()["type"] == "/problems/invalid-parameter"


async def test_put_can_be_repeated(client: httpx.AsyncClient, hand: Hand) -> None:
    first = await client.put("/v1/jobs/mine", json=QUICK)
    second = await client.put("/v1/jobs/mine", json=QUICK)
    hand.run_next()
    third = await client.put("/v1/jobs/mine", json=QUICK)
    other = await client.put("/v1/jobs/mine", json={"steps": 7})

    assert [first.status_code, second.status_code, third.status_code] == [202, 200, 200]
    assert third.json()["status"] == "succeeded"
    assert other.status_code == 409
    assert other.json()["type"] == "/problems/id-conflict"


@pytest.mark.parametrize("job_id", ["latest", "-x", "a" * 65, "a.b"])
async def test_put_refuses_what_is_no_id(client: httpx.AsyncClient, job_id: str) -> None:
    answer = await client.put(f"/v1/jobs/{job_id}", json=QUICK)

    assert answer.status_code == 422
    assert answer.json()["errors"][0]["code"] == "invalid-id"


async def test_rerun_takes_the_old_spec_and_the_changes(
    client: httpx.AsyncClient, hand: Hand
) -> None:
    old = (await client.post("/v1/jobs", json={"optimizer": "sgd", "steps": 50})).json()
    hand.run_next()
    answer = await client.post(f"/v1/jobs/{old['id']}/rerun", json={"lr": 0.25})
    job = answer.json()

    assert answer.status_code == 202
    assert job["id"] != old["id"]
    assert job["rerun_of"] == old["id"]
    assert job["spec"]["steps"] == 50
    assert job["spec"]["optimizer"]["name"] == "SGD"
    assert job["spec"]["optimizer"]["lr"] == 0.25


async def test_rerun_needs_no_body(client: httpx.AsyncClient) -> None:
    old = (await client.post("/v1/jobs", json=QUICK)).json()
    answer = await client.post(f"/v1/jobs/{old['id']}/rerun")

    assert answer.status_code == 202
    assert answer.json()["spec"] == old["spec"]


async def test_rerun_of_an_unknown_job_is_404(client: httpx.AsyncClient) -> None:
    answer = await client.post("/v1/jobs/missing/rerun", json={})

    assert answer.status_code == 404


async def test_rerun_can_be_tried_dry(client: httpx.AsyncClient) -> None:
    old = (await client.post("/v1/jobs", json=QUICK)).json()
    answer = await client.post(f"/v1/jobs/{old['id']}/rerun?dry_run", json={"lr": 0.25})

    assert answer.status_code == 200
    assert answer.json()["object"] == "dry_run"
    assert answer.json()["spec"]["optimizer"]["lr"] == 0.25
    assert await count_jobs(client) == 1


async def test_csv_body_carries_points_and_the_query_the_spec(client: httpx.AsyncClient) -> None:
    answer = await client.post(
        "/v1/jobs?optimizer=sgd&lr=0.1&wait=0",
        content="x,y\n0,1\n1,3\n",
        headers={"Content-Type": "text/csv"},
    )
    job = answer.json()

    assert answer.status_code == 202
    assert job["spec"]["data"] == {"x": [0.0, 1.0], "y": [1.0, 3.0]}
    assert job["spec"]["optimizer"]["lr"] == 0.1


async def test_created_job_can_be_shown_as_text(client: httpx.AsyncClient) -> None:
    answer = await client.post("/v1/jobs?format=text", json=QUICK)

    assert answer.status_code == 202
    assert answer.headers["content-type"].startswith("text/plain")
    assert answer.text.startswith("Waiting for a cpu worker.")
    assert "http://test/v1/jobs/" in answer.text


async def test_many_points_are_parsed_beside_the_loop(client: httpx.AsyncClient) -> None:
    points = [[float(k), 2.0 * k] for k in range(12_000)]
    bare = await client.post("/v1/jobs?dry_run", json=points)
    named = await client.post("/v1/jobs?dry_run", json={"data": {"x": [1.0] * 12_000, "y": [1]}})

    assert bare.json()["spec"]["data"]["num_points"] == 12_000
    assert named.status_code == 422
