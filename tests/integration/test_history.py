"""Histories, points, runs, events, charts and scripts of a job."""

import json
from typing import Any

import httpx
import pytest

from tests.integration.hand import Hand, make_outcome, make_result, make_rows


async def post(client: httpx.AsyncClient, body: object = None, path: str = "/v1/jobs") -> str:
    job: dict[str, Any] = (await client.post(path, json=body or {"steps": 100})).json()
    return f"/v1/jobs/{job['id']}"


@pytest.fixture
async def fit(client: httpx.AsyncClient, hand: Hand) -> str:
    """The path of a finished fit with 50 rows."""
    path = await post(client)
    hand.run_next(rows=50)
    return path


@pytest.fixture
async def comparison(client: httpx.AsyncClient, hand: Hand) -> str:
    """The path of a finished comparison of three runs with 20 rows each."""
    path = await post(client, {"optimizers": ["adam", "sgd", "adagrad"]}, "/compare?wait=0")
    claim = hand.claim()
    for run in range(3):
        hand.record(claim, make_rows(20), run=run)
    losses = (0.5, 0.1, 0.3)
    results = [
        make_result(run, f"run {run}", loss=loss, best=None) for run, loss in enumerate(losses)
    ]
    hand.finish(claim, make_outcome(*results, ranking=(1, 2, 0)))
    return path


async def test_history_is_columns(client: httpx.AsyncClient, fit: str) -> None:
    answer = await client.get(f"{fit}/history")
    history = answer.json()

    assert history["object"] == "history"
    assert (history["points"], history["last_step"], history["next"]) == (50, 49, None)
    assert history["done"] is True
    assert history["loss"][1] == 0.5
    assert answer.headers["etag"] == '"4-50-50"'
    again = await client.get(f"{fit}/history", headers={"If-None-Match": '"4-50-50"'})
    assert again.status_code == 304


async def test_history_is_paged_by_step(client: httpx.AsyncClient, fit: str) -> None:
    steps: list[int] = []
    path: str | None = f"{fit}/history?limit=20"
    while path:
        answer = await client.get(path)
        steps += answer.json()["step"]
        path = answer.json()["next"]
        assert answer.headers.get("link") == (f'<{path}>; rel="next"' if path else None)

    assert steps == list(range(50))


async def test_history_follows_a_running_job(client: httpx.AsyncClient, hand: Hand) -> None:
    path = await post(client)
    claim = hand.claim()
    hand.record(claim, make_rows(10))
    first = (await client.get(f"{path}/history")).json()
    hand.record(claim, make_rows(5, first=10))
    more = await client.get(f"{path}/history?after_step={first['last_step']}")
    nothing = (await client.get(f"{path}/history?after_step=14")).json()

    assert first["done"] is False
    assert more.json()["step"] == [10, 11, 12, 13, 14]
    assert more.headers["retry-after"] == "1"
    assert (nothing["step"], nothing["last_step"]) == ([], 14)


async def test_history_is_thinned_on_request(client: httpx.AsyncClient, fit: str) -> None:
    history = (await client.get(f"{fit}/history?points=8")).json()

    assert history["points"] <= 8
    assert (history["step"][0], history["step"][-1]) == (0, 49)


@pytest.mark.parametrize(
    ("query", "accept", "media_type"),
    [
        ("?format=csv", None, "text/csv"),
        ("", "text/csv", "text/csv"),
        ("?format=ndjson", None, "application/x-ndjson"),
        ("", "application/x-ndjson", "application/x-ndjson"),
    ],
)
async def test_history_comes_as_lines(
    client: httpx.AsyncClient, fit: str, query: str, accept: str | None, media_type: str
) -> None:
    headers = {"Accept": accept} if accept else {}
    answer = await client.get(f"{fit}/history{query}", headers=headers)
    lines = answer.text.splitlines()

    assert answer.headers["content-type"].startswith(media_type)
    assert len(lines) == (51 if "csv" in media_type else 50)
    if "csv" in media_type:
        assert lines[:2] == ["step,loss,excess_loss,a,b", "0,1.0,1.0,1.0,1.0"]
    else:
        assert json.loads(lines[1])["loss"] == 0.5


