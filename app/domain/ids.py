"""Job ids: time-ordered, readable, safe in a path and in a key."""

import re
import secrets
from typing import Final

# Crockford's base 32: no i, l, o, u, so that an id survives being read aloud.
_ALPHABET: Final = "0123456789abcdefghjkmnpqrstvwxyz"
_TIME_DIGITS: Final = 10  # 48 bits of milliseconds, enough until the year 10889
_RANDOM_DIGITS: Final = 16  # 80 random bits

_CLIENT_ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
_RESERVED: Final = frozenset({"latest"})

ID_RULE: Final = "1 to 64 of A-Z a-z 0-9 _ -, beginning with a letter or digit, and not 'latest'"


def make_job_id(now_ms: int) -> str:
    """Return a new id, "job_" and 26 digits; ids sort by the time of their making.

    Args:
        now_ms: Milliseconds since 1970, UTC.
    """
    number = (now_ms << 80) | secrets.randbits(80)
    digits: list[str] = []
    for _ in range(_TIME_DIGITS + _RANDOM_DIGITS):
        digits.append(_ALPHABET[number & 31])
        number >>= 5
    return "job_" + "".join(reversed(digits))


def is_job_id(text: str) -> bool:
    """Tell whether a path segment can be a job's id, ours or a client's own."""
    return _CLIENT_ID.fullmatch(text) is not None and text not in _RESERVED
