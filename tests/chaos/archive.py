"""Reads whole jobs through the API: what the service knows when everything has settled."""

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping
from datetime import datetime
from typing import Any, Final

from tests.chaos.client import Client, ending_of, without
from tests.chaos.ledger import Event, Story

_UNLIKE: Final = ("run_seconds", "links", "history", "spark")
"""What may differ between two jobs of one spec: time and addresses; histories are read apart."""
_ABOUT: Final = frozenset(
    {"object", "job", "run", "label", "status", "done", "points", "last_step", "next"}
)
"""What stands before the columns of a history."""
_READERS: Final = 4


async def read_story(client: Client, job_id: str) -> Story:
    """Return a whole job.

    Raises:
        LookupError: The service does not know it.
    """
    job = await client.read(f"/v1/jobs/{job_id}?history=none")
    events = [
        event async for event in _pages(client, f"/v1/jobs/{job_id}/events?limit=1000", "data")
    ]
    count = len(job["result"]["runs"]) if "runs" in (job["result"] or {}) else 1
    columns = [await _read_columns(client, job_id, run=run) for run in range(count)]
    return Story(
        job_id=job_id,
        intent=job["spec"]["tags"].get("intent", ""),
        status=job["status"],
        seq=events[-1]["seq"],
        events=tuple(_event_of(event) for event in events),
        answer=answer_of(job),
        columns=tuple(columns),
        ending=ending_of(job),
    )


def answer_of(job: Mapping[str, Any]) -> dict[str, Any]:
    """Return what two runs of one spec must share to the bit."""
    names = ("status", "result", "error", "diagnosis", "engine")
    return {name: without(job[name], *_UNLIKE) for name in names}


async def list_jobs(client: Client, **filters: str) -> list[Mapping[str, Any]]:
    """Return every job that passes the filters, newest first, without histories."""
    query = "&".join(f"{name}={value}" for name, value in {"limit": "100", **filters}.items())
    return [job async for job in _pages(client, f"/v1/jobs?{query}", "data")]


async def read_stories(client: Client, job_ids: Iterable[str]) -> list[Story]:
    """Return many whole jobs, a few at a time; an id that is unknown is left out."""
    doors = asyncio.Semaphore(_READERS)

    async def read(job_id: str) -> Story | None:
        async with doors:
            try:
                return await read_story(client, job_id)
            except LookupError:
                return None

    return [story for story in await asyncio.gather(*map(read, job_ids)) if story is not None]


async def _pages(client: Client, path: str, name: str) -> AsyncIterator[Mapping[str, Any]]:
    following: str | None = path
    while following is not None:
        page = await client.read(following)
        for item in page[name]:
            yield item
        following = page["next"]


async def _read_columns(client: Client, job_id: str, *, run: int) -> dict[str, list[Any]]:
    columns: dict[str, list[Any]] = {}
    following: str | None = f"/v1/jobs/{job_id}/history?run={run}&limit=100000"
    while following is not None:
        page = await client.read(following)
        for name, values in page.items():
            if name not in _ABOUT and values is not None:
                columns.setdefault(name, []).extend(values)
        following = page["next"]
    return columns


def _event_of(event: Mapping[str, Any]) -> Event:
    at = datetime.fromisoformat(event["at"]).timestamp()
    return Event(seq=event["seq"], type=event["type"], at=at, data=event["data"])
