"""What the scenarios share: a stack with a client, some jobs in hand, a fault, and the judgement."""

import asyncio
import secrets
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random
from typing import Any, Final

from app.store.server import Fsync
from tests.chaos.archive import answer_of, list_jobs, read_stories
from tests.chaos.checker import References, check, first_difference
from tests.chaos.client import Client
from tests.chaos.fault import Fault
from tests.chaos.kind import spec_of
from tests.chaos.ledger import TERMINAL, Call, Intent, Ledger, Strike
from tests.chaos.monkey import Monkey
from tests.chaos.soak import read_references, settle
from tests.chaos.stack import Stack
from tests.chaos.violation import Harm, Violation
from tests.waiting import wait_until_async

_RUNNING_SECONDS: Final = 120.0
_ENDED_SECONDS: Final = 240.0


class Scene:
    """A stack that is ready, before, while and after one fault.

    Args:
        stack: The service.
        client: Talks to it, with the ledger of the scenario.
        references: The undisturbed stories.
    """

    def __init__(self, stack: Stack, client: Client, references: References) -> None:
        self.stack = stack
        self.client = client
        self.ledger: Ledger = client.ledger
        self.references = references
        self._prefix = f"row-{secrets.token_hex(3)}"
        self._never = asyncio.Event()
        self._monkey = Monkey(stack, client, Random(0))  # noqa: S311  # chance, not secrecy

    def intend(self, kind: str, *, may_cancel: bool = False) -> Intent:
        """Return a new intent."""
        name = f"{self._prefix}-{len(self.ledger.intents) + 1}"
        intent = Intent(name=name, kind=kind, may_cancel=may_cancel)
        self.ledger.intents[name] = intent
        return intent

    async def submit(self, intent: Intent, *, client: Client | None = None) -> Call:
        """Post a job until it is accepted."""
        call, _ = await (client or self.client).insist(
            "POST",
            "/v1/jobs",
            intent=intent,
            is_over=self._never,
            body=spec_of(intent.kind, intent=intent.name),
            headers={"Idempotency-Key": intent.name},
        )
        return call

    async def try_submit(self, intent: Intent) -> Call:
        """Post a job once, whatever the answer."""
        call, _ = await self.client.ask(
            "POST",
            "/v1/jobs",
            intent=intent.name,
            body=spec_of(intent.kind, intent=intent.name),
            headers={"Idempotency-Key": intent.name},
        )
        return call

    async def submit_many(self, kind: str, count: int, *, may_cancel: bool = False) -> list[str]:
        """Post some jobs one after the other; return their ids."""
        calls = [await self.submit(self.intend(kind, may_cancel=may_cancel)) for _ in range(count)]
        return [call.sight.job_id for call in calls if call.sight is not None]

    async def read(self, job_id: str) -> Mapping[str, Any]:
        """Return a job."""
        return await self.client.read(f"/v1/jobs/{job_id}?history=none")

    async def until_ended(self, job_id: str) -> str:
        """Return the status in which a job ended."""
        status = ""

        async def has_ended() -> bool:
            nonlocal status
            status = (await self.read(job_id))["status"]
            return status in TERMINAL

        await wait_until_async(has_ended, f"{job_id} has ended", seconds=_ENDED_SECONDS)
        return status

    async def until_running(self, count: int, *, step: int = 1) -> None:
        """Return once so many jobs run and have made some steps."""

        async def are_running() -> bool:
            jobs = (await self.client.read("/v1/jobs?status=running&limit=100"))["data"]
            steps: list[int] = [
                job["progress"]["step"] for job in jobs if job["progress"] is not None
            ]
            return sum(made >= step for made in steps) >= count

        await wait_until_async(are_running, f"{count} jobs run", seconds=_RUNNING_SECONDS)

    async def running(self) -> set[str]:
        """Return the ids of the jobs that run."""
        page = await self.client.read("/v1/jobs?status=running&limit=100")
        return {job["id"] for job in page["data"]}

    async def strike(self, fault: Fault) -> Strike:
        """Make a fault and undo it."""
        made = await self._monkey.strike(fault)
        assert made is not None, f"nothing to hit for {fault.name}"
        return made

    async def settle(self) -> list[Violation]:
        """Wait until nothing moves, read every story, and return the broken promises."""
        await self.until_still()
        known = {job_id for ids in self.ledger.accepted().values() for job_id in ids}
        known |= {job["id"] for job in await self._list()}
        self.ledger.stories[:] = await read_stories(self.client, sorted(known))
        return check(self.ledger, self.references)

    async def until_still(self) -> None:
        """Wait until every job has ended, or nothing moves."""
        nobody: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        nobody.set_result(None)
        await settle(self.client, nobody)

    async def call_roll(self) -> list[Violation]:
        """Judge thousands of jobs by the list alone: who is missing, twice, without end, or wrong."""
        await self.until_still()
        by_intent: dict[str, list[Mapping[str, Any]]] = {}
        for job in await self._list():
            by_intent.setdefault(job["spec"]["tags"].get("intent", ""), []).append(job)
        return [
            violation
            for intent in self.ledger.intents.values()
            for violation in self._judge(intent, by_intent.get(intent.name, []))
        ]

    def _judge(self, intent: Intent, jobs: list[Mapping[str, Any]]) -> Iterable[Violation]:
        accepted = self.ledger.accepted().get(intent.name, set()) if not jobs else set()
        if accepted:
            yield _violation(Harm.LOST, intent, f"{accepted} accepted and not listed")
        if len(jobs) > 1:
            yield _violation(Harm.DOUBLED, intent, f"{len(jobs)} jobs")
        for job in jobs:
            if job["status"] not in TERMINAL:
                yield _violation(Harm.STUCK, intent, f"{job['id']} is {job['status']}")
            elif (found := answer_of(job)) != self.references[intent.kind].answer:
                detail = first_difference(found, self.references[intent.kind].answer)
                yield _violation(
                    Harm.WRONG, intent, f"{job['id']}, attempt {job['attempt']}: {detail}"
                )

    async def _list(self) -> list[Mapping[str, Any]]:
        undisturbed = {story.job_id for story in self.references.values()}
        return [job for job in await list_jobs(self.client) if job["id"] not in undisturbed]


@asynccontextmanager
async def open_scene(directory: Path, *kinds: str, fsync: Fsync = "always") -> AsyncIterator[Scene]:
    """Start a stack, run each kind once undisturbed, and close everything in the end."""
    with Stack(directory, fsync=fsync) as stack:
        async with Client(stack.url, Ledger()) as calm:
            references = await read_references(calm, kinds=kinds)
        async with Client(stack.url, Ledger()) as client:
            yield Scene(stack, client, references)


def _violation(harm: Harm, intent: Intent, detail: str) -> Violation:
    return Violation(harm=harm, intent=intent.name, detail=detail)
