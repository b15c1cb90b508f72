"""One line an event: a fixed event name, key=value fields, the job bound once; JSON or text."""

import json
import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any, Final, Literal

_BOUND: Final[ContextVar[dict[str, object]]] = ContextVar("fitjobs_log_fields")


@contextmanager
def bound(**fields: object) -> Iterator[None]:
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
        if record.exc_info:
            values["error"] = self.formatException(record.exc_info)
        if self._form == "json":
            line = {"at": at, "level": record.levelname.lower(), "logger": record.name}
            return json.dumps({**line, "event": record.getMessage(), **values}, default=str)
        text = " ".join(f"{key}={value}" for key, value in values.items())
        return f"{at} {record.levelname.lower():7} {record.getMessage()} {text}".rstrip()


def configure(*, form: Literal["text", "json"], level: str) -> None:
    """Send everything that this process logs to standard error in one form.

    Args:
        form: "text" for people, "json" for machines.
        level: Least severe level that is written.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Formatter(form))
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
