"""Sweeps and batches over HTTP: making them, their runs, and the fit behind a run."""

import asyncio
import csv
import io
from array import array
from typing import Any

import httpx
import pytest

from app.domain.job import Status
from app.domain.outcome import Outcome
from app.settings import Settings
from app.store.codec import encode_positions
from app.store.runs import Made
from tests.integration.hand import EXACT, PROBLEM, Hand, make_outcome, make_rows
from tests.store.samples import claim_from, deliver, make_sweep, split
from tests.unit.charts.test_findings import BATCH, make_summary

SWEEP: dict[str, Any] = {
    "kind": "sweep",
    "optimizers": ["sgd", "adam"],
    "lr": [0.1, 0.2, 0.4],
    "steps": 50,
    "seed": 3,
    "tags": {"a": "b"},
}
SERIES = [[[0, 1], [1, 3]], [[0, 2], [1, 1], [2, 0]]]


async def post(client: httpx.AsyncClient, body: object, path: str = "/v1/jobs") -> dict[str, Any]:
    answer = await client.post(path, json=body)
    assert answer.status_code == 202, answer.text
    job: dict[str, Any] = answer.json()
    return job


async def test_sweep_is_a_job_with_runs_and_no_history_of_its_own(
    client: httpx.AsyncClient,
) -> None:
    job = await post(client, SWEEP)

    assert (job["kind"], job["result"], job["status"]) == ("sweep", None, "queued")
    assert job["links"]["runs"] == f"/v1/jobs/{job['id']}/runs"
    assert not {"history", "chart", "reproduce", "extend"} & set(job["links"])
    listed = (await client.get("/v1/jobs?kind=sweep&optimizer=adam")).json()["data"]
    assert [one["id"] for one in listed] == [job["id"]]


async def test_sweep_answers_what_it_found(client: httpx.AsyncClient, hand: Hand) -> None:
    job = await post(client, SWEEP)
    outcome = Outcome(exact=EXACT, problem=PROBLEM, runs=(), sweep=make_summary())
    hand.finish(hand.claim(), outcome)
    ended = (await client.get(f"/v1/jobs/{job['id']}")).json()

    assert ended["result"]["sweep"]["best"]["run"] == 1
    assert ended["result"]["sweep"]["optimizers"][1]["edge"] == "highest"
    assert ended["result"]["exact"]["a"] == 1.0
    assert ended["message"].startswith("Best of 6 runs")
    text = (await client.get(f"/v1/jobs/{job['id']}?format=text")).text
    assert "usable from" in text


async def test_batch_answers_what_it_found(client: httpx.AsyncClient, hand: Hand) -> None:
    job = await post(client, SERIES, "/batch?wait=0")
    hand.finish(hand.claim(), Outcome(exact=None, problem=None, runs=(), batch=BATCH))
    ended = (await client.get(f"/v1/jobs/{job['id']}")).json()

    assert ended["spec"]["data"][1] == {"x": [0, 1, 2], "y": [2, 1, 0]}
    assert ended["result"] == {"batch": BATCH.model_dump()}


async def test_runs_of_a_sweep_that_waits_have_their_settings(client: httpx.AsyncClient) -> None:
    job = await post(client, SWEEP)
    page = (await client.get(f"{job['links']['runs']}?limit=2&cursor=2")).json()

    assert (page["total"], page["next_cursor"]) == (6, "4")
    assert [(run["run"], run["label"], run["lr"]) for run in page["data"]] == [
        (2, "SGD", 0.4),
        (3, "Adam", 0.1),
    ]
    assert page["data"][0]["loss"] is None
    refused = await client.get(f"{job['links']['runs']}?sort=loss")
    assert (refused.status_code, refused.json()["type"]) == (409, "/problems/job-not-finished")


async def test_runs_that_workers_have_made_are_read_in_any_order(
    client: httpx.AsyncClient, hand: Hand
) -> None:
    spec = make_sweep(num_runs=100)
    job = await post(client, spec.model_dump(mode="json"))
    split(hand.runs, claim_from(hand.runs))
    deliver(hand.runs, claim_from(hand.runs))
    begun = (await client.get(f"{job['links']['runs']}?limit=100")).json()["data"]
    while (claim := claim_from(hand.runs)).shard is not None:
        deliver(hand.runs, claim)
    outcome = Outcome(exact=None, problem=None, runs=(), sweep=make_summary())
    orders = {"a": encode_positions(array("i", range(100)))}
    hand.runs.finish(
        claim,
        status=Status.SUCCEEDED,
        outcome=outcome,
        error=None,
        made=Made(orders=orders),
    )
    ended = (await client.get(f"{job['links']['runs']}?sort=-a&limit=3")).json()

    assert 0 < sum(run["steps"] is not None for run in begun) < 100
    assert (begun[7]["a"], begun[7]["seed"]) == (7.0, 7)
    assert [run["run"] for run in ended["data"]] == [99, 98, 97]
    whole = (await client.get(f"{job['links']['runs']}?format=csv")).text.splitlines()
    assert whole[100].startswith("99,SGD,SGD,0.1,99,99.0,-99.0,")


