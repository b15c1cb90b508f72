"""The points of a batch: many series of any length, inline, generated, or those of another batch."""

import hashlib
import json
import struct
import sys
from array import array
from collections.abc import Iterator, Mapping, Sequence
from itertools import accumulate, chain, groupby, pairwise
from typing import TYPE_CHECKING, Annotated, Any, Final, NamedTuple, Self, cast

from pydantic import (
    Discriminator,
    Field,
    PlainValidator,
    Tag,
    ValidationError,
    WithJsonSchema,
    model_serializer,
    model_validator,
)
from pydantic_core import InitErrorDetails, PydanticCustomError

from app.domain.data import (
    Column,
    Columns,
    Floats,
    Generated,
    Generator,
    JobData,
    columns_from_pairs,
    to_column,
)
from app.domain.frozen import Frozen

if TYPE_CHECKING:
    Ints = array[int]
else:
    Ints = array  # array.array takes no subscript at run time before Python 3.12

MAX_SERIES: Final = 1_000_000
MAX_GIVEN_POINTS: Final = 30_000_000
"""Their columns fill a string of Redis, 512 MB; FITJOBS_MAX_BATCH_POINTS lies below."""
MAX_DRAWN_POINTS: Final = 1_000_000_000
"""A worker draws some ten million a second."""
MAX_NAME: Final = 60

_HEADER: Final = struct.Struct("<qq")  # number of series, number of points of all
_FORMS: Final = (
    "Give [{x, y, name}, ...], [[[x, y], ...], ...], {series, x, y}, "
    '{"generate": {..., "series": n}} or {"job": id}'
)


_Lengths = Annotated[Ints, PlainValidator(lambda given: given), WithJsonSchema({"type": "array"})]


class SeriesColumns(Frozen):
    """Series given in the request: their points one after the other.

    It reads a list of series, or three columns of one length, `series` naming the series that a
    point is of; it writes the list.

    Attributes:
        lengths: Number of points of each series, at least 1, int32.
        x: Abscissae of all series, one after the other, float64.
        y: Ordinates likewise.
        names: One a series, no two the same; None when they have none.
    """

    lengths: _Lengths
    x: Column
    y: Column
    names: tuple[str, ...] | None = None

    @model_validator(mode="before")
    @classmethod
    def _gather(cls, given: object) -> object:
        match given:
            case list():
                return _from_list(cast("list[object]", given))
            case Mapping():
                return _from_columns(cast("Mapping[str, object]", given))
            case _:
                return given

    @model_validator(mode="after")
    def _check_counts(self) -> Self:
        if not self.lengths:
            raise PydanticCustomError("too-short", "Give at least one series")
        if len(self.lengths) > MAX_SERIES:
            raise PydanticCustomError("too-long", "Give at most 1,000,000 series")
        if len(self.x) > MAX_GIVEN_POINTS:
            raise PydanticCustomError("too-long", "Give at most 30,000,000 points")
        return self

    @model_serializer
    def to_list(self) -> list[dict[str, Any]]:
        """Return one object a series, as a client writes it."""
        names = [{}] * len(self) if self.names is None else [{"name": name} for name in self.names]
        return [
            {**name, "x": part.x.tolist(), "y": part.y.tolist()}
            for name, part in zip(names, self.each(), strict=True)
        ]

    def __len__(self) -> int:
        """Return how many series there are."""
        return len(self.lengths)

    @property
    def num_points(self) -> int:
        """How many points all series have together."""
        return len(self.x)

    def each(self) -> Iterator[Columns]:
        """Yield the points of one series after the other."""
        for start, stop in pairwise(accumulate(self.lengths, initial=0)):
            yield Columns.model_construct(x=self.x[start:stop], y=self.y[start:stop])

    def one(self, run: int) -> Columns:
        """Return the points of one series; `run` counts from 0."""
        start = sum(self.lengths[:run])
        stop = start + self.lengths[run]
        return Columns.model_construct(x=self.x[start:stop], y=self.y[start:stop])

    def reach(self) -> float:
        """Return the largest absolute value."""
        return max(map(abs, chain(self.x, self.y)))

    def to_bytes(self) -> bytes:
        """Return both counts (int64), lengths (int32), x, y (float64), names (JSON, or nothing).

        All are little-endian, so that a slice of the series can be read without the others.
        """
        names = b"" if self.names is None else json.dumps(self.names, ensure_ascii=False).encode()
        counts = _HEADER.pack(len(self), self.num_points)
        columns = _little(self.lengths) + _little(self.x) + _little(self.y)
        return counts + columns + names


