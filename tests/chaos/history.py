"""Compares a job's histories with the undisturbed ones, to the bit."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import zip_longest
from typing import Any, Final

Columns = Mapping[str, Sequence[Any]]

_NONFINITE: Final = "nonfinite"


def differences(
    found: Sequence[Columns], due: Sequence[Columns], *, may_end_early: bool
) -> Iterator[str]:
    """Say where histories differ, a sentence a run.

    Args:
        found: Columns of every run.
        due: The same of the undisturbed job.
        may_end_early: For a cancelled job: the rows that there are must be the first ones.
    """
    if len(found) > len(due) or (len(found) < len(due) and not may_end_early):
        yield f"{len(found)} histories, {len(due)} were due"
    for run, (columns, reference) in enumerate(zip(found, due, strict=False)):
        for difference in _compare(columns, reference, may_end_early=may_end_early):
            yield f"run {run}: {difference}"


def _compare(found: Columns, due: Columns, *, may_end_early: bool) -> Iterator[str]:
    steps, due_steps = found.get("step", []), due["step"]
    shared = len(steps)
    if not may_end_early and len(steps) != len(due_steps):
        yield f"{len(steps)} rows, {len(due_steps)} were due"
    if may_end_early and _ends_between(steps, due_steps):
        shared -= 1
    for name in sorted({*found, *due} - {_NONFINITE}):
        column = found.get(name, [])
        if len(column) != len(steps):
            yield f"{name} has {len(column)} rows of {len(steps)}"
        yield from _unlike(name, column[:shared], due.get(name, [])[:shared])
    if _nonfinite(found, shared) != _nonfinite(due, shared):
        yield "other numbers are named as not finite"


def _ends_between(steps: Sequence[int], due: Sequence[int]) -> bool:
    """Tell whether the last row is one between two that would have been: it is kept as well."""
    last = len(steps) - 1
    return last > 0 and last < len(due) and steps[last - 1] < steps[last] < due[last]


def _unlike(name: str, found: Sequence[Any], due: Sequence[Any]) -> Iterator[str]:
    """Say where a column first leaves the undisturbed one."""
    for row, (one, other) in enumerate(zip_longest(found, due)):
        # As text, because -0.0 == 0.0, and the bits are what is compared.
        if repr(one) != repr(other):
            yield f"{name} of row {row} is {one!r}, undisturbed it is {other!r}"
            return


def _nonfinite(columns: Columns, length: int) -> list[Any]:
    return [entry for entry in columns.get(_NONFINITE, []) if entry["row"] < length]