@pytest.mark.parametrize("form", ["csv", "ndjson"])
async def test_lines_are_all_of_the_runs_unless_a_page_is_asked_for(
    client: httpx.AsyncClient, form: str
) -> None:
    job = await post(client, {**SWEEP, "lr": {"num": 3000}})
    whole = await client.get(f"{job['links']['runs']}?format={form}")
    page = await client.get(f"{job['links']['runs']}?format={form}&limit=10")
    head = 1 if form == "csv" else 0

    assert len(whole.text.splitlines()) == 6000 + head
    assert "link" not in whole.headers
    assert len(page.text.splitlines()) == 10 + head
    assert "cursor=10" in page.headers["link"]


async def test_many_series_come_as_csv_and_are_given_back(client: httpx.AsyncClient) -> None:
    lines = [f"s{k % 7},{k},{2 * k}" for k in range(700)]
    headers = {"Content-Type": "text/csv"}
    answer = await client.post(
        "/batch?wait=0&optimizer=sgd", content="\n".join(["series,x,y", *lines]), headers=headers
    )
    job = answer.json()
    own = f"/v1/jobs/{job['id']}"

    assert job["spec"]["data"]["num_series"] == 7
    runs = (await client.get(f"{own}/runs")).json()["data"]
    assert [run["series"] for run in runs] == [f"s{k}" for k in range(7)]
    back = list(csv.DictReader(io.StringIO((await client.get(f"{own}/data?format=csv")).text)))
    assert len(back) == 700
    assert back[100] == {"series": "s1", "x": "1.0", "y": "2.0"}
    one = (await client.get(f"{own}/data?run=3")).json()
    assert (one["points"], one["x"][:3]) == (100, [3.0, 10.0, 17.0])
    assert set(one) == {"object", "job", "points", "x", "y"}


async def test_history_of_a_run_is_that_of_the_fit_which_repeats_it(
    client: httpx.AsyncClient, hand: Hand
) -> None:
    job = await post(client, SWEEP)
    hand.finish(hand.claim(), Outcome(exact=None, problem=None, runs=(), sweep=make_summary()))
    path = f"/v1/jobs/{job['id']}/history?run=5"
    waiting = await client.get(f"{path}&wait=0")

    assert (waiting.status_code, waiting.headers["retry-after"]) == (202, "1")
    assert (waiting.json()["label"], waiting.json()["done"]) == ("Adam lr 0.4", False)
    fit = (await client.get(f"/v1/jobs/{waiting.json()['fit']}")).json()
    assert (fit["kind"], fit["rerun_of"], fit["tags"]) == ("fit", job["id"], {})
    assert (fit["spec"]["optimizer"]["lr"], fit["spec"]["seed"]) == (0.4, 3)
    assert fit["spec"]["data"] == {"preset": "classic", "points": None, "seed": 3}

    async def work() -> None:
        claim = hand.claim()
        hand.record(claim, make_rows(50))
        hand.finish(claim, make_outcome())

    done, _ = await asyncio.gather(client.get(path), work())
    assert done.status_code == 200
    assert (done.json()["fit"], done.json()["points"]) == (fit["id"], 50)
    # Asked again, nothing is computed again.
    text = (await client.get(f"{path}&format=csv")).text
    assert text.startswith("step,loss")
    assert len((await client.get("/v1/jobs")).json()["data"]) == 2


@pytest.mark.parametrize(
    "body",
    [SERIES, [[[k, 2 * k] for k in range(150)], [[k, k] for k in range(150)]]],
    ids=["inline", "stored"],
)
async def test_history_of_a_series_is_a_fit_of_its_points(
    client: httpx.AsyncClient, body: Any
) -> None:
    job = await post(client, body, "/batch?wait=0")
    history = (await client.get(f"/v1/jobs/{job['id']}/history?run=1&wait=0")).json()
    points = (await client.get(f"/v1/jobs/{history['fit']}/data")).json()

    assert [list(pair) for pair in zip(points["x"], points["y"], strict=True)] == body[1]
    assert history["label"] == "series 1"


