"""Faults of workers: killed, frozen, deployed, and restarted under load."""

import asyncio
import signal
from dataclasses import replace
from functools import partial
from pathlib import Path
from random import Random
from typing import Final

from tests.chaos.fault import Fault, Heal, deploy_worker, kill_worker
from tests.chaos.ledger import Hits, Strike
from tests.chaos.outage import WORKER_GOAL_SECONDS, count_resumed, recovery_seconds
from tests.chaos.rows.row import Measured, Row, Tell, goal
from tests.chaos.rows.scene import Scene, open_scene
from tests.chaos.stack import Stack, signal_group, signal_process, wait_until_gone
from tests.waiting import wait_until_async

DEPLOY_GOAL_SECONDS: Final = 2.0
"""A worker that is told to stop hands its job back by then."""
_MIDDLE_STEP: Final = 500
_FROZEN_SECONDS: Final = (8.0, 8.0)
"""A lease of 4 s, a round of recovery, and the other process is at work for a second."""
_FLOW_POSTERS: Final = 4
_FLOW_RESTARTS: Final = 10
_START_SECONDS: Final = 120.0
"""A pause of 30 s between two starts, and a slow disk."""
_FLOW_FEWEST: Final = 2_000
_FLOW_PAUSE_SECONDS: Final = 0.1


def kill_children(stack: Stack, _random: Random) -> Heal:
    """Kill -9 every process that computes."""
    for child in stack.worker_children():
        signal_process(child, signal.SIGKILL)
    return lambda: None


async def disturb(
    directory: Path, tell: Tell, *, fault: Fault, kind: str, count: int
) -> tuple[Scene, Strike, Measured]:
    """Submit jobs, hit the worker when two of them are in the middle, and see how they end."""
    async with open_scene(directory, kind) as scene:
        await scene.submit_many(kind, count)
        await scene.until_running(2, step=_MIDDLE_STEP)
        tell(f"{fault.name}, {count} jobs in hand")
        strike = await scene.strike(fault)
        violations = await scene.settle()
        seconds = recovery_seconds(strike, scene.ledger.stories)
        facts = (
            f"{count_resumed(scene.ledger.stories)} resumed",
            f"running again after {seconds:.1f} s" if seconds is not None else "",
        )
        missed = goal("running again", seconds, most=WORKER_GOAL_SECONDS)
        return scene, strike, Measured(facts=facts, violations=tuple(violations), missed=missed)


async def hit(directory: Path, tell: Tell, *, fault: Fault, kind: str, count: int) -> Measured:
    """Measure one fault of the worker."""
    _, _, measured = await disturb(directory, tell, fault=fault, kind=kind, count=count)
    return measured


async def deploy(directory: Path, tell: Tell) -> Measured:
    """Stop the worker by SIGTERM, and by SIGKILL 5 s later if it is still there."""
    fault = Fault(name="SIGTERM", hits=Hits.WORKER, strike=deploy_worker)
    scene, strike, measured = await disturb(directory, tell, fault=fault, kind="long", count=6)
    handed_back = [
        event.at - strike.began
        for story in scene.ledger.stories
        for event in story.events
        if event.type == "job.requeued" and event.data.get("reason") == "drained"
    ]
    seconds = max(handed_back, default=None)
    told = "" if seconds is None else f"handed back within {seconds:.1f} s"
    return replace(
        measured,
        facts=(told, *measured.facts),
        # How soon it runs again is how soon a worker is started: with others alive, at once.
        missed=goal("handing back", seconds, most=DEPLOY_GOAL_SECONDS),
    )


async def freeze(directory: Path, tell: Tell) -> Measured:
    """Stop the process that has a job until another has taken it over, then let it go on."""
    async with open_scene(directory, "long") as scene:
        times: list[float | None] = []
        for number in range(2):
            (job_id,) = await scene.submit_many("long", 1)
            await scene.until_running(1, step=_MIDDLE_STEP)
            worker = (await scene.read(job_id))["device"]["worker"]
            tell(f"SIGSTOP of the worker process of job {number + 1}")
            strike = await scene.strike(_make_freeze(int(worker.split("-")[-2])))
            violations = await scene.settle()
            times.append(recovery_seconds(strike, scene.ledger.stories))
        seconds = None if None in times else max(filter(None, times))
        return Measured(
            facts=(
                f"{count_resumed(scene.ledger.stories)} taken over by the other process",
                f"running again after {seconds:.1f} s" if seconds is not None else "",
                "" if violations else "the late writer is refused",
            ),
            violations=tuple(violations),
            missed=goal("running again", seconds, most=WORKER_GOAL_SECONDS),
        )


