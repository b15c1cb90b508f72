"""Going on from the end of a fit, over HTTP."""

import httpx
import pytest

from app.domain.job import Status
from tests.integration.hand import Hand, make_outcome, make_result

QUICK = {"steps": 10}


async def ended(client: httpx.AsyncClient, hand: Hand) -> str:
    """Return the id of a fit that has succeeded after ten steps."""
    job: str = (await client.post("/v1/jobs", json=QUICK)).json()["id"]
    hand.run_next(rows=11)
    return job


async def test_extend_makes_a_new_job_with_the_steps_added(
    client: httpx.AsyncClient, hand: Hand
) -> None:
    old = await ended(client, hand)
    answer = await client.post(f"/v1/jobs/{old}/extend", json={"steps": 40})
    job = answer.json()

    assert answer.status_code == 202
    assert answer.headers["Location"] == f"/v1/jobs/{job['id']}"
    assert job["id"] != old
    assert (job["extends"], job["rerun_of"]) == (old, None)
    # The hand says that 100 steps were made.
    assert job["spec"]["steps"] == 140
    assert [warning["code"] for warning in job["warnings"]] == ["stop-rules-off"]


async def test_extend_takes_form_fields(client: httpx.AsyncClient, hand: Hand) -> None:
    old = await ended(client, hand)
    answer = await client.post(f"/v1/jobs/{old}/extend", data={"steps": "40"})

    assert answer.json()["spec"]["steps"] == 140


async def test_extend_can_be_repeated_with_a_key(client: httpx.AsyncClient, hand: Hand) -> None:
    old = await ended(client, hand)
    answers = [
        await client.post(
            f"/v1/jobs/{old}/extend", json={"steps": 5}, headers={"Idempotency-Key": "k"}
        )
        for _ in range(2)
    ]

    assert [answer.status_code for answer in answers] == [202, 200]
    assert answers[0].json()["id"] == answers[1].json()["id"]


@pytest.mark.parametrize("verb", ["extend", "rerun"])
async def test_repeat_with_a_key_is_answered_though_the_old_job_is_gone(
    client: httpx.AsyncClient, hand: Hand, verb: str
) -> None:
    old = await ended(client, hand)
    path, headers = f"/v1/jobs/{old}/{verb}", {"Idempotency-Key": "k"}
    first = await client.post(path, json={"steps": 5}, headers=headers)
    await client.delete(f"/v1/jobs/{old}")
    again = await client.post(path, json={"steps": 5}, headers=headers)

    assert again.status_code == 200
    assert again.headers["Idempotent-Replayed"] == "true"
    assert again.json()["id"] == first.json()["id"]


@pytest.mark.parametrize(
    ("path", "key"),
    [("{old}/extend", None), ("{old}/extend", "x"), ("{old}/rerun", "k"), ("nobody/extend", "k")],
    ids=["no key", "an unknown key", "a key of another verb", "a key of another job"],
)
async def test_what_no_key_has_made_of_a_job_that_is_gone_is_404(
    client: httpx.AsyncClient, hand: Hand, path: str, key: str | None
) -> None:
    old = await ended(client, hand)
    await client.post(f"/v1/jobs/{old}/extend", json={}, headers={"Idempotency-Key": "k"})
    await client.delete(f"/v1/jobs/{old}")
    headers = {} if key is None else {"Idempotency-Key": key}
    answer = await client.post("/v1/jobs/" + path.format(old=old), json={}, headers=headers)

    assert answer.status_code == 404
    assert answer.json()["type"] == "/problems/job-not-found"


async def test_extend_can_be_tried_dry(client: httpx.AsyncClient, hand: Hand) -> None:
    old = await ended(client, hand)
    answer = await client.post(f"/v1/jobs/{old}/extend?dry_run", json={"steps": 40})

    assert answer.status_code == 200
    assert answer.json()["spec"]["steps"] == 140
    assert len((await client.get("/v1/jobs")).json()["data"]) == 1


async def test_extend_of_many_points_keeps_them(client: httpx.AsyncClient, hand: Hand) -> None:
    old = (await client.post("/v1/jobs", json=[[k, 2 * k] for k in range(300)])).json()["id"]
    hand.run_next()
    job = (await client.post(f"/v1/jobs/{old}/extend", json={"steps": 1})).json()
    data = [(await client.get(f"/v1/jobs/{one}/data")).json() for one in (old, job["id"])]

    assert data[0]["x"] == data[1]["x"]
    assert len(data[1]["x"]) == 300


async def test_extend_of_an_unfinished_job_is_409(client: httpx.AsyncClient) -> None:
    job = (await client.post("/v1/jobs", json=QUICK)).json()
    answer = await client.post(f"/v1/jobs/{job['id']}/extend", json={"steps": 1})

    assert answer.status_code == 409
    assert answer.json()["type"] == "/problems/job-not-finished"
    assert "extend" not in job["links"]


async def test_extend_of_a_diverged_fit_is_422(client: httpx.AsyncClient, hand: Hand) -> None:
    job = (await client.post("/v1/jobs", json=QUICK)).json()["id"]
    hand.finish(hand.claim(), make_outcome(make_result(a=None)), status=Status.FAILED)
    answer = await client.post(f"/v1/jobs/{job}/extend", json={"steps": 1})

    assert answer.status_code == 422
    assert answer.json()["errors"][0]["code"] == "cannot-extend"


async def test_extend_of_an_unknown_job_is_404(client: httpx.AsyncClient) -> None:
    assert (await client.post("/v1/jobs/missing/extend", json={})).status_code == 404


async def test_ended_fit_links_to_its_extension(client: httpx.AsyncClient, hand: Hand) -> None:
    old = await ended(client, hand)
    job = (await client.get(f"/v1/jobs/{old}")).json()

    assert job["links"]["extend"] == f"/v1/jobs/{old}/extend"


@pytest.mark.parametrize("body", [{"preset": "weak-optimizers"}], ids=["comparison"])
async def test_comparison_has_no_extension(
    client: httpx.AsyncClient, hand: Hand, body: dict[str, str]
) -> None:
    old = (await client.post("/v1/jobs", json={"kind": "comparison", **body})).json()["id"]
    hand.run_next()
    job = (await client.get(f"/v1/jobs/{old}")).json()
    answer = await client.post(f"/v1/jobs/{old}/extend")

    assert "extend" not in job["links"]
    assert answer.status_code == 422
