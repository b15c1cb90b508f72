"""Follows a job's event stream across broken connections, and writes down what it brought."""

import json
from collections.abc import Mapping
from typing import Any, Final

import httpx

from tests.chaos.client import Client, make_sight
from tests.chaos.ledger import SNAPSHOT, TERMINAL, Call, Frame, Sight, now
from tests.chaos.sse import Message, messages

_ENDS: Final = frozenset(f"job.{status}" for status in TERMINAL)


class Watch:
    """One reader of one job's stream; every broken connection is opened again after what it saw.

    Args:
        client: What talks.
        job_id: Whose stream.
        intent: The same in the ledger.
        number: Tells this watch from the others of the run.
    """

    def __init__(self, client: Client, job_id: str, *, intent: str, number: int) -> None:
        self._client = client
        self._job_id = job_id
        self._intent = intent
        self._number = number
        self._last: int | None = None
        self.is_over = False
        """Whether nothing can follow."""

    async def follow(self) -> int | None:
        """Read until the stream ends or breaks; return the status, None when there was none."""
        began = now()
        code: int | None = None
        problem: str | None = None
        try:
            async with self._client.open_stream(self._job_id, last=self._last) as answer:
                code = answer.status_code
                if code == httpx.codes.NO_CONTENT:
                    self.is_over = True
                elif code == httpx.codes.OK:
                    async for message in messages(answer.aiter_lines()):
                        self._take(message, began=began)
                else:
                    await answer.aread()
                    problem = answer.json()["type"].removeprefix("/problems/")
        except httpx.TransportError as error:
            code, problem = None, type(error).__name__
        self._log(began, code=code, problem=problem)
        return code

    def _take(self, message: Message, *, began: float) -> None:
        data = json.loads(message.data)
        seq = self._last = int(message.id)
        self._client.ledger.frames.append(
            Frame(intent=self._intent, watch=self._number, seq=seq, type=message.event)
        )
        if message.event == SNAPSHOT:
            # That of an ended job is numbered just before the event that ended it.
            self._see(data, seq=seq + (data["status"] in TERMINAL), began=began)
        if message.event in _ENDS:
            self.is_over = True
            self._see(data, seq=seq, began=began)

    def _see(self, data: Mapping[str, Any], *, seq: int, began: float) -> None:
        """Note the job that a first or a last frame carries."""
        job = data if data.get("object") == "job" else data.get("job")
        if job is not None:
            self._log(began, code=httpx.codes.OK, sight=make_sight(job, seq=seq))

    def _log(
        self,
        began: float,
        *,
        code: int | None,
        problem: str | None = None,
        sight: Sight | None = None,
    ) -> None:
        self._client.ledger.calls.append(
            Call(
                intent=self._intent,
                what="stream",
                began=began,
                ended=now(),
                code=code,
                problem=problem,
                sight=sight,
            )
        )
