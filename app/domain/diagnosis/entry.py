"""One reason with its numbers, and how numbers are written in it."""

import math
from typing import Any, Final

from pydantic import Field, field_validator

from app.domain.frozen import Frozen

Evidence = dict[str, float | int | str]

_LARGEST_COUNT: Final = 2**53


class Diagnosis(Frozen):
    """One reason, the numbers behind it, and what to try.

    Attributes:
        code: Stable word.
        message: One or two sentences.
        evidence: The numbers that the sentence rests on; those that JSON cannot write are left out.
        suggestion: Fields to send to /rerun; shown as "try".
        label: The run that it speaks of; None when it is true of every run.
    """

    code: str
    message: str
    evidence: Evidence
    suggestion: dict[str, Any] | None = Field(default=None, serialization_alias="try")
    label: str | None = None

    @field_validator("evidence", mode="before")
    @classmethod
    def _leave_out_infinite(cls, evidence: Evidence) -> Evidence:
        return {
            name: value
            for name, value in evidence.items()
            if isinstance(value, str) or math.isfinite(value)
        }


def whole(steps: float) -> int | float:
    """Return steps rounded up; beyond 2^53, where JSON has no integers, to three digits."""
    return math.ceil(steps) if steps < _LARGEST_COUNT else float(f"{min(steps, 1e300):.3g}")


def brief(value: float) -> float:
    """Return two significant digits: a suggestion to type, not a measurement."""
    return float(f"{value:.2g}")


def told(steps: float) -> str:
    """Return a number of steps as a sentence has it, e.g. "35,000" or "1.2e+20"."""
    count = whole(steps)
    return f"{count:,}" if isinstance(count, int) else f"{count:.3g}"
