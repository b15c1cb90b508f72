"""Turns a record into the answer that shows it: histories, queue place, JSON or text, headers."""

import asyncio
from dataclasses import dataclass
from typing import Annotated, Any, Final

from fastapi import Depends, Query, Request
from starlette.responses import Response

from app.api.address import base_of
from app.api.answer import Answer
from app.api.deps import Rooms
from app.api.etag import to_etag
from app.api.formats import AcceptText, FormatText, choose_format
from app.api.place import ask_place, find_place
from app.api.view import FULL_ROWS, Histories, job_object
from app.charts.caption import curves_of
from app.charts.report import report
from app.domain.errors import InvalidParameter
from app.domain.history import Rows, make_empty
from app.domain.job import JobRecord
from app.domain.kinds import ManyRuns
from app.domain.spec import run_specs
from app.store.standing import Standing

RETRY_SECONDS: Final = 1
"""When to ask again for an unfinished job: a small fit takes less, and ?wait asks for none."""

_READS_AT_ONCE: Final = 8
"""Each takes a connection while it lasts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """How a client wants to see a job.

    Attributes:
        form: "json" or "text".
        points: Rows of each run's history; 0 for none; None for the default of the kind.
        base_url: The service as the client sees it, for commands in the text form.
    """

    form: str = "json"
    points: int | None = None
    base_url: str = "http://localhost:8000"


HistoryText = Annotated[
    str | None,
    Query(
        alias="history",
        description=f"Rows of the history in the answer: `none`, `full` (at most {FULL_ROWS} in "
        "all; `/history` pages through more) or a number.",
        examples=["none", "50"],
    ),
]


async def read_wish(
    request: Request,
    *,
    history: HistoryText = None,
    form: FormatText = None,
    accept: AcceptText = None,
) -> Wish:
    """Read ?history, ?format and Accept.

    Raises:
        InvalidParameter: One of them has no meaning here.
        NotAcceptable: Accept excludes JSON and text.
    """
    return Wish(
        form=choose_format(form, accept, offered=("json", "text")),
        points=_to_points(history),
        base_url=base_of(request),
    )


WishDep = Annotated[Wish, Depends(read_wish)]


def _to_points(text: str | None) -> int | None:
    match text:
        case None:
            return None
        case "none":
            return 0
        case "full":
            return FULL_ROWS
        case _ if text.isascii() and text.isdigit():
            return min(int(text[:9]), FULL_ROWS)
        case _:
            raise InvalidParameter("history must be none, full or a number of rows")


async def answer_job(
    record: JobRecord,
    *,
    wish: Wish,
    rooms: Rooms,
    status: int = 200,
    headers: dict[str, str] | None = None,
    standing: Standing | None = None,
) -> Response:
    """Return the job as the client wishes to see it.

    Args:
        record: What to show.
        wish: JSON or text, and how much of the history.
        rooms: Where histories and queue are.
        status: HTTP status.
        headers: Further headers.
        standing: Where it waits, when that is known already.
    """
    every = {**job_headers(record), "Vary": "Accept", **(headers or {})}
    if wish.form == "text":
        curves = curves_of(record, await load_histories(record, rooms=rooms))
        text = report(record, curves, base_url=wish.base_url)
        return Response(
            text, status_code=status, headers=every, media_type="text/plain; charset=utf-8"
        )
    shown = await show_job(record, wish=wish, rooms=rooms, standing=standing)
    return Answer(shown, status_code=status, headers=every)


async def show_job(
    record: JobRecord, *, wish: Wish, rooms: Rooms, standing: Standing | None = None
) -> dict[str, Any]:
    """Return the job object with its histories and its place in the queue."""
    histories = None
    if wish.points != 0:
        rows = await load_histories(record, rooms=rooms)
        histories = Histories(rows=rows, points=wish.points)
    place = (
        await ask_place(record, store=rooms.store)
        if standing is None
        else find_place(record.device.queue, standing)
    )
    return job_object(record, histories=histories, place=place)


def job_headers(record: JobRecord) -> dict[str, str]:
    """Return version, and for a job that goes on, when to ask again."""
    headers = {"ETag": to_etag(record.seq)}
    if not record.status.is_terminal:
        headers["Retry-After"] = str(RETRY_SECONDS)
    return headers


async def load_histories(record: JobRecord, *, rooms: Rooms) -> list[Rows]:
    """Return all rows of every run, in the order of running; none of a job never claimed."""
    if isinstance(record.spec, ManyRuns):
        return []
    count = len(run_specs(record.spec))
    if record.attempt == 0:
        return [make_empty()] * count
    ended = record if record.status.is_terminal else None
    found: list[Rows] = []
    for first in range(0, count, _READS_AT_ONCE):
        some = range(first, min(count, first + _READS_AT_ONCE))
        found += await asyncio.gather(
            *(rooms.store.history(record.id, run=run, ended=ended) for run in some)
        )
    return found
