"""The loop over steps around an update rule, written once like the rules: plain or compiled.

For full batches of the mean squared error the data enter through a few numbers, so that a step
costs the same for ten points and for ten million. `update`, `factors`, `load`, `store`, `tell` and
`set_to` stand for one rule's own; here they are Adam's, in text.py each rule's. Compiled code takes arguments by
position, and many of them in tuples:

where: whether the row of `step` has been looked at, step, next step to record.
course: stops, bowl, hyperparameters, and whether gradients add up.
state: a and b; the gradient that is never set to zero; the rule's memory of a and b in turn; seen
    and the last batch loss. Nothing of it is changed before the end of `advance`.
deals: batches, 5 or 0 when every update sees the same; learning rates, 1 or 0 likewise; factors of
    the updates to come, column by column, where the first of them lie, and the columns' length.
rows: where step, a, b, loss, excess loss and batch loss of recorded rows go.
bowl: exact a and b, what a float64 cannot hold of them, deviation of x, mean of x, exact loss,
    largest loss that the run's type can compute, excess loss below which every residual of the
    plain loop rounds to zero.
stops: last step, stride of recording, patience, loss_below, gradient_below, tolerance.
seen: best loss, its step, a, b and batch loss; first step within tolerance, -1 for none; the excess
    loss that counts as such.
batches: five numbers an update, around the exact line: mean and variance of x, mean of the
    residuals, covariance of both, variance of the residuals.
"""

import math
from collections.abc import MutableSequence, Sequence

from worker.engine.rules.memory import load_2 as tell
from worker.engine.rules.memory import load_3 as load
from worker.engine.rules.memory import store_2 as set_to
from worker.engine.rules.memory import store_3 as store
from worker.engine.rules.numbers import State, real, wide
from worker.engine.rules.updates import adam as update
from worker.engine.rules.updates import adam_factors as factors

Numbers = MutableSequence[float]
Rows = tuple[MutableSequence[int], Numbers, Numbers, Numbers, Numbers, Numbers]


def advance(
    count: int,
    where: tuple[bool, int, int],
    course: tuple[State, State, State, bool],
    state: tuple[Numbers, Numbers, Numbers, Numbers],
    deals: tuple[Sequence[float], int, Sequence[float], int, Numbers, int, int],
    rows: Rows,
) -> tuple[int, int, int, int]:
    """Make up to `count` looks, each but a first one after an update.

    Returns:
        Updates made, next step to record, rows recorded, and the reason as `judge` gives it.
    """
    (has_begun, step, due), (stops, bowl, settings, keeps) = where, course
    line, kept, memory, noted = state
    batches, batch_width, rates, rate_width, clock, at, ticks = deals
    (a, b), (kept_a, kept_b) = (line[0], line[1]), (kept[0], kept[1])
    memory_a, memory_b = load(memory, 0, 2), load(memory, 1, 2)
    seen, batch_loss = seven(noted), noted[7]
    (error_a, error_b), t, filled, made, reason = errors(a, b, bowl), float(step), 0, 0, 0
    _, excess = losses(error_a, error_b, bowl)
    for _ in range(count):
        if has_begun:
            place = (excess < bowl[8], batch_width, made * batch_width)
            to_a, to_b, batch_loss = incline(error_a, error_b, place, batches, batch_loss)
            if keeps:
                to_a, to_b = kept_a + to_a, kept_b + to_b
                kept_a, kept_b = to_a, to_b
            rate = rates[made] if rate_width > 0 else rates[0]
            now = tell(clock, at + made, ticks)
            made, step, t = made + 1, step + 1, t + 1.0
            a, memory_a = update(a, to_a, t, rate, now, memory_a, settings)
            b, memory_b = update(b, to_b, t, rate, now, memory_b, settings)
            error_a, error_b = errors(a, b, bowl)
        has_begun = True
        loss, excess = losses(error_a, error_b, bowl)
        slope = steepness(error_a, error_b, bowl) if stops[4] > 0.0 else 0.0
        row = (wide(a), wide(b), loss, excess, batch_loss)
        seen, reason = judge(seen, t, row, slope, stops)
        if step == due or reason > 0:
            put(rows, filled, step, row)
            filled, due = filled + 1, due + int(stops[1]) if step == due else due
        if reason > 0:
            break
    line[0], line[1], kept[0], kept[1] = a, b, kept_a, kept_b
    store(memory, 0, 2, memory_a)
    store(memory, 1, 2, memory_b)
    note(noted, seen, batch_loss)
    return step, due, filled, reason


def wind(clock: Numbers, first: int, count: int, ticks: int, settings: State) -> None:
    """Write the factors of `count` updates after the `first`, where `tell` finds them."""
    for made in range(count):
        set_to(clock, first + made, ticks, factors(float(first + made + 1), settings))


def seven(noted: Numbers) -> State:
    """Return the first seven numbers."""
    return noted[0], noted[1], noted[2], noted[3], noted[4], noted[5], noted[6]


def note(noted: Numbers, seen: State, batch_loss: float) -> None:
    """Put them back, and the last batch loss behind them."""
    for place in range(7):
        noted[place] = seen[place]
    noted[7] = batch_loss


def errors(a: float, b: float, bowl: State) -> tuple[float, float]:
    """Return how far a line is from the exact one, without cancellation near it."""
    return (wide(a) - bowl[0]) - bowl[2], (wide(b) - bowl[1]) - bowl[3]


def five(batches: Sequence[float], at: int) -> State:
    """Return the numbers of a batch."""
    return batches[at], batches[at + 1], batches[at + 2], batches[at + 3], batches[at + 4]


