"""Moments on the wire: UTC ISO 8601 with milliseconds and Z, and what clients may type instead."""

import math
from datetime import UTC, datetime, timedelta
from typing import Final

from app.domain.errors import InvalidParameter

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_LAST_SECOND: Final = 253_402_300_799
"""End of the year 9999, where ISO 8601's four digits end."""


def to_iso(at_ms: int | None) -> str | None:
    """Return e.g. "2026-02-01T12:00:00.123Z"; None stays None."""
    if at_ms is None:
        return None
    moment = _EPOCH + timedelta(milliseconds=at_ms)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def to_ms(given: str | float) -> int | None:
    """Return milliseconds since 1970; None unless it is a time of the years 1970 to 9999.

    Args:
        given: ISO 8601 (without a zone it is UTC), or seconds since 1970 as number or text.
    """
    try:
        seconds = float(given)
    except ValueError:
        seconds = _iso_to_seconds(str(given))
    return round(seconds * 1000) if 0 <= seconds <= _LAST_SECOND else None


def from_text(text: str, *, name: str) -> int:
    """Return milliseconds since 1970 for what a client typed as a time.

    Args:
        text: As for to_ms.
        name: The parameter, for the message.

    Raises:
        InvalidParameter: It is no time.
    """
    at_ms = to_ms(text)
    if at_ms is None:
        raise InvalidParameter(
            f"{name} must be a time such as 2026-02-01T12:00:00Z, or seconds since 1970"
        )
    return at_ms


def _iso_to_seconds(text: str) -> float:
    """Return seconds since 1970; NaN when the text is no time."""
    # In a query an unescaped "+01:00" arrives as " 01:00".
    for candidate in (text, "+".join(text.rsplit(" ", 1))):
        try:
            moment = datetime.fromisoformat(candidate)
        except ValueError:
            continue
        moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        return (moment - _EPOCH).total_seconds()
    return math.nan
