"""What a list of jobs is filtered by, and the cursor that pages through it."""

import base64
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from app.domain.errors import InvalidCursor
from app.domain.job import JobRecord, Status
from app.store.codec import first_order
from app.store.scripts import Argument

_CURSOR_PREFIX: Final = "1:"  # the version of what stands behind it
_LONGEST_CURSOR: Final = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class JobFilter:
    """What a job must be to be listed; an empty collection lets everything through.

    Attributes:
        statuses: One of these.
        kinds: One of these.
        optimizers: At least one run uses one of these, in torch's spelling.
        queues: Device kind, "cpu" or "cuda".
        tags: Every one of these, name and value.
        created_after_ms: Created at this time or later.
        created_before_ms: Created before this time.
    """

    statuses: frozenset[Status] = frozenset()
    kinds: frozenset[str] = frozenset()
    optimizers: frozenset[str] = frozenset()
    queues: frozenset[str] = frozenset()
    tags: Mapping[str, str] = field(default_factory=dict[str, str])
    created_after_ms: int | None = None
    created_before_ms: int | None = None

    def arguments(self) -> list[Argument]:
        """Return the lists as find.lua reads them."""
        flat = list[Argument]()
        for values in (self.statuses, self.kinds, self.optimizers, self.queues):
            flat += [len(values), *sorted(str(value) for value in values)]
        for name, value in self.tags.items():
            flat += [name, value]
        return flat

    def lowest(self) -> str:
        """Return the lowest order that can pass."""
        return "-inf" if self.created_after_ms is None else str(first_order(self.created_after_ms))

    def highest(self, cursor: str | None) -> str:
        """Return the highest order that can pass after the jobs that the cursor has seen."""
        orders = list[int]()
        if self.created_before_ms is not None:
            orders.append(first_order(self.created_before_ms))
        if cursor is not None:
            orders.append(read_cursor(cursor))
        return f"({min(orders)}" if orders else "+inf"


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """Some jobs, newest first.

    Attributes:
        records: At most as many as were asked for.
        next_cursor: Where the next page begins; None when this is the last.
    """

    records: tuple[JobRecord, ...]
    next_cursor: str | None


def make_cursor(order: int) -> str:
    """Return an opaque text for "older than the job with this order"."""
    return base64.urlsafe_b64encode(f"{_CURSOR_PREFIX}{order}".encode()).decode().rstrip("=")


def read_cursor(cursor: str) -> int:
    """Return the order behind a cursor.

    Raises:
        InvalidCursor: It was not made here.
    """
    digits = _decode(cursor).removeprefix(_CURSOR_PREFIX) if len(cursor) <= _LONGEST_CURSOR else ""
    if make_cursor(int(digits) if digits.isdecimal() else -1) != cursor:
        raise InvalidCursor("This cursor was not made here: start without one")
    return int(digits)


def _decode(cursor: str) -> str:
    try:
        padded = cursor + "=" * (-len(cursor) % 4)
        return base64.urlsafe_b64decode(padded).decode("ascii")
    except ValueError:  # no base 64, or no text behind it
        return ""
