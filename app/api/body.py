"""From the bytes of a request to the raw spec: JSON, form, CSV, NDJSON or nothing.

It checks no field. A first byte { or [ is JSON whatever the Content-Type, because `curl -d` labels
JSON as a form.
"""

import asyncio
from collections.abc import Iterable
from typing import Annotated, Any, Final

from fastapi import Depends, Request
from starlette.requests import ClientDisconnect

from app.api.deps import SettingsDep
from app.api.form import parse_fields, to_spec
from app.api.points_csv import parse_points
from app.api.points_ndjson import parse_lines
from app.api.query import declared_names
from app.api.strict_json import decode, parse_json
from app.domain.errors import (
    Flaw,
    InvalidSpec,
    PayloadTooLarge,
    RequestTimeout,
    UnsupportedMediaType,
)
from app.settings import Settings

BODY_SECONDS: Final = 10.0
"""A body that takes longer holds a connection for nothing; 8 MiB need 7 Mbit/s.

Where the operator lets in larger ones, they have as much longer.
"""
_USUAL_BYTES: Final = 8 * 1024 * 1024

_SLOW_BYTES: Final = 256 * 1024
"""Parsing more than this (some 5 ms) happens off the event loop."""
_DRAIN_SECONDS: Final = 2.0
_DRAIN_BYTES: Final = 64 * 1024 * 1024

_JSON_STARTS: Final = (b"{", b"[")
_CSV_TYPES: Final = frozenset({"text/csv", "text/tab-separated-values"})
_LINE_TYPES: Final = frozenset(
    {"application/x-ndjson", "application/ndjson", "application/jsonl", "application/x-jsonlines"}
)
_FORM_TYPE: Final = "application/x-www-form-urlencoded"


async def read_body(
    request: Request, settings: Settings, *, seconds: float | None = None
) -> object:
    """Return the raw spec that the body stands for.

    Args:
        request: Not yet read.
        settings: Bounds the body.
        seconds: Longest time in which the body must have arrived; None goes by the bound.

    Raises:
        PayloadTooLarge: More bytes than settings.max_body_bytes.
        RequestTimeout: The body did not arrive in time.
        UnsupportedMediaType: Neither JSON nor form nor CSV, or compressed.
        MalformedJson: Not what it says it is.
        InvalidSpec: A form or CSV field cannot be read.
    """
    _refuse_encoded(request)
    if seconds is None:
        seconds = BODY_SECONDS * max(1.0, settings.max_body_bytes / _USUAL_BYTES)
    body = await _receive(request, settings.max_body_bytes, seconds=seconds)
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    query = [
        (name, value)
        for name, value in request.query_params.multi_items()
        if name not in declared_names(request)
    ]
    if len(body) > _SLOW_BYTES:
        return await asyncio.to_thread(parse_body, body, media_type=media_type, query=query)
    return parse_body(body, media_type=media_type, query=query)


def parse_body(body: bytes, *, media_type: str, query: Iterable[tuple[str, str]] = ()) -> object:
    """Return the raw spec that the bytes stand for.

    Args:
        body: All bytes.
        media_type: From the Content-Type, lower case, without parameters.
        query: Fields of the spec beside a CSV or NDJSON body.

    Raises:
        UnsupportedMediaType: Neither JSON nor form nor CSV.
        MalformedJson: Not what it says it is.
        InvalidSpec: A form or CSV field cannot be read.
    """
    body = body.removeprefix(b"\xef\xbb\xbf").strip(b" \t\r\n")
    if media_type in _CSV_TYPES:
        return _with_points(parse_points(decode(body)), query)
    if media_type in _LINE_TYPES:
        return _with_points(parse_lines(body), query)
    if not body:
        return {}
    if body.startswith(_JSON_STARTS) or media_type == "application/json":
        return parse_json(body)
    if media_type.startswith("application/") and media_type.endswith("+json"):
        return parse_json(body)
    if media_type == _FORM_TYPE:
        return to_spec(parse_fields(decode(body)))
    raise UnsupportedMediaType(
        f"A body of type {media_type[:60] or 'unknown'} cannot be read: send JSON, form fields "
        "(application/x-www-form-urlencoded), text/csv or application/x-ndjson"
    )


def _with_points(points: object, query: Iterable[tuple[str, str]]) -> dict[str, Any]:
    """Return the spec that stands in the query, with the points of the body."""
    spec = to_spec(query)
    if "data" in spec:
        detail = "The points are given twice: in the body and in the query"
        raise InvalidSpec((Flaw(pointer="/data", code="given-twice", detail=detail),))
    return {**spec, "data": points}


def _refuse_encoded(request: Request) -> None:
    encoding = request.headers.get("content-encoding", "identity").strip().lower()
    if encoding != "identity":
        raise UnsupportedMediaType(
            f"A body of Content-Encoding {encoding[:60]} cannot be read: send it uncompressed"
        )


async def _receive(request: Request, limit: int, *, seconds: float) -> bytes:
    """Collect the body while counting, so that memory never holds more than the limit."""
    too_large = PayloadTooLarge(f"The body has more than {limit} bytes")
    announced = request.headers.get("content-length", "")
    expects = "expect" in request.headers
    if announced.isdecimal() and int(announced[:20]) > limit:
        if not expects:
            await _drain(request)
        raise too_large
    body = bytearray()
    try:
        async with asyncio.timeout(seconds):
            async for chunk in request.stream():
                body += chunk
                if len(body) > limit:
                    break
    except TimeoutError:
        detail = f"The body did not arrive within {seconds:g} seconds"
        raise RequestTimeout(detail) from None
    if len(body) > limit:
        await _drain(request)
        raise too_large
    return bytes(body)


async def _drain(request: Request) -> None:
    """Read on for a moment: a client that is still sending would miss the answer otherwise."""
    seen = 0
    try:
        async with asyncio.timeout(_DRAIN_SECONDS):
            async for chunk in request.stream():
                seen += len(chunk)
                if seen > _DRAIN_BYTES:
                    return
    except (TimeoutError, ClientDisconnect):
        return


async def _read_raw_spec(request: Request, settings: SettingsDep) -> object:
    return await read_body(request, settings)


RawSpec = Annotated[object, Depends(_read_raw_spec)]
"""The body of a route that takes a spec, parsed but not checked."""
