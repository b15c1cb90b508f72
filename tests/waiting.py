"""Waiting for something to become true, with a name for what was waited for."""

import asyncio
import time
from collections.abc import Awaitable, Callable

_PAUSE_SECONDS = 0.005


def wait_until(is_true: Callable[[], object], description: str, *, seconds: float = 10.0) -> None:
    """Look again and again until it holds; fail with the description when it never does."""
    deadline = time.monotonic() + seconds
    while not is_true():
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds} s: {description}")
        time.sleep(_PAUSE_SECONDS)


async def wait_until_async(
    is_true: Callable[[], object | Awaitable[object]], description: str, *, seconds: float = 10.0
) -> None:
    """Do the same without holding up the event loop; the condition may be a coroutine."""
    deadline = time.monotonic() + seconds
    while True:
        found = is_true()
        if isinstance(found, Awaitable):
            found = await found
        if found:
            return
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds} s: {description}")
        await asyncio.sleep(_PAUSE_SECONDS)
