"""Lines of JSON to points: one point a line, or one series a line."""

from collections.abc import Mapping
from typing import Any, Final, cast

from app.api.strict_json import parse_json
from app.domain.errors import Flaw, InvalidSpec

_COLUMNS: Final = ("series", "x", "y")


def parse_lines(body: bytes) -> list[Any] | dict[str, list[Any]]:
    """Return the data that the lines stand for.

    Lines {"series": ..., "x": 1, "y": 2} or {"x": 1, "y": 2} are points and become columns; any
    other lines are a list, of pairs or of series, and are looked at where they are used.

    Raises:
        MalformedJson: A line is no JSON.
        InvalidSpec: A point has not the names of the first one.
    """
    lines = [line for line in body.split(b"\n") if line.strip()]
    # One text, so that a million lines are parsed at once; the errors keep their line.
    values = cast("list[Any]", parse_json(b"[" + b",\n".join(lines) + b"]"))
    if not values or not _is_point(values[0]):
        return values
    names = [name for name in _COLUMNS if name in values[0]]
    for position, value in enumerate(values):
        if not isinstance(value, Mapping) or sorted(cast("Any", value)) != names:
            detail = f"Line {position + 1} is not an object with {', '.join(names)} alone"
            raise InvalidSpec((Flaw(pointer="/data", code="not-a-pair", detail=detail),))
    return {name: [value[name] for value in values] for name in names}


def _is_point(value: object) -> bool:
    if not isinstance(value, Mapping):
        return False
    point = cast("Mapping[str, object]", value)
    return "x" in point and "y" in point and not isinstance(point["x"], list)
