"""Chaos in small: two minutes of random faults against the real processes, and no promise broken."""

import asyncio
import secrets
from pathlib import Path
from typing import Final

import pytest

from tests.chaos import report
from tests.chaos.fault import FAULTS
from tests.chaos.soak import soak
from tests.chaos.stack import Stack

SECONDS: Final = 120.0
"""With the undisturbed runs before and the settling after about three minutes."""


@pytest.mark.acceptance
@pytest.mark.timeout(900)
def test_nothing_is_lost_doubled_stuck_or_wrong(tmp_path: Path) -> None:
    seed = secrets.randbelow(1_000_000)
    with Stack(tmp_path) as stack:
        found = asyncio.run(soak(stack, seconds=SECONDS, seed=seed, tell=lambda _: None))
    told = "\n".join((f"seed {seed}", *report.stories(found), report.table(found)))

    assert found.violations == [], told
    # A run in which little happened proves little.
    assert len(found.ledger.strikes) >= len(FAULTS) // 3, told
    assert len(found.ledger.stories) >= 10, told
