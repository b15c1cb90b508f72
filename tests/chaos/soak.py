"""One run of chaos: references first, then the crowd and the monkey, then quiet, then the stories."""

import asyncio
import secrets
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from random import Random
from typing import Final

from tests.chaos.archive import list_jobs, read_stories, read_story
from tests.chaos.checker import References, check
from tests.chaos.client import Client
from tests.chaos.crowd import Crowd
from tests.chaos.kind import KINDS, spec_of
from tests.chaos.ledger import TERMINAL, Ledger, now
from tests.chaos.monkey import Monkey
from tests.chaos.stack import Stack
from tests.chaos.violation import Violation

STILL_SECONDS: Final = 90.0
"""Nothing moved for so long: what has not ended is stuck. A pause of 30 s before a worker that has
died often is started again fits in, and its start on a busy machine."""
_LOOK_SECONDS: Final = 1.0
_REFERENCE_WAIT_SECONDS: Final = 50.0

Tell = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Findings:
    """Everything that one soak found.

    Attributes:
        ledger: What was seen.
        references: The undisturbed stories.
        violations: The promises that were broken.
        began: When the chaos began.
    """

    ledger: Ledger
    references: References
    violations: list[Violation]
    began: float


async def soak(
    stack: Stack,
    *,
    seconds: float,
    seed: int,
    tell: Tell,
) -> Findings:
    """Run chaos against a stack that is ready, and judge it.

    Args:
        stack: The service.
        seconds: How long faults are made.
        seed: Chooses faults, times, specs and habits.
        tell: Hears a line about how it stands, about once a second.
    """
    ledger = Ledger()
    async with Client(stack.url, Ledger()) as calm:
        references = await read_references(calm, tell=tell)
    async with Client(stack.url, ledger) as client:
        crowd = Crowd(
            client,
            Random(f"crowd {seed}"),  # noqa: S311  # chance, not secrecy
            prefix=f"soak-{seed}-{secrets.token_hex(3)}",
        )
        monkey = Monkey(stack, client, Random(f"monkey {seed}"))  # noqa: S311  # the same
        began = now()
        async with asyncio.TaskGroup() as group:
            watcher = group.create_task(_tell_all(ledger, monkey, began=began, tell=tell))
            people = group.create_task(crowd.run())
            await monkey.run(until=lambda: now() - began >= seconds)
            crowd.is_closing.set()
            await settle(client, people)
            crowd.is_over.set()
            await people
            watcher.cancel()
        tell("reading every job's story ...")
        undisturbed = {story.job_id for story in references.values()}
        known = {job_id for ids in ledger.accepted().values() for job_id in ids}
        known |= {job["id"] for job in await list_jobs(client)}
        ledger.stories.extend(await read_stories(client, sorted(known - undisturbed)))
    violations = check(ledger, references)
    return Findings(ledger=ledger, references=references, violations=violations, began=began)


async def read_references(
    client: Client, *, kinds: Sequence[str] = tuple(KINDS), tell: Tell = lambda _: None
) -> References:
    """Run one job of every kind with nothing in its way."""
    references = {}
    for number, kind in enumerate(kinds):
        tell(f"undisturbed run {number + 1} of {len(kinds)}: {kind}")
        call, _ = await client.ask("POST", "/v1/jobs", body=spec_of(kind, intent=""))
        assert call.sight is not None, call
        path = f"/v1/jobs/{call.sight.job_id}?history=none&wait={_REFERENCE_WAIT_SECONDS:g}"
        while (await client.read(path))["status"] not in TERMINAL:
            pass
        references[kind] = await read_story(client, call.sight.job_id)
        attempts = [event for event in references[kind].events if event.type == "job.started"]
        assert len(attempts) == 1, f"{kind} was disturbed: {references[kind].events}"
    return references


async def settle(client: Client, people: Awaitable[None]) -> None:
    """Return when everybody has left and every job has ended, or when nothing moves any more.

    No fixed time: a job may have to wait for its turn as long as others move.
    """
    done = asyncio.ensure_future(people)
    before: object = None
    moved_at = now()
    while True:
        unfinished = [
            (job["id"], job["status"], job["attempt"], (job["progress"] or {}).get("step"))
            # All that run, because they move; and one of all, because a job that is claimed
            # between two questions would be seen by neither.
            for job in (
                *await list_jobs(client, status="running"),
                *(await client.read("/v1/jobs?status=queued,running&limit=1"))["data"],
            )
        ]
        if not unfinished and done.done():
            return
        if unfinished != before:
            before, moved_at = unfinished, now()
        if now() - moved_at > STILL_SECONDS:
            return
        await asyncio.wait({done}, timeout=_LOOK_SECONDS)
        if done.done():
            await asyncio.sleep(_LOOK_SECONDS / 4)


async def _tell_all(ledger: Ledger, monkey: Monkey, *, began: float, tell: Tell) -> None:
    while True:
        ended = {
            call.sight.job_id
            for call in ledger.calls
            if call.sight is not None and call.sight.status in TERMINAL
        }
        tell(
            f"{now() - began:4.0f} s · {len(ledger.accepted())} jobs accepted, {len(ended)} ended · "
            f"{len(ledger.strikes)} faults {monkey.now_making}"
        )
        await asyncio.sleep(_LOOK_SECONDS)