async def test_sweep_s_stored_points_are_those_of_its_fits(client: httpx.AsyncClient) -> None:
    data = [[k, 2 * k] for k in range(300)]
    job = await post(client, {**SWEEP, "data": data})
    history = (await client.get(f"/v1/jobs/{job['id']}/history?run=1&wait=0")).json()
    points = (await client.get(f"/v1/jobs/{history['fit']}/data")).json()

    assert points["y"][299] == 598


async def test_history_of_many_needs_a_run_and_no_foreign_page(client: httpx.AsyncClient) -> None:
    job = await post(client, SWEEP)
    own = f"/v1/jobs/{job['id']}"
    unnamed = await client.get(f"{own}/history")
    beyond = await client.get(f"{own}/history?run=6")
    foreign = await client.get(f"{own}/history?run=1", headers={"Sec-Fetch-Site": "cross-site"})

    assert (unnamed.status_code, beyond.status_code, foreign.status_code) == (400, 404, 403)
    assert unnamed.json()["detail"] == "Say which of the 6 runs: ?run=0 to ?run=5"
    assert len((await client.get("/v1/jobs")).json()["data"]) == 1


async def test_run_is_reproduced_by_a_script(client: httpx.AsyncClient) -> None:
    sweep = await post(client, SWEEP)
    batch = await post(client, SERIES, "/batch?wait=0")
    of_sweep = await client.get(f"/v1/jobs/{sweep['id']}/reproduce.py?run=5")
    of_batch = await client.get(f"/v1/jobs/{batch['id']}/reproduce.py?run=1")

    assert "torch.optim.Adam(" in of_sweep.text
    assert "lr=0.4" in of_sweep.text
    assert "[2.0, 1.0, 0.0]" in of_batch.text


@pytest.mark.parametrize("chart", ["chart.svg", "chart.json", "chart.txt"])
async def test_sweep_has_no_loss_curve(client: httpx.AsyncClient, chart: str) -> None:
    job = await post(client, SWEEP)
    answer = await client.get(f"/v1/jobs/{job['id']}/{chart}")

    assert answer.status_code == 404
    assert "history?run=0 makes the fit" in answer.json()["detail"]


async def test_rerun_keeps_the_kind_and_takes_what_refine_says(client: httpx.AsyncClient) -> None:
    job = await post(client, SWEEP)
    body = {"optimizer": "sgd", "lr": {"min": 0.1, "max": 1, "num": 4}}
    again = await post(client, body, f"/v1/jobs/{job['id']}/rerun")

    assert (again["kind"], again["rerun_of"]) == ("sweep", job["id"])
    assert [one["label"] for one in again["spec"]["optimizers"]] == ["SGD"]
    assert again["spec"]["lr"]["num"] == 4
    refused = await client.post(f"/v1/jobs/{job['id']}/cancel")
    assert refused.json()["status"] == "cancelled"
    extended = await client.post(f"/v1/jobs/{job['id']}/extend", json={"steps": 5})
    assert extended.json()["errors"][0]["code"] == "cannot-extend"


async def test_batch_is_rerun_on_the_very_series(client: httpx.AsyncClient) -> None:
    data = [[[k, 2 * k] for k in range(150)], [[k, k] for k in range(151)]]
    job = await post(client, data, "/batch?wait=0")
    again = await post(client, {"lr": 0.5}, f"/v1/jobs/{job['id']}/rerun")

    assert again["spec"]["data"] == job["spec"]["data"]
    assert again["spec"]["optimizer"]["lr"] == 0.5
    raw = [(await client.get(f"/v1/jobs/{one['id']}/data")).json()["y"] for one in (job, again)]
    assert raw[0] == raw[1]


async def test_series_and_points_are_not_each_other_s(client: httpx.AsyncClient) -> None:
    fit, batch = await post(client, {}), await post(client, SERIES, "/batch?wait=0")
    for kind, lender in (("fit", batch), ("batch", fit)):
        body = {"kind": kind, "data": {"job": lender["id"]}}
        answer = await client.post("/v1/jobs", json=body)

        assert answer.status_code == 422
        assert answer.json()["errors"][0]["code"] == "other-points"


async def test_batch_is_bounded_by_the_operator(
    client: httpx.AsyncClient, api_settings: Settings
) -> None:
    most = api_settings.max_batch_points
    answer = await client.post("/batch", json=[[[0, 1]] * (most // 2), [[0, 1]] * (most // 2 + 1)])
    flaw = answer.json()["errors"][0]

    assert (answer.status_code, flaw["code"], flaw["pointer"]) == (422, "too-long", "/data")
    assert "FITJOBS_MAX_BATCH_POINTS" in flaw["detail"]