def _make_freeze(pid: int) -> Fault:
    def strike(_stack: Stack, _random: Random) -> Heal:
        signal_process(pid, signal.SIGSTOP)
        return lambda: signal_process(pid, signal.SIGCONT)

    return Fault(name="SIGSTOP", hits=Hits.WORKER, strike=strike, lasts=_FROZEN_SECONDS)


async def restart_under_flow(directory: Path, tell: Tell) -> Measured:
    """Kill the whole worker ten times while tiny jobs come without a pause."""
    async with open_scene(directory, "tiny") as scene:
        is_over = asyncio.Event()

        async def post() -> None:
            while not (is_over.is_set() and len(scene.ledger.intents) >= _FLOW_FEWEST):
                await scene.submit(scene.intend("tiny"))
                await asyncio.sleep(_FLOW_PAUSE_SECONDS)

        async with asyncio.TaskGroup() as group:
            for _ in range(_FLOW_POSTERS):
                group.create_task(post())
            for number in range(_FLOW_RESTARTS):
                await _until_steady(scene)
                tell(f"restart {number + 1}, {len(scene.ledger.intents)} jobs submitted")
                worker = scene.stack.worker()
                signal_group(worker, signal.SIGKILL)
                await asyncio.to_thread(wait_until_gone, worker, seconds=_START_SECONDS)
            is_over.set()
        tell(f"{len(scene.ledger.intents)} jobs submitted, waiting for the last")
        violations = await scene.call_roll()
        return Measured(
            facts=(f"{len(scene.ledger.intents):,} jobs",), violations=tuple(violations)
        )


async def _until_steady(scene: Scene) -> None:
    """Return when the worker is in the middle of its work: it has ended jobs and has others.

    Killed sooner, three times in a row, it would be the same first job each time, and that is what
    a job looks like that kills its worker.
    """
    await wait_until_async(
        lambda: len(scene.stack.worker_children()) == 2, "both children", seconds=_START_SECONDS
    )
    first = set[str]()

    async def has_others() -> bool:
        nonlocal first
        running = await scene.running()
        first = first or running
        return bool(running) and not running & first

    await wait_until_async(has_others, "other jobs run", seconds=_START_SECONDS)


ROWS: Final = (
    Row(
        name="kill-children",
        fault="kill -9 of the worker's children mid-job (8)",
        template="2 failed, never retried",
        best="0 lost, 2 rerun from the start, settle 9 to 23 s",
        scenario=partial(
            hit,
            fault=Fault(name="kill -9 the children", hits=Hits.WORKER, strike=kill_children),
            kind="batches",
            count=8,
        ),
    ),
    Row(
        name="kill-worker",
        fault="kill -9 of the whole worker (8)",
        template="2 lost and shown as queued for ever, 6 parked for an hour",
        best="0 lost, settle 33 to 36 s",
        scenario=partial(
            hit,
            fault=Fault(name="kill -9 the worker", hits=Hits.WORKER, strike=kill_worker),
            kind="batches",
            count=8,
        ),
    ),
    Row(
        name="deploy",
        fault="SIGTERM, killed 5 s later, as a deploy does (6)",
        template="2 lost, 4 parked",
        best="0 lost, up to 2 doubled, settle 56 to 293 s",
        scenario=deploy,
    ),
    Row(
        name="restarts",
        fault="ten kill -9 of the worker while tiny jobs flow (2,000 and more)",
        template="8 to 11 lost, 67 to 73 parked",
        best="up to 3 doubled, a worker dead at the end",
        scenario=restart_under_flow,
    ),
    Row(
        name="freeze-worker",
        fault="worker paused for longer than its lease, then resumed (2)",
        template="not applicable: acknowledged before it runs",
        best="2 doubled",
        scenario=freeze,
    ),
)
