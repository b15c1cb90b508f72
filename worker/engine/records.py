"""The records of many runs as one NumPy array: the layout of app/domain/run_records.py, in columns."""

import math
from collections.abc import Mapping
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from app.domain.result import RunResult, StopReason
from app.domain.run_records import REASONS, RunRecord, layout

Records = npt.NDArray[np.void]
"""One record a run, fields by the names of RunRecord."""

_TYPES: Final[Mapping[str, str]] = {"i": "<i4", "d": "<f8"}
_REASON_OF: Final = np.array(
    [
        REASONS.index(reason)
        for reason in (
            StopReason.MAX_STEPS,
            StopReason.LOSS_BELOW,
            StopReason.GRADIENT_BELOW,
            StopReason.PATIENCE,
            StopReason.MAX_STEPS,
            StopReason.DIVERGED,
        )
    ],
    np.int32,
)
"""By the numbers of loop.judge; 0 is not met."""
DIVERGED: Final = REASONS.index(StopReason.DIVERGED)
ARRIVED: Final = tuple(
    REASONS.index(reason) for reason in (StopReason.LOSS_BELOW, StopReason.GRADIENT_BELOW)
)


def make_records(count: int, *, is_batch: bool) -> Records:
    """Return so many records of zeros."""
    letters = _letters(layout(is_batch=is_batch).format)
    names = RunRecord._fields[: len(letters)]
    return np.zeros(
        count, [(name, _TYPES[letter]) for name, letter in zip(names, letters, strict=True)]
    )


def read_records(raw: bytes, *, is_batch: bool) -> Records:
    """Return the records that these bytes are, without a copy."""
    return np.frombuffer(raw, make_records(0, is_batch=is_batch).dtype)


def fill_ends(records: Records, *, ended: npt.NDArray[np.float64], **columns: Any) -> None:  # noqa: ANN401  # vectors by name
    """Write how runs ended.

    Args:
        records: To be filled.
        ended: Eight times the step plus the reason as loop.judge has it.
        columns: By the names of RunRecord; what is not finite becomes NaN, as do the lines of runs
            that diverged.
    """
    steps, reasons = np.divmod(ended.astype(np.int64), 8)
    records["steps"], records["reason"] = steps, _REASON_OF[reasons]
    for name, column in columns.items():
        records[name] = np.where(np.isfinite(column), column, math.nan)
    has_diverged = records["reason"] == DIVERGED
    records["a"][has_diverged] = records["b"][has_diverged] = math.nan


def fill_one(records: Records, place: int, result: RunResult) -> None:
    """Write how a run ended that was made by itself."""
    reached = result.steps_to_tolerance
    best = result.best.loss if result.best is not None else None
    row: dict[str, float | None] = {
        "steps": result.steps,
        "steps_to_tolerance": -1 if reached is None else reached,
        "reason": REASONS.index(result.stop_reason),
        "a": result.a,
        "b": result.b,
        "loss": result.loss,
        "excess_loss": result.excess_loss,
        "best_loss": best,
    }
    for name, value in row.items():
        records[name][place] = math.nan if value is None else value


def _letters(form: str) -> str:
    """Return one letter a field: "<ii2d" is iidd."""
    found, count = "", ""
    for letter in form.lstrip("<"):
        if letter.isdigit():
            count += letter
        else:
            found += letter * int(count or "1")
            count = ""
    return found
