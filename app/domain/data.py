"""The points to fit: inline, generated, a preset, or those of another job."""

import hashlib
import math
import sys
from array import array
from collections.abc import Mapping, Sequence
from itertools import chain
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, cast

from pydantic import (
    BeforeValidator,
    Discriminator,
    Field,
    PlainSerializer,
    PlainValidator,
    Strict,
    Tag,
    WithJsonSchema,
    model_validator,
)
from pydantic_core import PydanticCustomError

from app.domain.frozen import Frozen

if TYPE_CHECKING:
    Floats = array[float]
else:
    Floats = array  # array.array takes no subscript at run time before Python 3.12

MAX_POINTS: Final = 1_000_000
LARGEST: Final = 1e150
"""Squares of larger values overflow a float64."""
INLINE_ECHO_POINTS: Final = 200
"""Up to here a job object repeats its points; beyond, it names their number and hash."""


def to_column(given: object) -> Floats:
    """Turn a list of numbers into a column of float64; refuse everything that is not a number.

    Raises:
        PydanticCustomError: Not a list, or an element is no finite number; the message names it.
    """
    if isinstance(given, array):
        return cast("Floats", given)
    if not isinstance(given, list):
        raise PydanticCustomError("wrong-type", "Give a list of numbers")
    values = cast("list[float]", given)
    if not set(map(type, values)) <= {float, int}:
        position = next(i for i, value in enumerate(values) if type(value) not in {float, int})
        raise PydanticCustomError(
            "not-a-number", "Element {position} is not a number", {"position": position}
        )
    try:
        column = array("d", values)
    except OverflowError:
        # An integer beyond every float64.
        column = array("d", [math.inf])
    if any(map(math.isnan, column)):
        raise PydanticCustomError("not-a-number", "NaN is not a number that can be fitted")
    if column and max(map(abs, column)) > LARGEST:
        raise PydanticCustomError("out-of-range", "Every number must lie within +-1e150")
    return column


Column = Annotated[
    Floats,
    PlainValidator(to_column),
    PlainSerializer(list, return_type=list[float]),
    WithJsonSchema({"type": "array", "items": {"type": "number"}}),
]


class Columns(Frozen):
    """Points given in the request; both columns have the same length, 1 to 1,000,000."""

    x: Column
    y: Column

    @model_validator(mode="after")
    def _check_lengths(self) -> "Columns":
        if len(self.x) != len(self.y):
            raise PydanticCustomError(
                "length-mismatch",
                "x has {x} values and y has {y}: give one y for every x",
                {"x": len(self.x), "y": len(self.y)},
            )
        if not self.x:
            raise PydanticCustomError("too-short", "Give at least one point")
        if len(self.x) > MAX_POINTS:
            raise PydanticCustomError("too-long", "Give at most 1,000,000 points")
        return self

    def to_bytes(self) -> bytes:
        """Return x then y as little-endian float64."""
        columns = array("d", self.x)
        columns.extend(self.y)
        if sys.byteorder == "big":
            columns.byteswap()
        return columns.tobytes()

    def reach(self) -> float:
        """Return the largest absolute value."""
        return max(map(abs, chain(self.x, self.y)))


def columns_from_bytes(raw: bytes) -> Columns:
    """Read what Columns.to_bytes wrote."""
    both = array("d", raw)
    if sys.byteorder == "big":
        both.byteswap()
    half = len(both) // 2
    return Columns(x=both[:half], y=both[half:])


class StoredColumns(Frozen):
    """Points that the store keeps beside the spec, because there are too many to repeat."""

    num_points: int = Field(ge=1, le=MAX_POINTS)
    sha256: str


def store_columns(columns: Columns) -> tuple[StoredColumns, bytes]:
    """Return the name under which a spec refers to many points, and their bytes."""
    raw = columns.to_bytes()
    digest = hashlib.sha256(raw).hexdigest()
    return StoredColumns(num_points=len(columns.x), sha256=digest), raw


class Preset(Frozen):
    """A named problem.

    Attributes:
        preset: Its name.
        points: Take only the first so many of its points; None takes all.
        seed: Fixes the draw; None takes the spec's seed.
    """

    preset: Literal["classic", "noisy", "far", "outliers"]
    points: Annotated[int, Field(ge=1, le=MAX_POINTS)] | None = None
    seed: Annotated[int, Field(ge=0, lt=2**63)] | None = None


