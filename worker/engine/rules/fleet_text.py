"""The text of lanes with stop rules: one rule bound to fleet.py, for the compiler alone."""

from collections.abc import Callable
from typing import Any, Final

from worker.engine.rules import fleet, loop
from worker.engine.rules.rule import Rule
from worker.engine.rules.text import NumberType, bare, bind, header

_PARTS: Final[tuple[Callable[..., Any], ...]] = (
    loop.errors,
    loop.losses,
    loop.steepness,
    fleet.slopes,
    fleet.bowl_at,
    fleet.judge_lane,
    fleet.look,
    fleet.goes_on,
    fleet.advance_strip,
)
# A call left in a loop over lanes would leave it one lane at a time.
_INLINE: Final = "@njit(forceinline=True, **INLINE)\n"
_ENTRY: Final = """@njit([(
    types.UniTuple(int64, 4),
    types.Tuple((UniTuple(float64, 6), UniTuple(float64, {settings}), boolean, boolean)),
    LINE,
    ROW,
    types.Tuple((ROW, int64, ROW, int64, int64)),
)], **ENTRY)
"""


def fleet_text(rule: Rule, number: NumberType, *, num_settings: int) -> str:
    """Return the text of a module that numba compiles when it is imported."""
    sizes = (
        f"LANES, MEMORY, NOTES = {fleet.LANES}, {fleet.MEMORY}, {fleet.NOTES}\n"
        f"SIZE, CHECKED = {fleet.size_of(rule)}, {fleet.CHECKED}\n"
    )
    parts = [header(number), "import math\n", sizes, *bind(rule, lambda _: _INLINE)]
    parts += [_INLINE + bare(function) for function in _PARTS]
    parts += [_ENTRY.format(settings=num_settings) + bare(fleet.advance_lanes)]
    return "\n".join(parts)