def pull(
    error_a: float, error_b: float, is_still: bool, mean: float, variance: float
) -> tuple[float, float]:
    """Return the gradient on all points in the run's type: `gradient` where the line is exact."""
    if is_still:
        return real(0.0), real(0.0)
    shift = error_a * mean + error_b
    return real(2.0 * (variance * error_a + mean * shift)), real(2.0 * shift)


def gradient(
    error_a: float, error_b: float, is_still: bool, batch: State
) -> tuple[float, float, float]:
    """Return the gradient on a batch in the run's type, and the batch's loss."""
    if is_still:
        return real(0.0), real(0.0), 0.0
    mean, variance, offset, covariance, scatter = batch
    shift = error_a * mean + error_b + offset
    tilt = variance * error_a + covariance
    spread = scatter + error_a * (tilt + covariance)
    return real(2.0 * (tilt + mean * shift)), real(2.0 * shift), wide(real(spread + shift * shift))


def incline(
    error_a: float,
    error_b: float,
    place: tuple[bool, int, int],
    batches: Sequence[float],
    batch_loss: float,
) -> tuple[float, float, float]:
    """Return the gradient on a batch or on all points, and the loss of the last batch."""
    is_still, batch_width, at = place
    if batch_width > 0:
        return gradient(error_a, error_b, is_still, five(batches, at))
    to_a, to_b = pull(error_a, error_b, is_still, batches[0], batches[1])
    return to_a, to_b, batch_loss


def losses(error_a: float, error_b: float, bowl: State) -> tuple[float, float]:
    """Return the loss in the run's type, and the excess loss, a sum of squares."""
    tilt = bowl[4] * error_a
    shift = error_a * bowl[5] + error_b
    excess = tilt * tilt + shift * shift
    loss = wide(real(bowl[6] + excess))
    # The plain loop adds up all squares before it divides, so it overflows before the mean does.
    if loss > bowl[7]:
        loss = math.inf
    if excess < bowl[8]:
        loss = 0.0
    return loss, excess


def steepness(error_a: float, error_b: float, bowl: State) -> float:
    """Return the norm of the gradient on all points, its parts rounded to the run's type."""
    shift = error_a * bowl[5] + error_b
    of_a = wide(real(2.0 * (bowl[4] * (bowl[4] * error_a) + bowl[5] * shift)))
    of_b = wide(real(2.0 * shift))
    return math.sqrt(of_a * of_a + of_b * of_b)


def judge(seen: State, now: float, row: State, slope: float, stops: State) -> tuple[State, int]:
    """Take note of a row and say whether the run ends with it.

    The reasons: 0 goes on, 1 loss_below, 2 gradient_below, 3 patience, 4 last step, 5 diverged.
    """
    a, b, loss, excess, batch_loss = row
    if not (loss < math.inf and abs(a) < math.inf and abs(b) < math.inf):
        return seen, 5
    best_loss, best_step, best_a, best_b, best_batch, reached, goal = seen
    if loss < best_loss:
        best_loss, best_step, best_a, best_b, best_batch = loss, now, a, b, batch_loss
    if goal < 0.0:
        goal = stops[5] * excess
    if reached < 0.0 and excess <= goal:
        reached = now
    reason = 0
    if loss < stops[3]:
        reason = 1
    elif slope < stops[4]:
        reason = 2
    elif now - best_step >= stops[2]:
        reason = 3
    elif now >= stops[0]:
        reason = 4
    return (best_loss, best_step, best_a, best_b, best_batch, reached, goal), reason


def put(rows: Rows, at: int, step: int, row: State) -> None:
    """Record a row."""
    rows[0][at] = step
    rows[1][at], rows[2][at], rows[3][at] = row[0], row[1], row[2]
    rows[4][at], rows[5][at] = row[3], row[4]


def sweep(
    span: tuple[int, int, int],
    lines: tuple[Numbers, Numbers, Numbers],
    rates: Sequence[float],
    bowl: State,
    settings: State,
    losses_to: tuple[Numbers, bool, int, int],
) -> None:
    """Make steps of many runs at once, a lane each: same data and settings, own rate and start.

    Compiled only: a slice is taken for a view.

    Args:
        span: Updates made before, updates to make, lanes of this call.
        lines: Slopes, intercepts, and the rule's memory of all slopes, then of all intercepts, for
            one number after the other.
        rates: A learning rate a lane.
        bowl: As above.
        settings: Hyperparameters.
        losses_to: Where the loss after each update goes, whether it does, lanes of all calls, and
            lanes before this call's.
    """
    (first, count, width), (a, b, memory) = span, lines
    to, keeps, lanes, offset = losses_to
    for made in range(count):
        t = float(first + made + 1)
        now = factors(t, settings)
        start = made * lanes + offset
        # A view of its own: of the whole the compiler cannot see that it is not a line or a memory.
        row = to[start : start + width]
        for lane in range(width):
            line_a, line_b, rate = a[lane], b[lane], rates[lane]
            error_a, error_b = errors(line_a, line_b, bowl)
            tilt = bowl[4] * error_a
            shift = error_a * bowl[5] + error_b
            if tilt * tilt + shift * shift < bowl[8]:
                tilt, shift = 0.0, 0.0
            to_a, to_b = real(2.0 * (bowl[4] * tilt + bowl[5] * shift)), real(2.0 * shift)
            memory_a = load(memory, lane, 2 * width)
            memory_b = load(memory, width + lane, 2 * width)
            line_a, memory_a = update(line_a, to_a, t, rate, now, memory_a, settings)
            line_b, memory_b = update(line_b, to_b, t, rate, now, memory_b, settings)
            a[lane], b[lane] = line_a, line_b
            store(memory, lane, 2 * width, memory_a)
            store(memory, width + lane, 2 * width, memory_b)
            if keeps:
                error_a, error_b = errors(line_a, line_b, bowl)
                row[lane], _ = losses(error_a, error_b, bowl)