class Generator(Frozen):
    """y = a*x + b + noise * N(0, 1).

    Attributes:
        a: Slope.
        b: Intercept.
        n: Number of points.
        noise: Standard deviation of y around the line.
        x: "normal" draws from N(0, 1), [lo, hi] draws uniformly.
        seed: None takes the spec's seed.
    """

    a: float = Field(default=2.0, ge=-LARGEST, le=LARGEST)
    b: float = Field(default=1.0, ge=-LARGEST, le=LARGEST)
    n: int = Field(default=100, ge=1, le=MAX_POINTS)
    noise: float = Field(default=0.1, ge=0.0, le=LARGEST)
    x: Literal["normal"] | Annotated[tuple[float, float], Strict(strict=False)] = "normal"
    seed: Annotated[int, Field(ge=0, lt=2**63)] | None = None

    @model_validator(mode="after")
    def _check_interval(self) -> "Generator":
        if not isinstance(self.x, str) and not (-LARGEST <= self.x[0] <= self.x[1] <= LARGEST):
            raise PydanticCustomError("out-of-range", "x must be [lo, hi] with lo <= hi")
        if self.reach() > LARGEST:
            raise PydanticCustomError(
                "out-of-range",
                "a*x + b + noise must lie within +-1e150: make a, b, noise or x less",
            )
        return self

    def reach(self) -> float:
        """Return a bound on the absolute values that are drawn, 10 standard deviations out."""
        x = 10.0 if isinstance(self.x, str) else max(map(abs, self.x))
        return max(x, abs(self.a) * x + abs(self.b) + 10.0 * self.noise)


class Generated(Frozen):
    """Points drawn by the worker from a generator."""

    generate: Generator


class JobData(Frozen):
    """The very points of another job."""

    job: str = Field(min_length=1, max_length=64)


def _kind_of(given: object) -> str | None:
    """Name the form of `data` by the keys that it carries."""
    if isinstance(given, Frozen):
        return f"<{type(given).__name__}>"
    if isinstance(given, Mapping):
        for key, tag in _TAGS:
            if key in given:
                return tag
        return "<Columns>"
    return None


_TAGS: Final = (
    ("preset", "<Preset>"),
    ("generate", "<Generated>"),
    ("job", "<JobData>"),
    ("sha256", "<StoredColumns>"),
    ("x", "<Columns>"),
)


def _shortest_form(given: object) -> object:
    """Turn [[x, y], ...] and "name" into the object that they stand for."""
    if isinstance(given, str):
        return {"preset": given}
    if isinstance(given, list):
        return columns_from_pairs(cast("list[list[Any]]", given))
    return given


def columns_from_pairs(pairs: Sequence[list[Any]]) -> dict[str, list[Any]]:
    """Turn [[x, y], ...] into two lists.

    Raises:
        PydanticCustomError: An element is no pair; the message names it.
    """
    # A million pairs are looked at without a Python loop.
    if not (set(map(type, pairs)) <= {list} and set(map(len, pairs)) <= {2}):
        position = next(i for i, pair in enumerate(pairs) if not _is_pair(pair))
        raise PydanticCustomError(
            "not-a-pair", "Element {position} is not a pair [x, y]", {"position": position}
        )
    return {"x": [pair[0] for pair in pairs], "y": [pair[1] for pair in pairs]}


def _is_pair(value: object) -> bool:
    return isinstance(value, list) and len(cast("list[object]", value)) == 2  # noqa: PLR2004  # x, y


Data = Annotated[
    Annotated[Columns, Tag("<Columns>")]
    | Annotated[Preset, Tag("<Preset>")]
    | Annotated[Generated, Tag("<Generated>")]
    | Annotated[JobData, Tag("<JobData>")]
    | Annotated[StoredColumns, Tag("<StoredColumns>")],
    Discriminator(
        _kind_of,
        custom_error_type="wrong-type",
        custom_error_message="Give [[x, y], ...], {x, y}, {preset}, {generate} or {job}",
    ),
    BeforeValidator(_shortest_form),
]
"""What a resolved spec holds. StoredColumns and JobData never reach the engine."""
