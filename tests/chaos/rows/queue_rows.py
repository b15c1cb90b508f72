"""Faults around the queue: cancels that a restart could forget, and ten thousand jobs at once."""

import asyncio
import json
import signal
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from statistics import median
from typing import Final

import httpx
from redis import Redis

from tests.chaos.kind import spec_of
from tests.chaos.ledger import Intent
from tests.chaos.rows.row import Measured, Row, Tell
from tests.chaos.rows.scene import Scene, open_scene
from tests.chaos.stack import signal_group, signal_process

FULL: Final = 10_000
"""Jobs that may wait, by default."""
_CLIENTS: Final = 8
_SLOWEST_ACCEPTS: Final = 3 * 85
"""Three times the template's."""


@asynccontextmanager
async def no_worker(scene: Scene) -> AsyncIterator[None]:
    """Kill the worker and hold what would start it again."""
    supervisor = scene.stack.supervisor()
    worker = scene.stack.worker()
    signal_process(supervisor, signal.SIGSTOP)
    try:
        signal_group(worker, signal.SIGKILL)
        yield
    finally:
        signal_process(supervisor, signal.SIGCONT)


async def cancel_then_restart(directory: Path, tell: Tell) -> Measured:
    """Cancel two running and two queued jobs, and kill the worker at once."""
    async with open_scene(directory, "long") as scene:
        ids = await scene.submit_many("long", 4, may_cancel=True)
        await scene.until_running(2)
        tell("cancel of 4 jobs, then kill -9 of the worker")
        worker = scene.stack.worker()
        signal_group(worker, signal.SIGSTOP)
        # Frozen first: so the wish is written down, and no worker that could obey it lives.
        codes = [await _cancel(scene, job_id) for job_id in ids]
        signal_group(worker, signal.SIGKILL)
        violations = await scene.settle()
        ended = [story.status for story in scene.ledger.stories]
        return Measured(
            facts=(
                f"answered {codes.count(202)} x 202, {codes.count(200)} x 200",
                f"{ended.count('cancelled')} of 4 cancelled and stay so",
            ),
            violations=tuple(violations),
            missed=() if set(ended) == {"cancelled"} else (f"ended {ended}",),
        )


async def cancel_without_worker(directory: Path, tell: Tell) -> Measured:
    """Cancel two queued jobs while no worker lives; then let one live again."""
    async with open_scene(directory, "tiny") as scene:
        tell("cancel while no worker lives")
        async with no_worker(scene):
            ids = await scene.submit_many("tiny", 2, may_cancel=True)
            codes = [await _cancel(scene, job_id) for job_id in ids]
            at_once = [(await scene.read(job_id))["status"] for job_id in ids]
        # When this one has run, the two before it have had their turn.
        await scene.submit_many("tiny", 1)
        violations = await scene.settle()
        logs = {story.job_id: story.events for story in scene.ledger.stories}
        starts = [event for job_id in ids for event in logs[job_id] if event.type == "job.started"]
    is_right = set(at_once) == {"cancelled"} and set(codes) == {200} and not starts
    return Measured(
        facts=(f"{at_once.count('cancelled')} of 2 cancelled at once, never run",),
        violations=tuple(violations),
        missed=() if is_right else (f"answered {codes}, {at_once}, {len(starts)} starts",),
    )


async def fill_queue(directory: Path, tell: Tell) -> Measured:
    """Submit as many jobs as may wait, one more, and let the workers have them."""
    async with open_scene(directory, "tiny") as scene:
        with Redis.from_url(scene.stack.redis_url) as redis:
            async with no_worker(scene):
                before = redis.info("memory")["used_memory"]
                began = time.monotonic()
                seconds = await _post_all(scene, tell=tell)
                rate = FULL / (time.monotonic() - began)
                size = (redis.info("memory")["used_memory"] - before) / FULL
                over = scene.intend("tiny")
                refused = await scene.try_submit(over)
        scene.ledger.calls.remove(refused)
        del scene.ledger.intents[over.name]
        tell(f"{FULL:,} jobs wait, the workers are back")
        violations = await scene.call_roll()
    is_right = (refused.code, refused.problem) == (503, "queue-full")
    return Measured(
        facts=(
            f"{rate:.0f} accepts/s, p50 {1000 * median(seconds):.0f} ms, {size / 1000:.1f} kB a job",
            f"one more is {refused.code} {refused.problem}",
        ),
        violations=tuple(violations),
        missed=(
            *(() if is_right else (f"one more was answered {refused.code}",)),
            *(() if rate >= _SLOWEST_ACCEPTS else (f"{rate:.0f} accepts/s",)),
        ),
    )


async def _cancel(scene: Scene, job_id: str) -> int | None:
    call, _ = await scene.client.ask("POST", f"/v1/jobs/{job_id}/cancel", what="cancel")
    return call.code


async def _post_all(scene: Scene, *, tell: Tell) -> list[float]:
    """Post from eight clients that keep their connections; return the seconds of each post."""
    intents = [scene.intend("tiny") for _ in range(FULL)]
    waiting = iter(intents)
    seconds: list[float] = []

    async def post(http: httpx.AsyncClient, intent: Intent) -> None:
        body = json.dumps(spec_of(intent.kind, intent=intent.name))
        headers = {"Idempotency-Key": intent.name, "Content-Type": "application/json"}
        began = time.monotonic()
        answer = await http.post("/v1/jobs", content=body, headers=headers)
        seconds.append(time.monotonic() - began)
        assert answer.status_code == httpx.codes.ACCEPTED, answer.text
        if len(seconds) % 100 == 0:
            tell(f"{len(seconds):,} of {FULL:,} jobs accepted")

    async def live() -> None:
        async with httpx.AsyncClient(base_url=scene.stack.url, trust_env=False) as http:
            for intent in waiting:
                await post(http, intent)

    async with asyncio.TaskGroup() as group:
        for _ in range(_CLIENTS):
            group.create_task(live())
    return seconds


ROWS: Final = (
    Row(
        name="cancel-restart",
        fault="cancel, then worker restart (4)",
        template="2 lost, 1 parked",
        best="the cancelled job runs all the same",
        scenario=cancel_then_restart,
    ),
    Row(
        name="cancel-no-worker",
        fault="cancel while no worker lives (2)",
        template="runs later all the same",
        best="same",
        scenario=cancel_without_worker,
    ),
    Row(
        name="full-queue",
        fault="10,000 queued",
        template="85 accepts/s, p50 80 ms, 1.2 kB a job, no bound",
        best="same",
        scenario=fill_queue,
    ),
)
