"""Faults of Redis: killed, full."""

import asyncio
from functools import partial
from pathlib import Path
from typing import Final

from redis import Redis

from app.store.server import Fsync
from tests.chaos.fault import Fault, kill_redis
from tests.chaos.ledger import Hits
from tests.chaos.outage import REDIS_GOAL_SECONDS, count_resumed, recovery_seconds
from tests.chaos.rows.row import Measured, Row, Tell, goal
from tests.chaos.rows.scene import Scene, open_scene

REFUSAL_GOAL_SECONDS: Final = 2.0
"""A 503 comes by then."""
SLACK_SECONDS: Final = 0.5
"""What a busy machine may add to a timeout of 2 s."""
_OUTAGE_SECONDS: Final = 3.0
_PROBE_SECONDS: Final = 0.1


async def kill(directory: Path, tell: Tell, *, fsync: Fsync) -> Measured:
    """Kill Redis while jobs run and clients ask, start it again after 3 s."""
    fault = Fault(
        name="kill -9 Redis",
        hits=Hits.REDIS,
        strike=kill_redis,
        lasts=(_OUTAGE_SECONDS, _OUTAGE_SECONDS),
    )
    async with open_scene(directory, "batches", fsync=fsync) as scene:
        ids = await scene.submit_many("batches", 8)
        await scene.until_running(2, step=500)
        tell(f"kill -9 Redis, fsync {fsync}, 8 jobs in hand")
        probing = asyncio.create_task(_probe(scene, ids[0]))
        strike = await scene.strike(fault)
        probing.cancel()
        violations = await scene.settle()
        seconds = recovery_seconds(strike, scene.ledger.stories)
        refusals = [call.ended - call.began for call in scene.ledger.calls if call.code == 503]
        slowest = max(refusals, default=0.0)
        return Measured(
            facts=(
                f"{count_resumed(scene.ledger.stories)} had to be resumed",
                f"back {seconds:.1f} s after Redis" if seconds is not None else "",
                f"{len(refusals)} answers of 503 meanwhile, the slowest after {slowest:.1f} s",
            ),
            violations=tuple(violations),
            missed=(
                *goal("coming back", seconds, most=REDIS_GOAL_SECONDS),
                *goal("a 503", slowest, most=REFUSAL_GOAL_SECONDS + SLACK_SECONDS),
            ),
        )


async def _probe(scene: Scene, job_id: str) -> None:
    while True:
        await scene.client.ask("GET", f"/v1/jobs/{job_id}?history=none", what="GET")
        await asyncio.sleep(_PROBE_SECONDS)


async def fill(directory: Path, tell: Tell) -> Measured:
    """Take Redis's memory away while two jobs run; submit meanwhile and afterwards."""
    async with open_scene(directory, "batches") as scene:
        ids = await scene.submit_many("batches", 2)
        await scene.until_running(2, step=500)
        tell("Redis is out of memory, 2 jobs in hand")
        third = scene.intend("batches")
        with Redis.from_url(scene.stack.redis_url) as redis:
            redis.config_set("maxmemory", redis.info("memory")["used_memory"] // 2)
            refused = await scene.try_submit(third)
            ended = [await scene.until_ended(job_id) for job_id in ids]
            redis.config_set("maxmemory", 0)
        # The one refusal is the point, not a broken promise.
        scene.ledger.calls.remove(refused)
        taken = await scene.submit(third)
        violations = await scene.settle()
    is_right = (refused.code, refused.problem) == (503, "store-unavailable")
    return Measured(
        facts=(
            f"{refused.code} at submit after {refused.ended - refused.began:.2f} s",
            f"{ended.count('succeeded')} running jobs finish meanwhile",
            f"{taken.code} once there is memory again",
        ),
        violations=tuple(violations),
        missed=() if is_right else (f"the submit was answered {refused.code}, not 503",),
    )


ROWS: Final = (
    Row(
        name="kill-redis",
        fault="Redis kill -9, restart, fsync always (8)",
        template="2 lost, 6 parked, the worker process dies, 580 polls answered 500",
        best="0 lost, 1 rerun, outage 41 s, settle 65 s",
        scenario=partial(kill, fsync="always"),
    ),
    Row(
        name="kill-redis-everysec",
        fault="the same, fsync everysec (8)",
        template="as above",
        best="0 lost, 1 doubled, settle 56 to 62 s",
        scenario=partial(kill, fsync="everysec"),
    ),
    Row(
        name="full-redis",
        fault="Redis out of memory (2)",
        template="0 to 2 lost",
        best="0 to 1 succeed",
        scenario=fill,
    ),
)
