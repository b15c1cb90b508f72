"""Makes faults at random times, one at a time, and writes them down."""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from random import Random
from typing import Final

from tests.chaos.client import Client
from tests.chaos.fault import FAULTS, Fault
from tests.chaos.ledger import Hits, Strike, now
from tests.chaos.stack import NothingThere, Stack

ANSWER_AGAIN_SECONDS: Final = 60.0
"""An API that has not answered by then will not come back by itself."""
_LOOK_SECONDS: Final = 0.05
_SOON_SHARE: Final = 0.25
_SOON_SECONDS: Final = (0.0, 2.0)
"""Some faults come while the one before is being mended ..."""
_CALM_SECONDS: Final = (8.0, 13.0)
"""... and some when all is well again, so that it can be told how long that took."""


class Monkey:
    """Strikes a stack until it is told to stop.

    Args:
        stack: What is struck.
        client: Asks whether the API answers.
        random: Chooses what, when and how long.
        faults: What there is to choose from.
    """

    def __init__(
        self, stack: Stack, client: Client, random: Random, *, faults: Sequence[Fault] = FAULTS
    ) -> None:
        self._stack = stack
        self._client = client
        self._random = random
        self._deck = _endless(faults, random)
        self.now_making = ""
        """The fault of this moment, for the person who watches."""

    async def run(self, *, until: Callable[[], bool]) -> None:
        """Strike until a condition holds; what was made is undone, whatever ends this."""
        while not until():
            await self.strike(next(self._deck))
            is_soon = self._random.random() < _SOON_SHARE
            await asyncio.sleep(
                self._random.uniform(*(_SOON_SECONDS if is_soon else _CALM_SECONDS))
            )

    async def strike(self, fault: Fault) -> Strike | None:
        """Make one fault and undo it; None when there was nothing to hit."""
        seconds = self._random.uniform(*fault.lasts)
        began = now()
        try:
            heal = await asyncio.to_thread(fault.strike, self._stack, self._random)
        except NothingThere:
            return None
        self.now_making = fault.name
        try:
            await asyncio.sleep(seconds)
        finally:
            # In a thread, and not to be left half way by an abort.
            await asyncio.shield(asyncio.to_thread(heal))
        healed = now()
        answered = None
        if fault.hits is not Hits.WORKER:
            answered = await self._until_answered(fault.hits)
        self.now_making = ""
        strike = Strike(
            fault=fault.name, hits=fault.hits, began=began, healed=healed, answered=answered
        )
        self._client.ledger.strikes.append(strike)
        return strike

    async def _until_answered(self, hits: Hits) -> float:
        """Return when the API answers again; a list needs Redis as well.

        Raises:
            TimeoutError: It does not.
        """
        path = "/livez" if hits is Hits.API else "/v1/jobs?limit=1"
        async with asyncio.timeout(ANSWER_AGAIN_SECONDS):
            while True:
                call, _ = await self._client.ask("GET", path, what="probe")
                if call.code == 200:
                    return call.ended
                await asyncio.sleep(_LOOK_SECONDS)


def _endless(faults: Sequence[Fault], random: Random) -> Iterator[Fault]:
    """Yield every fault once in a random order, then again: none is left to luck."""
    while True:
        deck = list(faults)
        random.shuffle(deck)
        yield from deck
