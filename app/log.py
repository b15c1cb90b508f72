"""One line an event: a fixed event name, key=value fields, the job bound once; JSON or text."""

import json
import logging
import sys
from collections.abc import Generator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any, Final, Literal

_BOUND: Final[ContextVar[dict[str, object]]] = ContextVar("fitjobs_log_fields")


@contextmanager
def bound(**fields: object) -> Generator[None]:
    """Add fields (job_id, attempt, request_id) to every line written inside the block."""
    token = _BOUND.set({**_BOUND.get({}), **fields})
    try:
        yield
    finally:
        _BOUND.reset(token)


def fields(**values: object) -> dict[str, Any]:
    """Return the `extra` argument that carries key=value fields to the formatter."""
    return {"fields": values}


class _Formatter(logging.Formatter):
    """Writes time, level, logger, event and fields."""

    def __init__(self, form: Literal["text", "json"]) -> None:
        super().__init__()
        self._form = form

    def format(self, record: logging.LogRecord) -> str:
        values = {**_BOUND.get({}), **getattr(record, "fields", {})}
        at = datetime.fromtimestamp(record.created, tz=UTC).isoformat(timespec="milliseconds")
        traceback = self.formatException(record.exc_info) if record.exc_info else ""
        if self._form == "json":
            line = {"at": at, "level": record.levelname.lower(), "logger": record.name}
            told = {"traceback": traceback} if traceback else {}
            return json.dumps({**values, **told, **line, "event": record.getMessage()}, default=str)
        text = " ".join(f"{key}={_quote(value)}" for key, value in values.items())
        line_of_text = f"{at} {record.levelname.lower():7} {record.getMessage()} {text}".rstrip()
        return f"{line_of_text}\n{traceback}" if traceback else line_of_text


def _quote(value: object) -> str:
    """Return a value such that it ends where it seems to end and stays on its line."""
    text = str(value)
    is_plain = text.isprintable() and not set(text) & {" ", "=", '"'}
    return text if is_plain else json.dumps(text)


def configure(*, form: Literal["text", "json"], level: str) -> None:
    """Send everything that this process logs to standard error in one form.

    Args:
        form: "text" for people, "json" for machines.
        level: Least severe level that is written.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Formatter(form))
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
