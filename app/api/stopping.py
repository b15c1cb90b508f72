"""Hears that this process is asked to stop as soon as its server does."""

import asyncio
import signal
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from types import FrameType
from typing import Final

_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)

Handler = Callable[[int, FrameType | None], object]


@contextmanager
def calling_when_stopped(call: Callable[[], None]) -> Generator[None]:
    """Have the event loop call a function at SIGTERM and SIGINT, beside what they do anyway.

    uvicorn ends the lifespan only when every answer has ended, so an answer without an end would
    hold it for as long as it waits at most. It tells an application nothing before that, but takes
    its signals by signal.signal before the lifespan begins: here they pass through.

    Args:
        call: Runs in the loop, perhaps more than once.
    """
    if threading.current_thread() is not threading.main_thread():
        # No server of ours takes signals here: the tests of a thread do.
        yield
        return
    loop = asyncio.get_running_loop()
    replaced = dict[signal.Signals, tuple[Handler, Handler]]()
    for number in _SIGNALS:
        handler = signal.getsignal(number)
        if callable(handler):
            ours = _before(handler, call=lambda: loop.call_soon_threadsafe(call))
            signal.signal(number, ours)
            replaced[number] = ours, handler
    try:
        yield
    finally:
        for number, (ours, handler) in replaced.items():
            if signal.getsignal(number) is ours:
                signal.signal(number, handler)


def _before(handler: Handler, *, call: Callable[[], object]) -> Handler:
    def handle(number: int, frame: FrameType | None) -> None:
        call()
        handler(number, frame)

    return handle
