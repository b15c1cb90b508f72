"""A client of a stream, in the test's own event loop: it reads frames, stops reading, hangs up."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from fastapi import FastAPI
from starlette.types import Message

SOON = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """One event as it came.

    Attributes:
        seq: Its id.
        event: Its type.
        data: Its JSON.
    """

    seq: int
    event: str
    data: Any


def parse_frame(block: str) -> Frame:
    """Read the three fields of a frame, each of one line."""
    fields = dict(line.split(": ", 1) for line in block.split("\n"))
    assert set(fields) == {"id", "event", "data"}
    return Frame(seq=int(fields["id"]), event=fields["event"], data=json.loads(fields["data"]))


def is_frame(block: str) -> bool:
    return not block.startswith((":", "retry: "))


class Listener:
    """What has come of one answer, block by block."""

    def __init__(self, app: FastAPI, path: str, *, query: str = "", **headers: str) -> None:
        raw = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
        self._scope: dict[str, Any] = {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": "1.1",
            "method": "GET",
            "path": path,
            "raw_path": path.encode(),
            "query_string": query.encode(),
            "headers": raw,
            "server": ("localhost", 8000),
            "client": ("127.0.0.1", 5),
            "scheme": "http",
            "root_path": "",
        }
        self.status = 0
        self.headers: dict[str, str] = {}
        self.reads = asyncio.Event()
        self.reads.set()
        self.is_asked_to_read = False
        self._asked = False
        self._gone = asyncio.Event()
        self._text = ""
        self._blocks = asyncio.Queue[str]()
        self.task = asyncio.create_task(app(self._scope, self._receive, self._send))

    async def block(self) -> str:
        """Return the next comment, field or frame: what stands before an empty line."""
        return await asyncio.wait_for(self._blocks.get(), SOON)

    async def frame(self) -> Frame:
        """Return the next frame; comments and hints before it are skipped."""
        while not is_frame(block := await self.block()):
            pass
        return parse_frame(block)

    async def rest(self) -> list[Frame]:
        """Return the frames that come until the server ends the answer."""
        await asyncio.wait_for(asyncio.shield(self.task), SOON)
        blocks = [self._blocks.get_nowait() for _ in range(self._blocks.qsize())]
        return [parse_frame(block) for block in blocks if is_frame(block)]

    def hang_up(self) -> None:
        self._gone.set()

    async def _receive(self) -> Message:
        if self._asked:
            await self._gone.wait()
            return {"type": "http.disconnect"}
        self._asked = True
        return {"type": "http.request", "body": b"", "more_body": False}

    async def _send(self, message: Message) -> None:
        self.is_asked_to_read = True
        await self.reads.wait()
        self.is_asked_to_read = False
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self.headers = {name.decode(): value.decode() for name, value in message["headers"]}
            return
        *blocks, self._text = (self._text + message["body"].decode()).split("\n\n")
        for block in blocks:
            self._blocks.put_nowait(block)


@asynccontextmanager
async def listening(
    app: FastAPI, path: str, *, query: str = "", **headers: str
) -> AsyncIterator[Listener]:
    """Open a stream, and hang up at the end."""
    listener = Listener(app, path, query=query, **headers)
    yield listener
    listener.hang_up()
    listener.reads.set()
    await asyncio.wait_for(listener.task, SOON)
