"""The last row: minutes of random faults, one after the other."""

from pathlib import Path
from typing import Final

from tests.chaos.outage import count_resumed
from tests.chaos.rows.row import Measured, Row, Tell
from tests.chaos.soak import soak
from tests.chaos.stack import Stack

SEED: Final = 1
_SECONDS: Final = 240.0


async def endure(directory: Path, tell: Tell) -> Measured:
    """Run chaos for four minutes."""
    with Stack(directory) as stack:
        found = await soak(stack, seconds=_SECONDS, seed=SEED, tell=tell)
    return Measured(
        facts=(
            f"{len(found.ledger.accepted())} jobs, {len(found.ledger.strikes)} faults",
            f"{count_resumed(found.ledger.stories)} resumed, every result and history the undisturbed one",
        ),
        violations=tuple(found.violations),
    )


ROWS: Final = (
    Row(
        name="soak",
        fault="4-minute soak of random faults",
        template="of 129 jobs 6 lost, 38 parked, 81 done",
        best="0 lost, 1 doubled, 11 rerun",
        scenario=endure,
    ),
)
