"""Faults around the API: it dies before it answers, keys come twice, ids are unknown or too old."""

import asyncio
import os
import signal
from collections import Counter
from contextlib import closing
from pathlib import Path
from typing import Final

from tests.chaos.client import Client
from tests.chaos.ledger import Hits, Strike, now
from tests.chaos.rows.bad_specs import BAD_SPECS
from tests.chaos.rows.row import Measured, Row, Tell
from tests.chaos.rows.scene import Scene, open_scene
from tests.proxy import Proxy, address_of
from tests.waiting import wait_until_async

_KILLS: Final = 3
_KEYS: Final = 10
_EXPIRES_SECONDS: Final = 1.0


async def lose_answers(directory: Path, tell: Tell) -> Measured:
    """Let the API accept, lose its answer, kill it; the client asks again with the same key."""
    async with open_scene(directory, "tiny") as scene:
        ledger = scene.ledger
        with closing(Proxy(address_of(scene.stack.url))) as proxy:
            async with Client(f"http://127.0.0.1:{proxy.port}", ledger) as client:
                for number in range(_KILLS):
                    tell(f"kill -9 of the API between accept and answer, {number + 1} of {_KILLS}")
                    proxy.cut(b"POST /v1/jobs", when="after")
                    began = now()
                    submitting = asyncio.create_task(
                        scene.submit(scene.intend("tiny"), client=client)
                    )
                    await asyncio.to_thread(proxy.wait_until_cut)
                    os.kill(scene.stack.api(), signal.SIGKILL)
                    call = await submitting
                    # The proxy refuses as long as nobody listens behind it: that is the API's.
                    ledger.strikes.append(
                        Strike(fault="API", hits=Hits.API, began=began, healed=call.ended)
                    )
        violations = await scene.settle()
        tries = sum(call.what == "POST" for call in ledger.calls)
        return Measured(
            facts=(f"{_KILLS} intents, {tries} posts, {len(ledger.stories)} jobs, each run once",),
            violations=tuple(violations),
        )


async def repeat_keys(directory: Path, tell: Tell) -> Measured:
    """Post one key twice, and eight times at once."""
    async with open_scene(directory, "tiny") as scene:
        counts = {times: await _repeat(scene, times=times, tell=tell) for times in (2, 8)}
        violations = await scene.settle()
        return Measured(
            facts=(" / ".join(f"{count:g} job" for count in counts.values()),),
            violations=tuple(violations),
        )


async def _repeat(scene: Scene, *, times: int, tell: Tell) -> float:
    """Return how many jobs a key made on average."""
    tell(f"one key, {times} posts at once")
    made = 0
    for _ in range(_KEYS):
        intent = scene.intend("tiny")
        calls = await asyncio.gather(*(scene.submit(intent) for _ in range(times)))
        made += len({call.sight.job_id for call in calls if call.sight is not None})
    return made / _KEYS


async def ask_for_the_gone(directory: Path, tell: Tell) -> Measured:
    """Ask for ids that never were, and for a job whose time is over."""
    tell("unknown and expired ids")
    async with open_scene(directory, "tiny") as scene:
        (job_id,) = await scene.submit_many("tiny", 1)
        await scene.until_ended(job_id)
        unknown = Counter(
            [
                (await scene.client.ask("GET", f"/v1/jobs/{name}{path}"))[0].code
                for name in ("job_01k00000000000000000000000", "never-was")
                for path in ("", "/history", "/events")
            ]
        )
        await scene.client.ask(
            "PATCH", f"/v1/jobs/{job_id}", body={"expires_at": now() + _EXPIRES_SECONDS}
        )

        async def is_over() -> bool:
            return (await scene.client.ask("GET", f"/v1/jobs/{job_id}"))[0].code != 200

        await wait_until_async(is_over, "the job has expired")
        expired = (await scene.client.ask("GET", f"/v1/jobs/{job_id}"))[0].code
    missed = () if set(unknown) == {404} and expired == 410 else ("not told apart",)
    return Measured(
        facts=(f"{', '.join(map(str, unknown))}; {expired}",), violations=None, missed=missed
    )


async def send_bad_specs(directory: Path, tell: Tell) -> Measured:
    """Send bodies that no job can be made of."""
    tell(f"{len(BAD_SPECS)} bad bodies")
    accepted: list[str] = []
    unnamed: list[str] = []
    async with open_scene(directory, "tiny") as scene:
        for name, body in BAD_SPECS.items():
            call, found = await scene.client.ask("POST", "/v1/jobs", raw=body)
            if call.code is not None and call.code < 400:
                accepted.append(name)
            elif call.code not in {400, 413, 422} or not (found or {}).get("detail"):
                unnamed.append(f"{name}: {call.code}")
    refused = len(BAD_SPECS) - len(accepted)
    return Measured(
        facts=(f"{refused} of {len(BAD_SPECS)} refused, each with what is wrong",),
        violations=None,
        missed=(
            *(f"accepted: {name}" for name in accepted),
            *(f"not explained: {name}" for name in unnamed),
        ),
    )


ROWS: Final = (
    Row(
        name="lost-answers",
        fault="API killed between accept and answer, client retries",
        template="job run twice",
        best="once or twice",
        scenario=lose_answers,
    ),
    Row(
        name="keys",
        fault="one key, two posts / eight at once",
        template="2 jobs / 8 jobs",
        best="2 / 8",
        scenario=repeat_keys,
    ),
    Row(
        name="unknown",
        fault="unknown id; expired result",
        template="200 PENDING; 200 queued",
        best="same",
        scenario=ask_for_the_gone,
    ),
    Row(
        name="bad-specs",
        fault="bad specs",
        template="26 of about 30 accepted",
        best="same",
        scenario=send_bad_specs,
    ),
)
