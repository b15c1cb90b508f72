"""The loop of many runs at once, a lane each, with stop rules: compiled only, LANES lanes a strip.

Every lane has a start, a learning rate, a bowl and an end of its own, and the bits that
loop.advance gives the same run alone. A strip's numbers lie together, so that they stay in the
processor's first cache for as many steps as it takes: of every quantity LANES numbers, one quantity
after the other. That both lengths are constants of the text lets the compiler see that nothing
overlaps, and make several lanes at a time. A lane that has ended is computed on and kept by
choices, because a branch would end that.

`update`, `load`, `tell` and so on stand for one rule's own, as in loop.py.

numbers, of the run's type: a, b, the gradient that is never set to zero in both, then the rule's
    memory of a and of b.
notes, float64: how the lane ended, best loss, its step, first step within tolerance (-1 for none),
    the excess loss that counts as such, nine numbers of the bowl as in loop.py, variance of x. How
    it ended is eight times the step plus the reason as loop.judge has it; 0 while it goes on.
"""

import math
from collections.abc import Sequence
from typing import Any, Final

from worker.engine.rules.loop import errors, losses, steepness
from worker.engine.rules.memory import load_2 as tell
from worker.engine.rules.memory import load_3 as load
from worker.engine.rules.memory import store_3 as store
from worker.engine.rules.numbers import State, real
from worker.engine.rules.rule import Rule
from worker.engine.rules.updates import adam as update

LANES: Final = 128
"""Of a strip: with Adam's memory 24 KB in float64."""
MEMORY: Final = 4
"""Quantities of `numbers` before the rule's memory."""
NOTES: Final = 15
"""Quantities of `notes`."""
SIZE: Final = MEMORY + 2 * 3
"""Quantities of `numbers`, here with Adam's memory."""
CHECKED: Final = 16
"""Steps between two looks at whether all lanes have ended."""


def size_of(rule: Rule) -> int:
    """Return how many quantities of `numbers` a rule needs."""
    return MEMORY + 2 * rule.remembers


Numbers = Any
"""An array of the run's type, or of float64."""


def advance_lanes(
    span: tuple[int, int, int, int],
    course: tuple[State, State, bool, bool],
    numbers: Numbers,
    notes: Numbers,
    deals: tuple[Sequence[float], int, Numbers, int, int],
) -> None:
    """Make up to `count` updates of every lane of some strips, and look at it after each.

    Before the first of them the start is looked at.

    Args:
        span: Updates made before, updates to make, first strip, strip after the last.
        course: Stops as in loop.py; hyperparameters; whether gradients add up; whether they do,
            or patience or a small gradient may end a lane: without, a step is a quarter cheaper.
        numbers: As above, strip after strip.
        notes: Likewise.
        deals: Learning rates of all lanes; how many numbers after them those of the next update
            lie, 0 when they are the same; factors as in loop.py.
    """
    (first, count, start, stop), (rates, stride, clock, at, ticks) = span, deals
    stops, settings, keeps, is_full = course
    for strip in range(start, stop):
        # Views, because places that a compiler knows to be positive need no check.
        own_numbers = numbers[strip * SIZE * LANES : (strip + 1) * SIZE * LANES]
        own_notes = notes[strip * NOTES * LANES : (strip + 1) * NOTES * LANES]
        if first == 0:
            look(own_numbers, own_notes, stops)
        for made in range(count):
            if made % CHECKED == 0 and not goes_on(own_notes):
                break
            rates_at = made * stride + strip * LANES
            own_rates, now = rates[rates_at : rates_at + LANES], tell(clock, at + made, ticks)
            strip_of = (own_numbers, own_notes, own_rates)
            # Twice, because the compiler then knows in each what to leave out.
            if is_full:
                advance_strip(float(first + made + 1), stops, settings, now, strip_of, keeps, True)
            else:
                advance_strip(float(first + made + 1), stops, settings, now, strip_of, False, False)


def look(numbers: Numbers, notes: Numbers, stops: State) -> None:
    """Look at every lane's start."""
    for lane in range(LANES):
        judge_lane(0.0, 0.0, (numbers[lane], numbers[lane + LANES]), notes, lane, stops, True)


def goes_on(notes: Numbers) -> bool:
    """Tell whether any lane of a strip has not ended."""
    left = 0
    for lane in range(LANES):
        left += 1 if notes[lane] == 0.0 else 0
    return left > 0


