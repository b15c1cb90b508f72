"""Reads server-sent events; it knows the format and nothing of jobs."""

from collections.abc import AsyncIterable, AsyncIterator
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One event of a stream.

    Attributes:
        id: As it was sent, "" without one.
        event: Its type.
        data: Its lines, joined.
    """

    id: str
    event: str
    data: str


async def messages(lines: AsyncIterable[str]) -> AsyncIterator[Message]:
    """Yield the events of a stream; comments, which keep it open, are left out."""
    fields: dict[str, list[str]] = {}
    async for line in lines:
        if line:
            name, _, value = line.partition(":")
            if name:
                fields.setdefault(name, []).append(value.removeprefix(" "))
            continue
        if "data" in fields:
            yield Message(
                id=fields.get("id", [""])[-1],
                event=fields.get("event", ["message"])[-1],
                data="\n".join(fields["data"]),
            )
        fields = {}
