"""Clients of every habit: they submit, wait, poll, stream and cancel until they are told to stop.

Each has one job at a time, so the queue is never longer than the crowd.
"""

import asyncio
from collections.abc import Awaitable, Callable
from itertools import count
from random import Random
from typing import Final

import httpx

from tests.chaos.client import Client
from tests.chaos.kind import KINDS, spec_of
from tests.chaos.ledger import TERMINAL, Call, Intent
from tests.chaos.watch import Watch

CROWD: Final = 8
"""Four times as many jobs in hand as processes that compute."""
_POLL_SECONDS: Final = (0.1, 0.8)
_WAIT_SECONDS: Final = 8.0
_CANCEL_SHARE: Final = 0.15
_GIVE_UP_SHARE: Final = 0.1
_TWIN_SHARE: Final = 0.2
_OWN_ID_SHARE: Final = 0.3


class Crowd:
    """Some clients with one ledger.

    Args:
        client: What talks.
        random: Chooses what they want and how they behave.
        prefix: First part of every name, so that no two runs share a key.
    """

    def __init__(self, client: Client, random: Random, *, prefix: str) -> None:
        self._client = client
        self._random = random
        self._prefix = prefix
        self._numbers = count(1)
        self._habits = [self._poll, self._wait, self._long_poll, self._watch, self._watch]
        self.is_over = asyncio.Event()
        """Once set, nobody insists on anything."""
        self.is_closing = asyncio.Event()
        """Once set, nobody submits another job; those at hand are followed to their end."""

    async def run(self, *, size: int = CROWD) -> None:
        """Go on until everybody has left."""
        async with asyncio.TaskGroup() as group:
            for _ in range(size):
                group.create_task(self._live())

    async def _live(self) -> None:
        while not self.is_closing.is_set():
            intent = self._make_intent()
            self._client.ledger.intents[intent.name] = intent
            job_id = await self._submit(intent)
            if job_id is None:
                continue
            if intent.may_cancel:
                await asyncio.sleep(self._random.uniform(0.0, 3.0))
                await self._cancel(intent, job_id)
            follow = self._random.choice(self._habits)
            await follow(intent, job_id)

    def _make_intent(self) -> Intent:
        return Intent(
            name=f"{self._prefix}-{next(self._numbers)}",
            kind=self._random.choice(list(KINDS)),
            may_cancel=self._random.random() < _CANCEL_SHARE,
            may_give_up=self._random.random() < _GIVE_UP_SHARE,
        )

    async def _submit(self, intent: Intent) -> str | None:
        """Return the job's id, None when the client has given up."""
        posts = 2 if self._random.random() < _TWIN_SHARE else 1
        has_own_id = self._random.random() < _OWN_ID_SHARE
        post = self._put if has_own_id else self._post
        calls = await asyncio.gather(*(post(intent) for _ in range(posts)))
        sights = [call.sight for call in calls if call.sight is not None]
        return sights[0].job_id if sights else None

    async def _post(self, intent: Intent) -> Call:
        call, _ = await self._client.insist(
            "POST",
            "/v1/jobs",
            intent=intent,
            is_over=self.is_over,
            body=spec_of(intent.kind, intent=intent.name),
            headers={"Idempotency-Key": intent.name},
        )
        return call

    async def _put(self, intent: Intent) -> Call:
        call, _ = await self._client.insist(
            "PUT",
            f"/v1/jobs/{intent.name}?history=none",
            intent=intent,
            is_over=self.is_over,
            body=spec_of(intent.kind, intent=intent.name),
        )
        return call

    async def _cancel(self, intent: Intent, job_id: str) -> None:
        await self._client.insist(
            "POST", f"/v1/jobs/{job_id}/cancel", intent=intent, what="cancel", is_over=self.is_over
        )

    async def _poll(self, intent: Intent, job_id: str) -> None:
        async def look() -> Call:
            await asyncio.sleep(self._random.uniform(*_POLL_SECONDS))
            return await self._get(intent, job_id, what="GET")

        await self._until_done(look)

    async def _wait(self, intent: Intent, job_id: str) -> None:
        async def look() -> Call:
            return await self._get(intent, job_id, what="GET ?wait", wait=_WAIT_SECONDS)

        await self._until_done(look)

    async def _long_poll(self, intent: Intent, job_id: str) -> None:
        last: int | None = None

        async def look() -> Call:
            nonlocal last
            call = await self._get(
                intent, job_id, what="GET long poll", wait=_WAIT_SECONDS, last=last
            )
            if call.sight is not None:
                last = call.sight.seq
            return call

        await self._until_done(look)

    async def _watch(self, intent: Intent, job_id: str) -> None:
        watch = Watch(self._client, job_id, intent=intent.name, number=next(self._numbers))
        while not watch.is_over and not self.is_over.is_set():
            code = await watch.follow()
            if code is not None and 400 <= code < 500:
                break
            if code != httpx.codes.OK:
                await asyncio.sleep(self._random.uniform(*_POLL_SECONDS))
        await self._wait(intent, job_id)

    async def _get(
        self,
        intent: Intent,
        job_id: str,
        *,
        what: str,
        wait: float | None = None,
        last: int | None = None,
    ) -> Call:
        call, _ = await self._client.ask(
            "GET",
            f"/v1/jobs/{job_id}?history=none",
            intent=intent.name,
            what=what,
            wait_seconds=wait,
            headers={} if last is None else {"If-None-Match": f'"{last}"'},
        )
        return call

    async def _until_done(self, look: Callable[[], Awaitable[Call]]) -> None:
        """Look until the job has ended or is no longer known."""
        while not self.is_over.is_set():
            call = await look()
            if call.sight is not None and call.sight.status in TERMINAL:
                return
            if call.code is not None and call.code >= 400 and call.code != 503:
                return
            if call.code is None or call.code == 503:
                await asyncio.sleep(self._random.uniform(*_POLL_SECONDS))
