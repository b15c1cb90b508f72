"""Vega-Lite specs to SVG and PNG by vl-convert, in a child process that comes and goes.

Rendering leaves 120 MB resident after the first picture and 225 MB after sixty (V8 and Vega), more
than the whole API may use; so `python -m app.charts.image` renders what it reads from standard
input, and Renderer starts it when a picture is asked for and lets it go when none has been for a
while. Knows nothing of jobs.
"""

import asyncio
import contextlib
import os
import struct
import sys
from asyncio import StreamReader, StreamWriter
from asyncio.subprocess import DEVNULL, PIPE, Process
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Final, Literal, Self, cast

import orjson

import app
from app.domain.errors import ChartFailed, ChartUnavailable

Json = dict[str, Any]
Form = Literal["svg", "png"]

VEGA_LITE: Final = "6.4"
MAX_SCALE: Final = 4.0
_HEADER: Final = struct.Struct("<cI")
"""One byte (s: SVG, p: PNG, o: done, e: failed) and the length of what follows."""
_MAX_REPLY: Final = 64 * 1024 * 1024
_GRACE_SECONDS: Final = 1.0
"""How long a child may take to end by itself."""


def render_svg(spec: Json) -> bytes:
    """Return a spec as SVG, UTF-8; loads vl-convert into this process.

    Raises:
        ChartFailed: Vega-Lite refuses the spec, or it asks for data elsewhere.
    """
    import vl_convert  # noqa: PLC0415  # 90 MB that the API process must not carry

    try:
        svg = vl_convert.vegalite_to_svg(spec, vl_version=VEGA_LITE, allowed_base_urls=[])
    except ValueError as error:
        raise ChartFailed(f"The chart cannot be drawn: {str(error)[:300]}") from error
    return svg.encode()


def render_png(spec: Json, *, scale: float = 2.0) -> bytes:
    """Return a spec as PNG; loads vl-convert into this process.

    Args:
        spec: Vega-Lite, data inside.
        scale: Image pixels for a pixel of the spec; 2 is sharp on most screens.

    Raises:
        ChartFailed: Vega-Lite refuses the spec, or it asks for data elsewhere.
    """
    import vl_convert  # noqa: PLC0415  # 90 MB that the API process must not carry

    try:
        return vl_convert.vegalite_to_png(
            spec, vl_version=VEGA_LITE, scale=min(scale, MAX_SCALE), allowed_base_urls=[]
        )
    except ValueError as error:
        raise ChartFailed(f"The chart cannot be drawn: {str(error)[:300]}") from error


@dataclass(frozen=True, slots=True, kw_only=True)
class _Child:
    """A process that runs this file, and its two ends."""

    process: Process
    requests: StreamWriter
    replies: StreamReader


