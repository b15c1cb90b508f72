"""Reads the forms in which a client may write series: a list of them, or three columns.

It makes plain columns of numbers, and says where the first mistake is.
"""

from array import array
from collections.abc import Mapping, Sequence
from itertools import chain, groupby
from typing import Any, Final, NamedTuple, cast

from pydantic import ValidationError
from pydantic_core import InitErrorDetails, PydanticCustomError

from app.domain.data import Floats, columns_from_pairs, to_column

MAX_SERIES: Final = 1_000_000
MAX_NAME: Final = 60


class _Entry(NamedTuple):
    x: Sequence[object]
    y: Sequence[object]
    name: str | None


def read_list(entries: list[object]) -> dict[str, object]:
    """Return the fields of SeriesColumns from one entry a series."""
    if len(entries) > MAX_SERIES:
        raise PydanticCustomError("too-long", "Give at most 1,000,000 series")
    parts = [_read_entry(run, entry) for run, entry in enumerate(entries)]
    names = tuple(part.name for part in parts if part.name is not None)
    if names and len(names) < len(parts):
        run = next(run for run, part in enumerate(parts) if part.name is None)
        raise _at((run, "name"), "missing", "Name every series, or none")
    if len(set(names)) < len(names):
        last = {name: run for run, name in enumerate(names)}
        run = next(last[name] for run, name in enumerate(names) if last[name] != run)
        raise _at((run, "name"), "repeated-name", "Another series has this name")
    return {
        "lengths": array("i", (len(part.x) for part in parts)),
        "x": _join([part.x for part in parts], entries, "x"),
        "y": _join([part.y for part in parts], entries, "y"),
        "names": names or None,
    }


def _read_entry(run: int, entry: object) -> _Entry:
    """Return what one series says, its numbers not yet looked at."""
    if isinstance(entry, list):
        try:
            columns: Mapping[str, object] = columns_from_pairs(cast("list[list[Any]]", entry))
        except PydanticCustomError as error:
            raise _at((run,), error.type, error.message()) from error
    elif isinstance(entry, Mapping):
        columns = cast("Mapping[str, object]", entry)
    else:
        raise _at((run,), "wrong-type", "Give {x, y} or [[x, y], ...]")
    _refuse_unknown(columns, ("x", "y", "name"), at=(run,))
    x, y = (_list_at(columns.get(axis), (run, axis)) for axis in ("x", "y"))
    if len(x) != len(y):
        detail = f"x has {len(x)} values and y has {len(y)}: give one y for every x"
        raise _at((run,), "length-mismatch", detail)
    if not x:
        raise _at((run,), "too-short", "Give at least one point")
    name = columns.get("name")
    return _Entry(x, y, None if name is None else _to_name(name, at=(run, "name")))


def _list_at(values: object, place: tuple[str | int, ...]) -> list[object]:
    if not isinstance(values, list):
        raise _at(place, "wrong-type", "Give a list of numbers")
    return cast("list[object]", values)


def _join(lists: Sequence[Sequence[object]], entries: Sequence[object], name: str) -> Floats:
    """Return the numbers of all series as one column.

    They are looked at together, which is quick; only when one is none, series by series.
    """
    try:
        return to_column(list(chain.from_iterable(lists)))
    except PydanticCustomError:
        for run, values in enumerate(lists):
            place = (run,) if isinstance(entries[run], list) else (run, name)
            _column_at(values, place)
        raise


def _column_at(values: object, place: tuple[str | int, ...]) -> Floats:
    try:
        return to_column(values)
    except PydanticCustomError as error:
        raise _at(place, error.type, error.message()) from error


def read_columns(given: Mapping[str, object]) -> dict[str, object]:
    """Return the fields of SeriesColumns from three columns; a series' rows may lie apart."""
    _refuse_unknown(given, ("series", "x", "y"), at=())
    said = given.get("series")
    if not isinstance(said, list):
        raise _at(("series",), "wrong-type", "Give a list: which series each point is of")
    said = cast("list[object]", said)
    keys = [_to_name(key, at=("series", row)) for row, key in enumerate(said)]
    x, y = (_column_at(given.get(name), (name,)) for name in ("x", "y"))
    if not len(keys) == len(x) == len(y):
        detail = f"series has {len(keys)} values, x has {len(x)} and y has {len(y)}"
        raise PydanticCustomError("length-mismatch", "{detail}", {"detail": detail})
    blocks = [(key, sum(1 for _ in block)) for key, block in groupby(keys)]
    if len({key for key, _ in blocks}) < len(blocks):
        # Rows of a series lie apart: bring them together, the series in order of appearance.
        place = {key: position for position, key in enumerate(dict.fromkeys(keys))}
        order = sorted(range(len(keys)), key=lambda row: place[keys[row]])
        keys = [keys[row] for row in order]
        x, y = (array("d", [column[row] for row in order]) for column in (x, y))
        blocks = [(key, sum(1 for _ in block)) for key, block in groupby(keys)]
    if len(blocks) > MAX_SERIES:
        raise PydanticCustomError("too-long", "Give at most 1,000,000 series")
    names = tuple(key for key, _ in blocks)
    return {"lengths": array("i", (count for _, count in blocks)), "x": x, "y": y, "names": names}


def _to_name(value: object, *, at: tuple[str | int, ...]) -> str:
    """Return a series' name; a number is one too."""
    name = str(value) if type(value) in {int, float} else value
    # Names are written to other people's terminals: no control or direction characters.
    if not isinstance(name, str) or not name.isprintable() or not 1 <= len(name) <= MAX_NAME:
        raise _at(at, "bad-name", f"Give names of 1 to {MAX_NAME} printable characters")
    return name


def _refuse_unknown(
    given: Mapping[str, object], allowed: tuple[str, ...], *, at: tuple[str | int, ...]
) -> None:
    unknown = [name for name in given if name not in allowed]
    if unknown:
        raise _at(
            (*at, unknown[0]),
            "unknown-field",
            f"A series has {', '.join(allowed)}, and nothing else",
            allowed=allowed,
        )


def _at(
    place: tuple[str | int, ...], code: str, detail: str, *, allowed: Sequence[str] = ()
) -> ValidationError:
    """Return an error at a place within the data."""
    context = {"detail": detail, **({"allowed": list(allowed)} if allowed else {})}
    error = PydanticCustomError(cast("Any", code), "{detail}", context)
    details = InitErrorDetails(type=error, loc=place, input=None)
    return ValidationError.from_exception_data("Series", [details])
