"""Writes every JSON answer: compact for programs, laid out for people, one newline at the end.

It knows nothing of what the answers say.
"""

from array import array
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, cast
from urllib.parse import parse_qsl

import orjson
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

PRETTY_NAME: Final = "pretty"
"""Query parameter of every path: ?pretty lays the answer out, ?pretty=0 packs it."""

_LINE_WIDTH: Final = 96
_LONGEST_WORD: Final = 24
_OFF: Final = frozenset({"0", "false", "no"})
_SCALARS: Final = (str, int, float, bool, type(None))


class Answer(Response):
    """A JSON answer whose layout is chosen when it is sent, from the request that it answers.

    Args:
        content: Whatever orjson takes, and array columns; NaN and infinity become null.
        status_code: HTTP status.
        headers: Further headers.
        is_long: Write it off the event loop: a million numbers take a second.
    """

    media_type = "application/json"

    def __init__(
        self,
        content: object,
        *,
        status_code: int = 200,
        headers: Mapping[str, str] | None = None,
        is_long: bool = False,
    ) -> None:
        super().__init__(None, status_code=status_code, headers=dict(headers or {}))
        self.content = content
        self._is_long = is_long

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Lay the content out for this request, and send it."""
        pretty = wants_pretty(scope)
        self.body = (
            await run_in_threadpool(render, self.content, pretty=pretty)
            if self._is_long
            else render(self.content, pretty=pretty)
        )
        self.headers["Content-Length"] = str(len(self.body))
        await super().__call__(scope, receive, send)


def wants_pretty(scope: Scope) -> bool:
    """Tell whether a person reads the answer: ?pretty says so, curl and browsers imply it."""
    for name, value in parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True):
        if name == PRETTY_NAME:
            return value.lower() not in _OFF
    headers = Headers(scope=scope)
    agent, accept = headers.get("user-agent", ""), headers.get("accept", "")
    return agent.startswith(("curl/", "HTTPie/", "Wget/")) or "text/html" in accept


def render(content: object, *, pretty: bool) -> bytes:
    """Return one JSON document and a newline; lone surrogates become question marks.

    Args:
        content: What to write.
        pretty: One member a line, but short objects and lists of scalars on one line.
    """
    try:
        plain = orjson.dumps(content, default=_to_plain, option=orjson.OPT_APPEND_NEWLINE)
    except orjson.JSONEncodeError:
        content = _mend_text(content)
        plain = orjson.dumps(content, default=_to_plain, option=orjson.OPT_APPEND_NEWLINE)
    if not pretty:
        return plain
    # Laid out from what the packed form says, so that the two can never differ in a value.
    return (_lay_out(orjson.loads(plain), indent=0, used=0) + "\n").encode()


def _to_plain(value: object) -> object:
    if isinstance(value, array):
        return list(cast("Iterable[float]", value))
    if isinstance(value, Mapping):
        return dict(cast("Mapping[str, object]", value))
    raise TypeError(f"{type(value).__name__} has no JSON form")


def _mend_text(value: object) -> object:
    """Return the value with every str made encodable: a job's JSON must not fail on its text."""
    match value:
        case str():
            return value.encode("utf-8", "replace").decode()
        case Mapping():
            pairs = cast("Mapping[str, object]", value).items()
            return {_mend_text(key): _mend_text(item) for key, item in pairs}
        case list() | tuple():
            return [_mend_text(item) for item in cast("Sequence[object]", value)]
        case _:
            return value


def _lay_out(value: Any, *, indent: int, used: int) -> str:  # noqa: ANN401  # any JSON value
    """Return text for people.

    Args:
        value: A JSON value.
        indent: Columns before a member of the enclosing object.
        used: Columns already taken on this line by indent and key.
    """
    if isinstance(value, _SCALARS) or not value:
        return orjson.dumps(value).decode()
    is_object = isinstance(value, dict)
    items = list(cast("dict[str, Any]", value).values()) if is_object else cast("list[Any]", value)
    if all(isinstance(item, _SCALARS) or not item for item in items):
        line = _one_line(value)
        # A column stays on one line: a thousand lines of numbers or words hide everything else.
        is_column = not is_object and not any(
            isinstance(item, str) and len(item) > _LONGEST_WORD for item in items
        )
        if is_column or used + len(line) <= _LINE_WIDTH:
            return line
    deeper = indent + 2
    names = cast("Iterable[str]", value)
    keys = [f"{orjson.dumps(key).decode()}: " for key in names] if is_object else [""] * len(items)
    lines = [
        f"{' ' * deeper}{key}{_lay_out(item, indent=deeper, used=deeper + len(key))}"
        for key, item in zip(keys, items, strict=True)
    ]
    opening, closing = "{}" if is_object else "[]"
    return f"{opening}\n" + ",\n".join(lines) + f"\n{' ' * indent}{closing}"


def _one_line(value: Any) -> str:  # noqa: ANN401  # any JSON value
    if isinstance(value, dict):
        members = cast("dict[str, Any]", value).items()
        inner = ", ".join(
            f"{orjson.dumps(key).decode()}: {orjson.dumps(item).decode()}" for key, item in members
        )
        return "{" + inner + "}"
    if len(value) > 1_000:  # noqa: PLR2004  # spaces cost time and bytes where nobody reads
        return orjson.dumps(value).decode()
    return "[" + ", ".join(orjson.dumps(item).decode() for item in value) + "]"