class Layout(NamedTuple):
    """Where the parts lie in what SeriesColumns.to_bytes wrote, in bytes from its beginning."""

    lengths: int
    x: int
    y: int
    names: int


HEADER_BYTES: Final = _HEADER.size


def layout_of(header: bytes) -> Layout:
    """Tell where the parts lie; `header` is the first HEADER_BYTES at least."""
    num_series, num_points = _HEADER.unpack_from(header)
    x = HEADER_BYTES + 4 * num_series
    return Layout(HEADER_BYTES, x, x + 8 * num_points, x + 16 * num_points)


def series_from_bytes(raw: bytes) -> SeriesColumns:
    """Read what SeriesColumns.to_bytes wrote."""
    layout = layout_of(raw)
    names = raw[layout.names :]
    return SeriesColumns.model_construct(
        lengths=_from_little("i", raw[layout.lengths : layout.x]),
        x=_from_little("d", raw[layout.x : layout.y]),
        y=_from_little("d", raw[layout.y : layout.names]),
        names=tuple(json.loads(names)) if names else None,
    )


class StoredSeries(Frozen):
    """Series that the store keeps beside the spec, because there are too many points to repeat."""

    num_series: int = Field(ge=1, le=MAX_SERIES)
    num_points: int = Field(ge=1, le=MAX_GIVEN_POINTS)
    sha256: str


def store_series(series: SeriesColumns) -> tuple[StoredSeries, bytes]:
    """Return the name under which a spec refers to many series, and their bytes."""
    raw = series.to_bytes()
    stored = StoredSeries(
        num_series=len(series),
        num_points=series.num_points,
        sha256=hashlib.sha256(raw).hexdigest(),
    )
    return stored, raw


class SeriesGenerator(Generator):
    """Series of y = a*x + b + noise * N(0, 1); series k is what a fit draws under seed + k.

    Attributes:
        n: Number of points of each series.
        series: How many series.
    """

    series: int = Field(default=100, ge=1, le=MAX_SERIES)

    @model_validator(mode="after")
    def _check_points(self) -> Self:
        if self.series * self.n > MAX_DRAWN_POINTS:
            raise PydanticCustomError(
                "out-of-range",
                "series times n must be at most 1,000,000,000 points",
            )
        return self


class GeneratedSeries(Frozen):
    """Series drawn by the worker from a generator."""

    generate: SeriesGenerator

    def one(self, run: int, *, seed: int) -> Generated:
        """Return the recipe of one series.

        Args:
            run: Number of the series, from 0.
            seed: The spec's, for a generator without its own.
        """
        own = self.generate
        fields = {name: getattr(own, name) for name in Generator.model_fields if name != "seed"}
        first = seed if own.seed is None else own.seed
        return Generated(generate=Generator.model_construct(**fields, seed=first + run))


class _Entry(NamedTuple):
    x: Sequence[object]
    y: Sequence[object]
    name: str | None


def _from_list(entries: list[object]) -> dict[str, object]:
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


def _from_columns(given: Mapping[str, object]) -> dict[str, object]:
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


def _little(column: "array[Any]") -> bytes:
    if sys.byteorder == "big":
        column = array(column.typecode, column)
        column.byteswap()
    return column.tobytes()


def _from_little(code: str, raw: bytes) -> "array[Any]":
    column: array[Any] = array(code)
    column.frombytes(raw)
    if sys.byteorder == "big":
        column.byteswap()
    return column


def _kind_of(given: object) -> str | None:
    """Name the form of `data` by the keys that it carries."""
    if isinstance(given, Frozen):
        return f"<{type(given).__name__}>"
    if isinstance(given, Mapping):
        for key, tag in _TAGS:
            if key in given:
                return tag
    if isinstance(given, list | Mapping):
        return "<SeriesColumns>"
    return None


_TAGS: Final = (
    ("generate", "<GeneratedSeries>"),
    ("job", "<JobData>"),
    ("sha256", "<StoredSeries>"),
)

SeriesData = Annotated[
    Annotated[SeriesColumns, Tag("<SeriesColumns>")]
    | Annotated[GeneratedSeries, Tag("<GeneratedSeries>")]
    | Annotated[JobData, Tag("<JobData>")]
    | Annotated[StoredSeries, Tag("<StoredSeries>")],
    Discriminator(
        _kind_of,
        custom_error_type="wrong-type",
        custom_error_message=_FORMS,
    ),
]
"""What a batch's resolved spec holds. StoredSeries and JobData never reach the engine."""
