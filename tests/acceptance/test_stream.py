"""A stream over real processes: the API dies or is stopped in the middle, and no event is lost."""

import json
import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from typing import Any

import httpx
import pytest

from tests.acceptance.houses import House

pytestmark = pytest.mark.acceptance

SPEC = {
    "data": {"preset": "noisy"},
    "batch_size": 10,
    "steps": 10_000,
    "stop": {"loss_below": None},
    "engine": "torch",
}
LONGEST_SILENCE_SECONDS = 30
Event = tuple[int, str, Any]


@contextmanager
def streaming(house: House, job_id: str, *, seen: int | None = None) -> Iterator[httpx.Response]:
    headers = {} if seen is None else {"Last-Event-ID": str(seen)}
    url = f"{house.url}/v1/jobs/{job_id}/stream"
    with httpx.stream("GET", url, headers=headers, timeout=LONGEST_SILENCE_SECONDS) as stream:
        yield stream


def events_of(stream: httpx.Response) -> Iterator[Event]:
    """Yield events until the server ends the answer; an error of httpx when it is cut instead."""
    found: dict[str, str] = {}
    for line in stream.iter_lines():
        name, _, value = line.partition(": ")
        if name:
            found[name] = value
        elif "id" in found:
            yield int(found["id"]), found["event"], json.loads(found["data"])
            found = {}


def log_of(house: House, job_id: str, *, after: int) -> list[Any]:
    log: list[Any] = house.ask(f"/v1/jobs/{job_id}/events?after={after}&limit=1000")["data"]
    return log


def test_stream_goes_on_where_a_killed_api_cut_it(house: House) -> None:
    job_id = house.ask("/v1/jobs", SPEC)["id"]
    seen: list[Event] = []
    with streaming(house, job_id) as stream:
        events = events_of(stream)
        seen += islice(events, 4)
        os.kill(house.pid_of("uvicorn"), signal.SIGKILL)
        # A client sees that the answer is not whole.
        with pytest.raises(httpx.TransportError):
            seen += events
    while seen[-1][1] != "job.succeeded":
        # Who comes back often could miss or double often.
        with streaming(house, job_id, seen=seen[-1][0]) as stream:
            seen += islice(events_of(stream), 3)
    log = log_of(house, job_id, after=seen[0][0])

    assert seen[0][1] == "snapshot"
    assert [seq for seq, _, _ in seen[1:]] == [event["seq"] for event in log]
    assert [data for _, _, data in seen[1:-1]] == log[:-1]
    assert seen[-1][2] == house.ask(f"/v1/jobs/{job_id}?history=none")
    with streaming(house, job_id, seen=seen[-1][0]) as stream:
        assert stream.status_code == 204


def test_api_that_is_stopped_ends_its_streams_at_once(house: House) -> None:
    job_id = house.ask("/v1/jobs", SPEC)["id"]
    with streaming(house, job_id) as stream:
        events = events_of(stream)
        seen = list(islice(events, 2))
        stopped = time.monotonic()
        os.kill(house.pid_of("uvicorn"), signal.SIGTERM)
        # It ends as an answer ends, and is not cut.
        seen += events
        seconds = time.monotonic() - stopped
    following: list[Event] = []
    while not following:
        # The one that stops may still take a connection, and ends that stream as it ended ours;
        # then the house starts another, which the next request waits for.
        with streaming(house, job_id, seen=seen[-1][0]) as stream:
            assert stream.status_code == 200
            following += islice(events_of(stream), 2)
    log = log_of(house, job_id, after=seen[-1][0])
    house.ask(f"/v1/jobs/{job_id}/cancel", {})

    assert seconds < 2
    assert not seen[-1][2].get("done")
    assert [data for _, _, data in following] == log[:2]
