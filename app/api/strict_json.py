"""JSON as RFC 8259 means it, from bytes that nobody vouches for; it knows no spec."""

import json
import re
from collections import Counter
from typing import Any, Final, NoReturn

from app.domain.errors import MalformedJson

MAX_DEPTH: Final = 32
"""A spec needs five levels; deep nesting only serves to exhaust a stack."""

# Possessive and open at the end: text without a closing quote must not be searched again and again.
_STRING: Final = re.compile(rb'"(?:[^"\\]|\\.)*+"?', re.DOTALL)
_NOT_BRACKETS: Final = bytes(set(range(256)) - set(b"[]{}"))


def parse_json(body: bytes) -> object:
    """Parse strict JSON (RFC 8259): no NaN, no name twice, no half characters, 32 levels.

    Raises:
        MalformedJson: With line and column where there are any.
    """
    text = decode(body)
    if _is_deep(body):
        raise MalformedJson(f"The body is nested more than {MAX_DEPTH} levels deep")
    try:
        value: object = json.loads(
            text, object_pairs_hook=_to_object, parse_constant=_refuse_constant
        )
        if "\\u" in text:
            # json.loads lets half of a surrogate pair through; nothing could write it again.
            json.dumps(value, ensure_ascii=False).encode()
    except json.JSONDecodeError as error:
        raise MalformedJson(f"{error.msg}: line {error.lineno} column {error.colno}") from None
    except UnicodeEncodeError:
        raise MalformedJson("A string holds half of a surrogate pair") from None
    except RecursionError:
        raise MalformedJson(f"The body is nested more than {MAX_DEPTH} levels deep") from None
    except ValueError:
        # Python refuses to convert integers of more than 4300 digits.
        raise MalformedJson("A number has too many digits") from None
    return value


def decode(body: bytes) -> str:
    """Return the text of a body.

    Raises:
        MalformedJson: It is not UTF-8.
    """
    try:
        return body.decode()
    except UnicodeDecodeError as error:
        raise MalformedJson(f"The body is not UTF-8: byte {error.start} cannot be read") from None


def _is_deep(body: bytes) -> bool:
    """Tell whether brackets nest too deep, without a stack: peel them layer by layer."""
    brackets = _STRING.sub(b"", body).translate(None, _NOT_BRACKETS)
    for _ in range(MAX_DEPTH):
        if not brackets:
            return False
        peeled = brackets.replace(b"[]", b"").replace(b"{}", b"")
        if peeled == brackets:
            # Unbalanced: the parser will say where. Only its own stack could still be at risk,
            # and that ends in a RecursionError.
            return False
        brackets = peeled
    return bool(brackets)


def _to_object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        (twice, _), *_ = Counter(name for name, _ in pairs).most_common(1)
        raise MalformedJson(f'The name "{twice[:80]}" is given twice in one object')
    return value


def _refuse_constant(token: str) -> NoReturn:
    raise MalformedJson(f"JSON has no {token}: use null, or leave the field out")
