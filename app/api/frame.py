"""Server-sent events as bytes (WHATWG HTML, section 9.2); it knows nothing of jobs."""

from typing import Final

from fastapi.sse import format_sse_event

from app.api.answer import render

HEARTBEAT: Final = format_sse_event(comment="alive")
"""Clients ignore a comment; proxies do not cut the connection, and a dead one is found out."""

WAITING: Final = format_sse_event(comment="the store does not answer, waiting for it")
"""The same while nothing can be told; a person who looks on learns why."""


def make_frame(event: str, data: object, *, seq: int) -> bytes:
    """Return one event.

    Args:
        event: Its type, which names the listener in a browser.
        data: Anything that has a JSON form; JSON holds no line break, so it is one `data` line.
        seq: Its id: what a client sends back as Last-Event-ID.
    """
    text = render(data, pretty=False).rstrip().decode()
    return format_sse_event(id=str(seq), event=event, data_str=text)


def make_retry(milliseconds: int) -> bytes:
    """Return the field that tells a client how long to pause before it connects again."""
    return format_sse_event(retry=milliseconds)