def advance_strip(
    t: float,
    stops: State,
    settings: State,
    now: State,
    strip: tuple[Numbers, Numbers, Sequence[float]],
    keeps: bool,
    is_full: bool,
) -> None:
    """Make one update of every lane of a strip, and look at it."""
    numbers, notes, rates = strip
    last = 4.0 if t >= stops[0] else 0.0
    for lane in range(LANES):
        of_a, of_b = lane + MEMORY * LANES, lane + (MEMORY + SIZE) // 2 * LANES
        old_a, old_b = numbers[lane], numbers[lane + LANES]
        to_a, to_b = slopes(old_a, old_b, bowl_at(notes, lane), notes[lane + 14 * LANES])
        if is_full:
            to_a = numbers[lane + 2 * LANES] + to_a if keeps else to_a
            to_b = numbers[lane + 3 * LANES] + to_b if keeps else to_b
            numbers[lane + 2 * LANES], numbers[lane + 3 * LANES] = to_a, to_b
        memory_a, memory_b = load(numbers, of_a, LANES), load(numbers, of_b, LANES)
        a, memory_a = update(old_a, to_a, t, rates[lane], now, memory_a, settings)
        b, memory_b = update(old_b, to_b, t, rates[lane], now, memory_b, settings)
        store(numbers, of_a, LANES, memory_a)
        store(numbers, of_b, LANES, memory_b)
        is_going = notes[lane] == 0.0
        # As judge_lane says of adding zero: whatever is not finite has diverged.
        a = a if is_going else (old_a if old_a < math.inf else real(math.inf))
        b = b if is_going else (old_b if old_b < math.inf else real(math.inf))
        numbers[lane], numbers[lane + LANES] = a, b
        judge_lane(t, last, (a, b), notes, lane, stops, is_full)


def slopes(a: float, b: float, bowl: State, variance: float) -> tuple[float, float]:
    """Return the gradient as loop.gradient does for all points."""
    error_a, error_b = errors(a, b, bowl)
    tilt, shift = bowl[4] * error_a, error_a * bowl[5] + error_b
    is_still = tilt * tilt + shift * shift < bowl[8]
    # The sums with zero are that function's too: they turn -0.0 into 0.0.
    tilt, shift = variance * error_a + 0.0, shift + 0.0
    to_a, to_b = real(2.0 * (tilt + bowl[5] * shift)), real(2.0 * shift)
    return real(0.0) if is_still else to_a, real(0.0) if is_still else to_b


def judge_lane(
    t: float,
    last: float,
    line: tuple[float, float],
    notes: Numbers,
    lane: int,
    stops: State,
    is_full: bool,
) -> None:
    """Take note of a lane's row as loop.judge does.

    A lane that has ended stands where its last row was, which can be neither better than the best
    nor the first within tolerance: so only its end is kept by a choice. While the loss is finite,
    so is the line.

    Adding zero changes nothing here, and keeps the compiler from writing only the lanes that
    change, which takes processors of AMD longer than all the rest.
    """
    bowl, ended = bowl_at(notes, lane), notes[lane]
    error_a, error_b = errors(line[0], line[1], bowl)
    loss, excess = losses(error_a, error_b, bowl)
    best, reached = notes[lane + LANES], notes[lane + 3 * LANES]
    is_better = loss < best
    notes[lane + LANES] = (loss if is_better else best) + 0.0
    is_first = (reached < 0.0) & (excess <= notes[lane + 4 * LANES])
    notes[lane + 3 * LANES] = (t if is_first else reached) + 0.0
    reason = last
    if is_full:
        best_step = t if is_better else notes[lane + 2 * LANES]
        notes[lane + 2 * LANES] = best_step + 0.0
        reason = 3.0 if t - best_step >= stops[2] else reason
        slope = steepness(error_a, error_b, bowl)
        reason = 2.0 if slope < stops[4] else reason
    reason = 1.0 if loss < stops[3] else reason
    reason = reason if loss < math.inf else 5.0
    now = 8.0 * t + reason if reason > 0.0 else 0.0
    notes[lane] = (ended if ended > 0.0 else now) + 0.0


def bowl_at(notes: Numbers, desk: int) -> State:
    """Return a lane's bowl."""
    return (
        notes[desk + 5 * LANES],
        notes[desk + 6 * LANES],
        notes[desk + 7 * LANES],
        notes[desk + 8 * LANES],
        notes[desk + 9 * LANES],
        notes[desk + 10 * LANES],
        notes[desk + 11 * LANES],
        notes[desk + 12 * LANES],
        notes[desk + 13 * LANES],
    )
