"""One request to the service, written into the ledger whatever comes of it."""

import asyncio
import json
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from typing import Any, Final, Self

import httpx

from tests.chaos.ledger import TERMINAL, Call, Intent, Ledger, Sight, now

ANSWER_SECONDS: Final = 30.0
"""Longest silence that a client bears, beyond what it asked to wait for."""
RETRY_SECONDS: Final = 0.5
"""Between two tries of a client that was refused or cut off."""
_JSON: Final = {"Content-Type": "application/json"}

Answered = tuple[Call, Mapping[str, Any] | None]
"""The call, and the JSON object that was answered, if one was."""


class Client:
    """Talks to one service; every request opens a connection of its own.

    A connection that is kept may be closed by the server just as the next request is sent, which
    looks like a fault and is none.

    Args:
        url: Of the service.
        ledger: Where every call is written.
    """

    def __init__(self, url: str, ledger: Ledger) -> None:
        self.ledger = ledger
        self._http = httpx.AsyncClient(
            base_url=url,
            timeout=ANSWER_SECONDS,
            limits=httpx.Limits(max_connections=None, max_keepalive_connections=0),
            trust_env=False,
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._http.aclose()

    async def ask(
        self,
        method: str,
        path: str,
        *,
        intent: str = "",
        what: str | None = None,
        body: Mapping[str, Any] | None = None,
        raw: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        wait_seconds: float | None = None,
    ) -> Answered:
        """Send one request.

        Args:
            method: "GET", "POST", "PUT".
            path: With its query.
            intent: Whose job it is about.
            what: How the ledger names it; the method alone when left out.
            body: JSON to send.
            raw: What to send in its place, as it is.
            headers: More headers.
            wait_seconds: Adds `?wait`.
        """
        began = now()
        params = {} if wait_seconds is None else {"wait": f"{wait_seconds:g}"}
        code: int | None = None
        found: Mapping[str, Any] | None = None
        problem: str | None = None
        sight: Sight | None = None
        try:
            answer = await self._http.request(
                method,
                path,
                params=httpx.QueryParams(path.partition("?")[2]).merge(params),
                content=raw if body is None else json.dumps(body).encode(),
                headers={**_JSON, **(headers or {})},
                timeout=ANSWER_SECONDS + (wait_seconds or 0.0),
            )
        except httpx.TransportError as error:
            problem = type(error).__name__
        else:
            code = answer.status_code
            found = _object_of(answer)
            problem = None if answer.is_success or code == 304 else _problem_of(found)
            sight = sight_of(found, answer.headers)
        call = Call(
            intent=intent,
            what=what or method,
            began=began,
            ended=now(),
            code=code,
            problem=problem,
            sight=sight,
        )
        self.ledger.calls.append(call)
        return call, found

    async def insist(
        self, method: str, path: str, *, intent: Intent, is_over: asyncio.Event, **how: Any
    ) -> Answered:
        """Send a request again until it is answered with anything but 503.

        Args:
            method: As in `ask`.
            path: As in `ask`.
            intent: Whose job it is about.
            is_over: Ends the insisting.
            how: More of `ask`.
        """
        while True:
            call, found = await self.ask(method, path, intent=intent.name, **how)
            is_final = call.code is not None and call.code != httpx.codes.SERVICE_UNAVAILABLE
            if is_final or is_over.is_set() or intent.may_give_up:
                return call, found
            await asyncio.sleep(RETRY_SECONDS)

    async def read(self, path: str) -> Mapping[str, Any]:
        """Return a JSON object, asking again as long as the service is away.

        Raises:
            LookupError: It is not there.
        """
        while True:
            call, found = await self.ask("GET", path, what="reading")
            if call.code == httpx.codes.OK and found is not None:
                return found
            if call.code is not None and call.code != httpx.codes.SERVICE_UNAVAILABLE:
                raise LookupError(f"{path}: {call.code} {call.problem}")
            await asyncio.sleep(RETRY_SECONDS)

    def open_stream(
        self, job_id: str, *, last: int | None
    ) -> AbstractAsyncContextManager[httpx.Response]:
        """Open a job's event stream, after the last seq that was seen."""
        headers = {} if last is None else {"Last-Event-ID": str(last)}
        return self._http.stream("GET", f"/v1/jobs/{job_id}/stream", headers=headers)


def sight_of(found: Mapping[str, Any] | None, headers: Mapping[str, str]) -> Sight | None:
    """Return what an answer says of a job, None when it says nothing of one."""
    if found is None or found.get("object") != "job" or "etag" not in headers:
        return None
    return make_sight(found, seq=int(headers["etag"].strip('"')))


def make_sight(job: Mapping[str, Any], *, seq: int) -> Sight:
    """Return what a job object says."""
    return Sight(
        job_id=job["id"],
        status=job["status"],
        seq=seq,
        attempt=job["attempt"],
        ending=ending_of(job),
    )


def ending_of(job: Mapping[str, Any]) -> str | None:
    """Return all of an ended job that may never change again, as text; None before its end.

    A cancel that was asked for after the end leaves no trace, and neither does a read.
    """
    if job["status"] not in TERMINAL:
        return None
    return json.dumps(without(job, "history", "spark"), sort_keys=True)


def without(value: Any, *names: str) -> Any:
    """Return JSON without some fields, however deep they stand."""
    if isinstance(value, Mapping):
        return {key: without(item, *names) for key, item in value.items() if key not in names}
    if isinstance(value, list):
        return [without(item, *names) for item in value]
    return value


def _object_of(answer: httpx.Response) -> Mapping[str, Any] | None:
    if not answer.content:
        return None
    try:
        found = answer.json()
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


def _problem_of(found: Mapping[str, Any] | None) -> str:
    return str((found or {}).get("type", "no problem document")).removeprefix("/problems/")
