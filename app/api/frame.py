"""The wire format of server-sent events (WHATWG HTML, section 9.2); it knows nothing of jobs."""

from typing import Final

from app.api.answer import render

HEARTBEAT: Final = b": alive\n\n"
"""A comment: clients ignore it, proxies and dead connections are kept from sleeping on."""

WAITING: Final = b": the store does not answer, waiting for it\n\n"
"""The same while nothing can be told; a person who looks on learns why."""


def make_frame(event: str, data: object, *, seq: int) -> bytes:
    """Return one event.

    Args:
        event: Its type, which names the listener in a browser.
        data: Anything that has a JSON form; JSON holds no line break, so it is one `data` line.
        seq: Its id: what a client sends back as Last-Event-ID.
    """
    return b"id: %d\nevent: %s\ndata: %s\n" % (seq, event.encode(), render(data, pretty=False))


def make_retry(milliseconds: int) -> bytes:
    """Return the field that tells a client how long to pause before it connects again."""
    return b"retry: %d\n\n" % milliseconds
