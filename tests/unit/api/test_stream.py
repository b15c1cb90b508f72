"""What a client says it has seen, and a client that takes nothing."""

import asyncio
from collections.abc import AsyncGenerator

import pytest
from starlette.types import Message

from app.api.stream import EventStream, parse_event_id
from app.domain.errors import InvalidParameter


@pytest.mark.parametrize(
    ("text", "default", "seen"),
    [
        (None, None, None),
        (None, 3, 3),
        ("", 3, 3),
        ("7", 3, 7),
        ("0", None, 0),
        ("007", None, 7),
        (str(2**53), None, 2**53),
    ],
)
def test_header_wins_over_the_query(text: str | None, default: int | None, seen: int) -> None:
    assert parse_event_id(text, default=default) == seen


@pytest.mark.parametrize(
    "text",
    [
        *("x", "-1", "1.5", " 1", "\u0663", "1e3", str(2**53 + 1), "9" * 5000),
        pytest.param("0" * 17 + "9" * 30, id="large behind zeros"),
        pytest.param("0" * 17 + "9" * 5000, id="larger than int() reads, behind zeros"),
    ],
)
def test_id_that_is_none_of_ours_is_refused(text: str) -> None:
    with pytest.raises(InvalidParameter, match="Last-Event-ID"):
        parse_event_id(text, default=None)


async def test_client_that_takes_nothing_is_given_up() -> None:
    ended = asyncio.Event()

    async def frames() -> AsyncGenerator[bytes]:
        try:
            while True:
                yield b": alive\n\n"
        finally:
            ended.set()

    async def take_nothing(message: Message) -> None:
        if message["type"] == "http.response.body":
            await asyncio.Event().wait()

    stream = EventStream(frames(), headers={}, longest_send_seconds=0.01)
    with pytest.raises(OSError):  # noqa: PT011  # what the middleware takes a lost client by
        await stream.stream_response(take_nothing)

    assert ended.is_set()
