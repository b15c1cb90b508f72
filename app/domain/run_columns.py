"""Many runs as columns: how each of them ended, and of a batch also its exact line."""

import sys
from array import array
from collections.abc import Iterable
from dataclasses import dataclass, fields
from typing import Final

from app.domain.result import StopReason

REASONS: Final = tuple(StopReason)
"""A stop reason is stored as its place here; new ones go to the end."""
_TYPES: Final = {"steps": "i", "steps_to_tolerance": "i", "reason": "b", "points": "i"}
_VERSION: Final = b"runs1"


@dataclass(frozen=True, slots=True, kw_only=True)
class RunColumns:
    """How consecutive runs ended, a number a run in each column; NaN stands for what is not finite.

    Attributes:
        a: Fitted slopes, float64; NaN where the run diverged.
        b: Fitted intercepts, float64; likewise.
        loss: Losses at the end, float64.
        excess_loss: Losses minus the exact minimum, float64; NaN unless mse.
        best_loss: Lowest losses of any step, float64.
        steps: Updates made, int32.
        steps_to_tolerance: First step within tolerance, int32; -1 for none.
        reason: Places in REASONS, int8.
        exact_a: Exact slopes of a batch's series, float64; empty in a sweep.
        exact_b: Exact intercepts, likewise.
        exact_loss: Exact losses, likewise.
        points: Numbers of points, int32; likewise.
    """

    a: "array[float]"
    b: "array[float]"
    loss: "array[float]"
    excess_loss: "array[float]"
    best_loss: "array[float]"
    steps: "array[int]"
    steps_to_tolerance: "array[int]"
    reason: "array[int]"
    exact_a: "array[float]"
    exact_b: "array[float]"
    exact_loss: "array[float]"
    points: "array[int]"

    def __len__(self) -> int:
        return len(self.a)

    def to_bytes(self) -> bytes:
        """Return version, number of runs, whether exact columns follow, and the columns."""
        is_batch = len(self.points) > 0
        head = _VERSION + len(self).to_bytes(4, "little") + bytes([is_batch])
        return head + b"".join(_little(getattr(self, field.name)) for field in fields(self))


def columns_from_bytes(raw: bytes) -> RunColumns:
    """Read what RunColumns.to_bytes wrote.

    Raises:
        ValueError: It is something else.
    """
    if raw[:5] != _VERSION:
        raise ValueError("these bytes are no columns of runs")
    count, is_batch, at = int.from_bytes(raw[5:9], "little"), bool(raw[9]), 10
    columns: dict[str, array[int] | array[float]] = {}
    for name in RunColumns.__dataclass_fields__:
        column = make_column(name)
        size = column.itemsize * (count if is_batch or name not in BATCH_ONLY else 0)
        column.frombytes(raw[at : at + size])
        if sys.byteorder == "big":
            column.byteswap()
        columns[name], at = column, at + size
    return RunColumns(**columns)  # type: ignore[arg-type]  # each has the type of its name


def join(parts: Iterable[RunColumns]) -> RunColumns:
    """Put slices of one job together, in order."""
    whole = {name: make_column(name) for name in RunColumns.__dataclass_fields__}
    for part in parts:
        for name, column in whole.items():
            column.extend(getattr(part, name))
    return RunColumns(**whole)  # type: ignore[arg-type]  # each has the type of its name


BATCH_ONLY: Final = frozenset({"exact_a", "exact_b", "exact_loss", "points"})


def make_column(name: str) -> "array[int] | array[float]":
    """Return an empty column of the type that its name has."""
    return array(_TYPES.get(name, "d"))


def _little(column: "array[int] | array[float]") -> bytes:
    if sys.byteorder == "big":
        column = column[:]
        column.byteswap()
    return column.tobytes()
