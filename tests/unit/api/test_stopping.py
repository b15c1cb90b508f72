"""A process that is asked to stop says so in its event loop, and still does what it did before."""

import asyncio
import signal
from types import FrameType

import pytest

from app.api.stopping import calling_when_stopped


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_signal_is_told_and_passed_on(number: signal.Signals) -> None:
    heard, told = list[int](), asyncio.Event()

    def handle(found: int, _: FrameType | None) -> None:
        heard.append(found)

    before = signal.signal(number, handle)
    try:
        with calling_when_stopped(told.set):
            signal.raise_signal(number)
            await asyncio.wait_for(told.wait(), 5)
        kept = signal.getsignal(number)
    finally:
        signal.signal(number, before)

    assert heard == [number]
    assert kept is handle


async def test_signal_that_ends_the_process_by_itself_is_left_alone() -> None:
    before = signal.signal(signal.SIGTERM, signal.SIG_DFL)
    try:
        with calling_when_stopped(lambda: None):
            found = signal.getsignal(signal.SIGTERM)
    finally:
        signal.signal(signal.SIGTERM, before)

    assert found is signal.SIG_DFL


async def test_handler_that_came_later_is_kept() -> None:
    before = signal.signal(signal.SIGTERM, lambda *_: None)

    def later(*_: object) -> None: ...

    try:
        with calling_when_stopped(lambda: None):
            signal.signal(signal.SIGTERM, later)
        found = signal.getsignal(signal.SIGTERM)
    finally:
        signal.signal(signal.SIGTERM, before)

    assert found is later


async def test_thread_that_cannot_take_signals_is_served_all_the_same() -> None:
    async def run() -> object:
        with calling_when_stopped(lambda: None):
            return signal.getsignal(signal.SIGTERM)

    before = signal.getsignal(signal.SIGTERM)

    assert await asyncio.to_thread(asyncio.run, run()) is before