async def test_long_history_is_written_off_the_loop(client: httpx.AsyncClient, hand: Hand) -> None:
    path = await post(client)
    hand.run_next(rows=3_000)

    assert (await client.get(f"{path}/history?format=csv")).text.count("\n") == 3_001


async def test_history_of_each_run(client: httpx.AsyncClient, comparison: str) -> None:
    second = (await client.get(f"{comparison}/history?run=1")).json()
    missing = await client.get(f"{comparison}/history?run=3")

    assert (second["run"], second["label"], second["points"]) == (1, "SGD lr 0.001", 20)
    assert missing.status_code == 404
    assert "3 runs: 0 to 2" in missing.json()["detail"]


@pytest.mark.parametrize(
    "query", ["limit=0", "limit=100001", "points=0", "after_step=-2", "run=-1"]
)
async def test_history_out_of_bounds_is_refused(
    client: httpx.AsyncClient, fit: str, query: str
) -> None:
    answer = await client.get(f"{fit}/history?{query}")

    assert answer.status_code == 400
    assert answer.json()["type"] == "/problems/invalid-parameter"


async def test_batch_loss_has_no_number_at_the_start(client: httpx.AsyncClient, hand: Hand) -> None:
    path = await post(client, {"batch_size": 10})
    hand.record(hand.claim(), make_rows(3, batches=True))
    history = (await client.get(f"{path}/history")).json()

    assert history["batch_loss"] == [None, 0.5, 0.5]
    assert history["nonfinite"] == []


async def test_inline_points_come_back(client: httpx.AsyncClient) -> None:
    path = await post(client, {"data": [[0, 1], [1, 3]]})
    answer = await client.get(f"{path}/data")

    assert (answer.json()["x"], answer.json()["y"]) == ([0.0, 1.0], [1.0, 3.0])
    text = (await client.get(f"{path}/data?format=csv")).text
    assert text == "x,y\n0.0,1.0\n1.0,3.0\n"
    bare = (await client.get(f"{path}/data?format=csv&header=false")).text
    assert bare == "0.0,1.0\n1.0,3.0\n"


async def test_many_points_come_back_from_the_store(client: httpx.AsyncClient) -> None:
    path = await post(client, {"data": [[k, 2 * k] for k in range(1500)]})
    data = (await client.get(f"{path}/data")).json()
    script = await client.get(f"{path}/reproduce.py")

    assert data["points"] == 1500
    assert data["y"][-1] == 2998.0
    assert script.headers["link"] == f'<{path}/data?format=csv&header=false>; rel="related"'


async def test_points_that_are_drawn_are_not_stored(client: httpx.AsyncClient) -> None:
    path = await post(client)
    answer = await client.get(f"{path}/data")

    assert answer.status_code == 404
    assert "spec.data says how they are drawn" in answer.json()["detail"]


async def test_runs_are_sorted_and_paged(client: httpx.AsyncClient, comparison: str) -> None:
    first = await client.get(f"{comparison}/runs?sort=final_loss&limit=2")
    second = await client.get(first.json()["next"])

    assert [run["run"] for run in first.json()["data"]] == [1, 2]
    assert [run["run"] for run in second.json()["data"]] == [0]
    assert (first.json()["total"], second.json()["next"]) == (3, None)
    assert first.headers["link"].endswith('rel="next"')
    assert first.json()["data"][0]["links"]["history"] == f"{comparison}/history?run=1"


async def test_runs_come_as_csv(client: httpx.AsyncClient, comparison: str, fit: str) -> None:
    text = (await client.get(f"{comparison}/runs?format=csv&sort=-loss")).text
    of_a_fit = (await client.get(f"{fit}/runs", headers={"Accept": "text/csv"})).text

    assert [line.split(",")[0] for line in text.splitlines()] == ["run", "0", "2", "1"]
    assert of_a_fit.count("\n") == 2