class Renderer:
    """Draws one picture at a time in a child process; safe to share between requests of one loop.

    Args:
        timeout_seconds: Longest time for one picture, the child's start and the wait included.
        idle_seconds: How long a child without work is kept.
        max_waiting: Requests that may wait; beyond, ChartUnavailable at once.
        max_pictures: Pictures after which a child is replaced: V8 gives no memory back.
    """

    def __init__(
        self,
        *,
        timeout_seconds: float = 20.0,
        idle_seconds: float = 60.0,
        max_waiting: int = 16,
        max_pictures: int = 32,
    ) -> None:
        self._timeout_seconds = timeout_seconds
        self._idle_seconds = idle_seconds
        self._max_waiting = max_waiting
        self._max_pictures = max_pictures
        self._turn = asyncio.Lock()
        self._waiting = 0
        self._child: _Child | None = None
        self._pictures = 0
        self._retirement: asyncio.Task[None] | None = None
        self._is_closed = False

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    @property
    def child_pid(self) -> int | None:
        """Process id of the child; None while there is none."""
        return None if self._child is None else self._child.process.pid

    async def svg(self, spec: Json) -> bytes:
        """Return a spec as SVG, UTF-8.

        Raises:
            ChartFailed: Vega-Lite refuses the spec.
            ChartUnavailable: Not drawn in time, or too many wait already.
        """
        return await self._draw(b"s", {"spec": spec})

    async def png(self, spec: Json, *, scale: float = 2.0) -> bytes:
        """Return a spec as PNG, `scale` image pixels for a pixel of the spec (at most 4).

        Raises:
            ChartFailed: Vega-Lite refuses the spec.
            ChartUnavailable: Not drawn in time, or too many wait already.
        """
        return await self._draw(b"p", {"spec": spec, "scale": scale})

    async def close(self) -> None:
        """End the child; later requests get ChartUnavailable."""
        self._is_closed = True
        async with self._turn:
            self._keep()
            await self._retire()

    async def _draw(self, form: bytes, request: Json) -> bytes:
        if self._is_closed or self._waiting >= self._max_waiting:
            raise ChartUnavailable(
                "Too many charts are being drawn right now", retry_after_seconds=2
            )
        self._waiting += 1
        try:
            async with asyncio.timeout(self._timeout_seconds), self._turn:
                self._keep()
                return await self._ask(form, orjson.dumps(request))
        except TimeoutError as error:
            raise ChartUnavailable(
                f"The chart was not drawn within {self._timeout_seconds:g} s", retry_after_seconds=5
            ) from error
        finally:
            self._waiting -= 1
            if self._child is not None and not self._waiting:
                self._retirement = asyncio.create_task(self._retire_later())

    async def _ask(self, form: bytes, body: bytes) -> bytes:
        """Send one request to the child and read its answer; end a child that breaks off."""
        is_whole = False
        try:
            child = await self._start()
            child.requests.write(_HEADER.pack(form, len(body)) + body)
            await child.requests.drain()
            head, length = _HEADER.unpack(await child.replies.readexactly(_HEADER.size))
            reply = await child.replies.readexactly(length)
            is_whole = True
        except (OSError, asyncio.IncompleteReadError) as error:
            raise ChartUnavailable(
                "The chart process ended early", retry_after_seconds=2
            ) from error
        finally:
            # Also when the request was cancelled: a late answer must not meet the next question.
            if not is_whole:
                self._kill()
        self._pictures += 1
        if self._pictures >= self._max_pictures:
            await self._retire()
        if head == b"e":
            raise ChartFailed(reply.decode())
        return reply

    async def _start(self) -> "_Child":
        if self._child is not None and self._child.process.returncode is None:
            return self._child
        self._pictures = 0
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "app.charts.image",
            stdin=PIPE,
            stdout=PIPE,
            stderr=DEVNULL,
            limit=_MAX_REPLY,
            # A Ctrl-C in the terminal is for the API, which ends its child itself.
            start_new_session=True,
            # -m looks here first: the same `app`, installed or not.
            cwd=Path(app.__file__).parent.parent,
        )
        self._child = _Child(
            process=process,
            requests=cast("StreamWriter", process.stdin),
            replies=cast("StreamReader", process.stdout),
        )
        return self._child

    def _keep(self) -> None:
        if self._retirement is not None:
            self._retirement.cancel()
            self._retirement = None

    async def _retire_later(self) -> None:
        await asyncio.sleep(self._idle_seconds)
        async with self._turn:
            await self._retire()

    async def _retire(self) -> None:
        """Close the child's input, at which it ends, and reap it."""
        child, self._child = self._child, None
        if child is None:
            return
        child.requests.close()
        try:
            async with asyncio.timeout(_GRACE_SECONDS):
                await child.process.wait()
        except TimeoutError:
            child.process.kill()
            await child.process.wait()

    def _kill(self) -> None:
        child, self._child = self._child, None
        if child is not None:
            with contextlib.suppress(ProcessLookupError):
                child.process.kill()


def main() -> int:
    """Answer requests on standard input until it ends; return the exit status."""
    # What a library prints must not get between the answers.
    replies = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    serve(sys.stdin.buffer, replies)
    return 0


def serve(requests: BinaryIO, replies: BinaryIO) -> None:
    """Read requests, write one answer each, until the requests end."""
    while len(header := requests.read(_HEADER.size)) == _HEADER.size:
        form, length = _HEADER.unpack(header)
        request = orjson.loads(requests.read(length))
        try:
            head, reply = b"o", _render(form, request)
        except ChartFailed as error:
            head, reply = b"e", error.detail.encode()
        replies.write(_HEADER.pack(head, len(reply)) + reply)
        replies.flush()


def _render(form: bytes, request: Json) -> bytes:
    if form == b"s":
        return render_svg(request["spec"])
    return render_png(request["spec"], scale=request["scale"])


if __name__ == "__main__":
    sys.exit(main())
