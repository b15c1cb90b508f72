"""Which of the forms that a resource has a client wants: ?format= first, then Accept."""

from collections.abc import Mapping
from typing import Annotated, Final

from fastapi import Header, Query

from app.domain.errors import InvalidParameter, NotAcceptable
from app.domain.flaws import nearest

MEDIA_TYPES: Final[Mapping[str, str]] = {
    "json": "application/json",
    "text": "text/plain",
    "csv": "text/csv",
    "ndjson": "application/x-ndjson",
    "sse": "text/event-stream",
}
"""Media type of every form that ?format= or Accept can name."""

_ALIASES: Final[Mapping[str, str]] = {"txt": "text", "jsonl": "ndjson"}

FormatText = Annotated[
    str | None, Query(alias="format", description="Wins over the Accept header.")
]
AcceptText = Annotated[str | None, Header(alias="Accept", include_in_schema=False)]


def choose_format(asked: str | None, accept: str | None, *, offered: tuple[str, ...]) -> str:
    """Return the form to answer in.

    Args:
        asked: Value of ?format=.
        accept: Value of Accept.
        offered: Names in MEDIA_TYPES, the default first.

    Raises:
        InvalidParameter: ?format= names none of them.
        NotAcceptable: Accept excludes all of them.
    """
    if asked is not None:
        name = _ALIASES.get(asked.lower(), asked.lower())
        if name in offered:
            return name
        guess = nearest(name, offered)
        hint = f': did you mean "{guess}"?' if guess else ""
        raise InvalidParameter(f"format must be one of {', '.join(offered)}{hint}")
    ranges = _parse_accept(accept or "*/*")
    best = max(offered, key=lambda name: _quality(MEDIA_TYPES[name], ranges))
    if _quality(MEDIA_TYPES[best], ranges) <= 0:
        media_types = ", ".join(MEDIA_TYPES[name] for name in offered)
        raise NotAcceptable(f"This resource comes as {media_types}, and Accept allows none of them")
    return best


def _parse_accept(accept: str) -> dict[str, float]:
    """Return the quality of every media range, e.g. {"text/*": 0.5}."""
    ranges: dict[str, float] = {}
    for part in accept.split(","):
        media_range, *parameters = (piece.strip().lower() for piece in part.split(";"))
        qualities = [text[2:] for text in parameters if text.startswith("q=")]
        try:
            ranges[media_range] = float(qualities[0]) if qualities else 1.0
        except ValueError:
            ranges[media_range] = 0.0
    return ranges


def _quality(media_type: str, ranges: Mapping[str, float]) -> float:
    """Return the quality of the most specific range that covers the type; 0 when none does."""
    for media_range in (media_type, f"{media_type.partition('/')[0]}/*", "*/*"):
        if media_range in ranges:
            return ranges[media_range]
    return 0.0