@pytest.mark.parametrize("cursor", ["x", "-1", "9" * 12, "\u0663"])
async def test_runs_refuse_a_strange_cursor(
    client: httpx.AsyncClient, comparison: str, cursor: str
) -> None:
    answer = await client.get(f"{comparison}/runs", params={"cursor": cursor})

    assert answer.status_code == 400
    assert answer.json()["type"] == "/problems/invalid-cursor"


async def test_events_are_paged_by_seq(client: httpx.AsyncClient, fit: str) -> None:
    first = (await client.get(f"{fit}/events?limit=2")).json()
    second = (await client.get(first["next"])).json()
    events = first["data"] + second["data"]

    assert [event["type"] for event in events] == ["job.queued", "job.started", "job.succeeded"]
    assert [event["seq"] for event in events] == sorted({event["seq"] for event in events})
    assert second["next"] is None
    assert second["last_seq"] == events[-1]["seq"]
    assert events[0]["at"].endswith("Z")
    assert (await client.get(f"{fit}/events?after=99")).json()["last_seq"] == 99


@pytest.mark.parametrize("name", ["chart.json", "chart.txt", "chart.svg", "chart.png"])
async def test_chart_has_a_version(client: httpx.AsyncClient, fit: str, name: str) -> None:
    first = await client.get(f"{fit}/{name}")
    again = await client.get(f"{fit}/{name}", headers={"If-None-Match": first.headers["etag"]})

    assert first.status_code == 200
    assert again.status_code == 304
    assert again.content == b""


async def test_chart_is_drawn_in_every_form(client: httpx.AsyncClient, comparison: str) -> None:
    spec = (await client.get(f"{comparison}/chart.json")).json()
    svg = await client.get(f"{comparison}/chart.svg?y=loss&scale=linear")
    png = await client.get(f"{comparison}/chart.png")
    text = await client.get(f"{comparison}/chart.txt?width=100&height=8&y=loss")

    assert spec["$schema"].startswith("https://vega.github.io/schema/vega-lite")
    assert svg.headers["content-type"] == "image/svg+xml"
    assert svg.text.startswith("<svg")
    assert "default-src 'none'" in svg.headers["content-security-policy"]
    assert png.headers["content-type"] == "image/png"
    assert png.content.startswith(b"\x89PNG")
    assert text.text.startswith("loss, log scale")
    assert text.text.endswith("\n")


@pytest.mark.parametrize("query", ["y=height", "scale=cubic", "width=5"])
async def test_chart_that_cannot_be_drawn_is_refused(
    client: httpx.AsyncClient, fit: str, query: str
) -> None:
    assert (await client.get(f"{fit}/chart.txt?{query}")).status_code == 400


async def test_script_is_python_with_the_spec(
    client: httpx.AsyncClient, fit: str, comparison: str
) -> None:
    whole = await client.get(f"{fit}/reproduce.py")
    second = await client.get(f"{comparison}/reproduce.py?run=1")
    missing = await client.get(f"{fit}/reproduce.py?run=1")
    queued = await client.get(f"{await post(client)}/reproduce.py")

    assert whole.headers["content-type"].startswith("text/x-python")
    compile(whole.text, "reproduce.py", "exec")
    assert "torch.optim.Adam(" in whole.text
    assert "torch.optim.SGD(" in second.text
    assert missing.status_code == 404
    assert "one run: run 0" in missing.json()["detail"]
    assert queued.status_code == 200


async def test_log_abscissa_spreads_the_first_steps(
    client: httpx.AsyncClient, comparison: str
) -> None:
    drawn = (await client.get(f"{comparison}/chart.json?x=log")).json()
    plain = (await client.get(f"{comparison}/chart.json")).json()

    assert drawn != plain
    assert drawn["layer"][0]["encoding"]["x"]["scale"]["type"] == "symlog"
    assert (await client.get(f"{comparison}/chart.json?x=seconds")).status_code == 400
