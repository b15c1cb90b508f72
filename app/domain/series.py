"""The points of a batch: many series of any length, inline, generated, or those of another batch."""

import hashlib
import json
import struct
import sys
from array import array
from collections.abc import Iterator, Mapping
from itertools import accumulate, chain, pairwise
from typing import TYPE_CHECKING, Annotated, Any, Final, NamedTuple, Self, cast

from pydantic import (
    Discriminator,
    Field,
    PlainValidator,
    Tag,
    WithJsonSchema,
    model_serializer,
    model_validator,
)
from pydantic_core import PydanticCustomError

from app.domain.data import (
    Column,
    Columns,
    Generated,
    Generator,
    JobData,
)
from app.domain.frozen import Frozen
from app.domain.series_form import MAX_SERIES, read_columns, read_list

if TYPE_CHECKING:
    Ints = array[int]
else:
    Ints = array  # array.array takes no subscript at run time before Python 3.12

MAX_GIVEN_POINTS: Final = 30_000_000
"""Their columns fill a string of Redis, 512 MB; FITJOBS_MAX_BATCH_POINTS lies below."""
MAX_DRAWN_POINTS: Final = 1_000_000_000
"""A worker draws some ten million a second."""
LARGEST_SEED: Final = 2**63

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
                return read_list(cast("list[object]", given))
            case Mapping():
                return read_columns(cast("Mapping[str, object]", given))
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
        names: list[dict[str, str]] = [{}] * len(self)
        if self.names is not None:
            names = [{"name": name} for name in self.names]
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
        lengths=from_little("i", raw[layout.lengths : layout.x]),
        x=from_little("d", raw[layout.x : layout.y]),
        y=from_little("d", raw[layout.y : layout.names]),
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
        if (self.seed or 0) + self.series > LARGEST_SEED:
            raise PydanticCustomError("out-of-range", "seed + series must be at most 2^63")
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


def _little(column: "array[Any]") -> bytes:
    if sys.byteorder == "big":
        column = array(column.typecode, column)
        column.byteswap()
    return column.tobytes()


def from_little(code: str, raw: bytes) -> "array[Any]":
    """Read a little-endian column of one type of array.array."""
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
