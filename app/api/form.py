"""Flat text fields, from a form or a query, to the spec that the same JSON would be.

It knows which fields are text whatever they look like, and nothing else of a spec.
"""

import re
from collections.abc import Iterable
from typing import Any, Final, cast
from urllib.parse import parse_qsl

from app.api.strict_json import parse_json
from app.domain.errors import Flaw, InvalidSpec, MalformedJson

MAX_FIELDS: Final = 200
_MAX_DEPTH: Final = 4

_INTEGER: Final = re.compile(r"[+-]?[0-9]{1,30}")
# The dot stands between the two runs of digits: side by side they could share them in n^2 ways.
_NUMBER: Final = re.compile(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?")
_LITERALS: Final[dict[str, object]] = {"true": True, "false": False, "null": None}
_TEXT_FIELDS: Final = frozenset({("name",), ("data", "job")})
_TEXT_BRANCHES: Final = frozenset({"tags"})
_LIST_FIELDS: Final = frozenset({("optimizers",)})
# A bare word for these stands for an object with this one member.
_SHORT_FORMS: Final = {"optimizer": "name", "scheduler": "name", "data": "preset"}


def parse_fields(text: str) -> list[tuple[str, str]]:
    """Return names and values of an application/x-www-form-urlencoded text.

    Raises:
        MalformedJson: A part has no "=", is no UTF-8, or there are too many.
    """
    try:
        return parse_qsl(
            text.strip(),
            keep_blank_values=True,
            strict_parsing=True,
            errors="strict",
            max_num_fields=MAX_FIELDS,
        )
    except ValueError as error:
        raise MalformedJson(
            'The body is neither JSON (it would begin with "{" or "[") nor at most '
            f"{MAX_FIELDS} form fields such as optimizer=adam&lr=0.1"
        ) from error


def to_spec(pairs: Iterable[tuple[str, str]]) -> dict[str, Any]:
    """Turn "stop.loss_below" = "1e-6" into {"stop": {"loss_below": 1e-6}}.

    Raises:
        InvalidSpec: A field is given twice, or a name cannot be read.
    """
    spec: dict[str, Any] = {}
    for name, value in pairs:
        path = _path_of(name)
        typed = value if _is_text(path) else coerce(value)
        _put(spec, path=path, value=typed, name=name)
    return spec


def coerce(text: str) -> object:
    """Return the JSON value that the text looks like, else the text itself.

    Raises:
        MalformedJson: It begins like a list or an object and is none.
    """
    if text in _LITERALS:
        return _LITERALS[text]
    if _INTEGER.fullmatch(text):
        return int(text)
    if _NUMBER.fullmatch(text):
        number = float(text)
        # 1e4 steps are 10000 steps; a JSON body could not say so, a person typing can.
        return int(number) if number.is_integer() and abs(number) < 2**53 else number
    if text[:1] in {"{", "["}:
        return parse_json(text.encode(errors="surrogatepass"))
    return text


def _path_of(name: str) -> tuple[str, ...]:
    """Split "stop.loss_below", "stop[loss_below]" and "optimizers[]"."""
    path = tuple(name.replace("[]", "").replace("]", "").replace("[", ".").split("."))
    if not all(path) or len(path) > _MAX_DEPTH:
        # A tag's own name may hold dots.
        if path[0] in _TEXT_BRANCHES and len(path) > 1:
            return path[0], ".".join(path[1:])
        raise InvalidSpec((_flaw(name, "unknown-field", "This is not the name of a field"),))
    if path[0] in _TEXT_BRANCHES and len(path) > 1:
        return path[0], ".".join(path[1:])
    return path


def _is_text(path: tuple[str, ...]) -> bool:
    return path in _TEXT_FIELDS or (len(path) > 1 and path[0] in _TEXT_BRANCHES)


def _put(spec: dict[str, Any], *, path: tuple[str, ...], value: object, name: str) -> None:
    """Set one field; a bare word and its details meet: optimizer=sgd, optimizer.momentum=0.9."""
    place = spec
    for part in path[:-1]:
        below = place.setdefault(part, {})
        if isinstance(below, str) and place is spec and part in _SHORT_FORMS:
            below = place[part] = {_SHORT_FORMS[part]: below}
        if not isinstance(below, dict):
            raise _twice(name)
        place = cast("dict[str, Any]", below)
    last = path[-1]
    if path in _LIST_FIELDS and not isinstance(value, list):
        place.setdefault(last, []).append(value)
        return
    if last in place:
        present = place[last]
        short = _SHORT_FORMS.get(last) if place is spec else None
        if short is None or not isinstance(present, dict) or short in present:
            raise _twice(name)
        present[short] = value
        return
    place[last] = value


def _twice(name: str) -> InvalidSpec:
    return InvalidSpec((_flaw(name, "given-twice", "This field is given twice"),))


def _flaw(name: str, code: str, detail: str) -> Flaw:
    pointer = "/" + name.replace("~", "~0").replace("/", "~1").replace(".", "/")
    return Flaw(pointer=pointer, code=code, detail=detail)
