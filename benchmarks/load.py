"""An HTTP client lean enough not to be what is measured: one request text, sent again and again."""

import asyncio
import json
import time
from dataclasses import dataclass
from typing import Final

_SECONDS: Final = 120.0


class Refused(Exception):
    """An answer that is no success; the message has its beginning."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What came of some requests.

    Attributes:
        seconds: From the first request to the last answer.
        latencies: Of each, in seconds, sorted.
    """

    seconds: float
    latencies: tuple[float, ...]

    @property
    def rate(self) -> float:
        """Answers a second."""
        return len(self.latencies) / self.seconds


def quantile(values: tuple[float, ...], share: float) -> float:
    """Return the value below which this share of sorted values lies."""
    return values[min(len(values) - 1, int(share * len(values)))]


async def post(port: int, path: str, body: object, *, count: int, connections: int) -> Load:
    """Send the same POST over some connections that stay open, each one request at a time.

    Args:
        port: On 127.0.0.1.
        path: With its query.
        body: Sent as JSON.
        count: How many requests altogether.
        connections: How many are under way at once.

    Raises:
        Refused: An answer was no 2xx.
    """
    text = json.dumps(body).encode()
    request = (
        f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(text)}\r\n\r\n"
    ).encode() + text
    latencies: list[float] = []
    left = iter(range(count))
    opened = [await asyncio.open_connection("127.0.0.1", port) for _ in range(connections)]

    async def send(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for _ in left:
            began = time.perf_counter()
            writer.write(request)
            await _read_answer(reader)
            latencies.append(time.perf_counter() - began)

    began = time.perf_counter()
    async with asyncio.timeout(_SECONDS):
        await asyncio.gather(*(send(*each) for each in opened))
    seconds = time.perf_counter() - began
    for _, writer in opened:
        writer.close()
    return Load(seconds=seconds, latencies=tuple(sorted(latencies)))


async def _read_answer(reader: asyncio.StreamReader) -> None:
    head = (await reader.readuntil(b"\r\n\r\n")).lower()
    length = int(head.partition(b"content-length:")[2].partition(b"\r\n")[0])
    body = await reader.readexactly(length)
    if head[9:10] != b"2":
        raise Refused(f"{head.splitlines()[0]!r}: {body[:300]!r}")
