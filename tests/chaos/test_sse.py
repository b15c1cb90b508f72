"""Server-sent events are read as the standard says."""

from collections.abc import AsyncIterator

from tests.chaos.sse import Message, messages


async def lines_of(text: str) -> AsyncIterator[str]:
    for line in text.split("\n"):
        yield line


async def test_events_are_read_and_comments_left_out() -> None:
    text = ": hello\n\nretry: 5\n\nid: 3\nevent: job.queued\ndata: {\ndata: }\n\ndata:x\n\nid: 9\n"

    assert [message async for message in messages(lines_of(text))] == [
        Message(id="3", event="job.queued", data="{\n}"),
        Message(id="", event="message", data="x"),
    ]
