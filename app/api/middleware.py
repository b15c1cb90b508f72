"""Around every request: its id, its line in the log, HEAD, and the last net for defects.

Pure ASGI: it sees streams as they are and buffers nothing.
"""

import logging
import re
import secrets
import time
from typing import Final

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.api.errors import STATUSES, fail, path_of
from app.log import bound, fields

_REQUEST_ID: Final = re.compile(r"[A-Za-z0-9._:-]{1,64}")
_TRACE: Final = re.compile(r"[0-9a-f]{2}-([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}")
_QUIET_PATHS: Final = frozenset({"/livez", "/readyz"})
_LONGEST_LOGGED_PATH: Final = 200

_LOG = logging.getLogger(__name__)


class RequestContext:
    """Names every request, binds the name to its log lines, and writes one line at its end.

    A client's own X-Request-Id is kept when it is 1 to 64 of A-Z a-z 0-9 . _ : -, so that it
    cannot forge a log line or a header.

    Args:
        app: What serves the request.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        request_id = headers.get("x-request-id", "")
        if not _REQUEST_ID.fullmatch(request_id):
            request_id = f"req_{secrets.token_hex(12)}"
        scope.setdefault("state", {})["request_id"] = request_id
        trace = _TRACE.fullmatch(headers.get("traceparent", ""))
        names = {"request_id": request_id} | ({"trace_id": trace[1]} if trace else {})
        with bound(**names):
            await self._serve(scope, receive, send, request_id=request_id)

    async def _serve(self, scope: Scope, receive: Receive, send: Send, *, request_id: str) -> None:
        started = time.perf_counter()
        status = 0

        async def send_named(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                headers["X-Request-Id"] = request_id
                headers["X-Content-Type-Options"] = "nosniff"
            await send(message)

        request = Request(scope, receive)
        try:
            await self._app(scope, receive, send_named)
        except (OSError, ClientDisconnect):
            # The client has gone, in the middle of its body or of the answer.
            if not status:
                await Response(status_code=STATUSES["request-timeout"])(scope, receive, send_named)
        except Exception as error:
            answer = fail(request, error)
            if status:
                # Too late for another status: cutting the connection is the only honest end.
                raise
            await answer(scope, receive, send_named)
        finally:
            _log_line(request, status, seconds=time.perf_counter() - started)


def _log_line(request: Request, status: int, *, seconds: float) -> None:
    path = path_of(request)
    level = logging.DEBUG if path in _QUIET_PATHS else logging.INFO
    _LOG.log(
        level,
        "request.served",
        extra=fields(
            method=request.method[:20],
            path=path[:_LONGEST_LOGGED_PATH],
            status=status,
            milliseconds=round(seconds * 1000, 1),
        ),
    )


class HeadAsGet:
    """Answers HEAD with what GET would say, without its body; an endless stream ends at once.

    Args:
        app: What serves the request.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http" or scope["method"] != "HEAD":
            await self._app(scope, receive, send)
            return
        is_done = False

        async def receive_or_end() -> Message:
            return {"type": "http.disconnect"} if is_done else await receive()

        async def send_head(message: Message) -> None:
            nonlocal is_done
            if is_done:
                raise _HeadSentError
            await send(
                {**message, "body": b"", "more_body": False} if _is_body(message) else message
            )
            is_done = _is_body(message)

        try:
            await self._app({**scope, "method": "GET"}, receive_or_end, send_head)
        except (_HeadSentError, ClientDisconnect):
            return


class _HeadSentError(OSError):
    """Ends a stream whose head has been sent: servers raise OSError when the client has gone."""


def _is_body(message: Message) -> bool:
    return bool(message["type"] == "http.response.body")
