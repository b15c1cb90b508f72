"""Two ways to run the loop's text between two blocks: compiled, or as plain Python."""

from array import array
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any, Final, Protocol

import numpy as np

from worker.engine.rules.clock import Clock
from worker.engine.rules.kernels import Kernel
from worker.engine.rules.rule import Rule
from worker.engine.rules.text import NumberType, plain_text, scalar_text
from worker.engine.straight.line import straighten

Loop = Callable[..., tuple[int, int, int, int]]
"""loop.advance, compiled or not."""
COLUMNS: Final = 5
"""a, b, loss, excess loss, batch loss."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """Where a run stands between two blocks; loop.advance has the meanings.

    Attributes:
        has_begun: Whether the row of `step` has been looked at.
        step: Updates made.
        due: The next step whose row is recorded.
        line: a and b.
        kept: The gradient that is never set to zero.
        memory: What the rule remembers.
        noted: What the watch has seen.
    """

    has_begun: bool
    step: int
    due: int
    line: tuple[float, ...]
    kept: tuple[float, ...]
    memory: tuple[float, ...]
    noted: tuple[float, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Course:
    """What does not change from block to block; loop.advance has the meanings.

    Attributes:
        stops: Stop rules and the stride of recording.
        bowl: The exact answer and its surroundings.
        settings: Hyperparameters.
        keeps: Whether gradients add up.
    """

    stops: tuple[float, ...]
    bowl: tuple[float, ...]
    settings: tuple[float, ...]
    keeps: bool

    def most_rows(self, count: int) -> int:
        """Return how many rows so many looks can record."""
        return int(count // self.stops[1]) + 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Stretch:
    """What some steps came to.

    Attributes:
        standing: Where they led.
        reason: Why the run is over, 0 while it goes on.
        steps: Of the recorded rows.
        columns: a, b, loss, excess loss and batch loss of the recorded rows.
    """

    standing: Standing
    reason: int
    steps: "array[int]"
    columns: tuple["array[float]", ...]


class Executor(Protocol):
    """Runs the loop's text."""

    def advance(
        self,
        count: int,
        standing: Standing,
        course: Course,
        *,
        batches: Sequence[float],
        batch_width: int,
        rates: Sequence[float],
        rate_width: int,
    ) -> Stretch:
        """Make up to `count` looks, each but a first one after an update."""
        ...


_COMPILED_CLOCK: Final = Clock(np.empty)
_PLAIN_CLOCK: Final = Clock(lambda count: [0.0] * count)


class Compiled:
    """Machine code.

    Args:
        rule: What to run.
        kernel: The rule, compiled for the number type.
        number: The run's type.
    """

    def __init__(self, rule: Rule, kernel: Kernel, number: NumberType) -> None:
        self._rule = rule
        self._kernel = kernel
        self._dtype = np.dtype(number)

    def advance(
        self,
        count: int,
        standing: Standing,
        course: Course,
        *,
        batches: Sequence[float],
        batch_width: int,
        rates: Sequence[float],
        rate_width: int,
    ) -> Stretch:
        """Make up to `count` looks, without the interpreter's lock."""
        most = course.most_rows(count)
        steps = np.empty(most, np.int64)
        columns = tuple(np.empty(most) for _ in range(COLUMNS))
        line, kept, memory = (
            np.array(part, self._dtype) for part in (standing.line, standing.kept, standing.memory)
        )
        noted = np.array(standing.noted)
        step, due, rows, reason = self._kernel.advance(
            count,
            (standing.has_begun, standing.step, standing.due),
            (course.stops, course.bowl, course.settings, course.keeps),
            (line, kept, memory, noted),
            (
                np.ascontiguousarray(batches, np.float64).reshape(-1),
                batch_width,
                np.asarray(rates, np.float64),
                rate_width,
                *self._clock(count, standing, course),
            ),
            (steps, *columns),
        )
        return Stretch(
            standing=Standing(
                has_begun=True,
                step=step,
                due=due,
                line=tuple(line.tolist()),
                kept=tuple(kept.tolist()),
                memory=tuple(memory.tolist()),
                noted=tuple(noted.tolist()),
            ),
            reason=reason,
            steps=array("q", steps[:rows].tobytes()),
            columns=tuple(array("d", column[:rows].tobytes()) for column in columns),
        )

    def _clock(self, count: int, standing: Standing, course: Course) -> tuple[Any, int, int]:
        return _COMPILED_CLOCK.deal(
            (self._rule.name, course.settings),
            standing.step,
            updates_of(count, standing),
            wind=self._kernel.wind,
            num_factors=self._rule.num_factors,
        )


STRAIGHT_FROM: Final = 20_000
"""Looks by a text until it is straightened, which takes about as long as so many steps: done earlier,
it would be what a short job waits for."""


class Interpreted:
    """Plain Python: slower by a factor of 25, and there from the first moment.

    Args:
        rule: What to run.
        number: The run's type.
        straight_from: Looks by this rule, of all runs of the process, until its text is straightened.
    """

    def __init__(
        self, rule: Rule, number: NumberType, *, straight_from: int = STRAIGHT_FROM
    ) -> None:
        self._rule = rule
        self._number: NumberType = number
        self._straight_from = straight_from
        self._scalar: type[Any] = np.float32 if number == "float32" else np.float64
        # Only float64 has numbers of Python's own; whatever the type, factors are float64.
        self._is_float64 = number == "float64"

    def advance(
        self,
        count: int,
        standing: Standing,
        course: Course,
        *,
        batches: Sequence[float],
        batch_width: int,
        rates: Sequence[float],
        rate_width: int,
    ) -> Stretch:
        """Make up to `count` looks."""
        clock = _PLAIN_CLOCK.deal(
            (self._rule.name, course.settings),
            standing.step,
            updates_of(count, standing),
            wind=_define(plain_text(self._rule))["wind"],
            num_factors=self._rule.num_factors,
        )
        # No update, no batch and no rate; but the first of them are looked up before the loop.
        flat = np.asarray(batches, np.float64).reshape(-1).tolist() or [0.0] * 5
        rates = rates or [0.0]
        deals = (flat, batch_width, rates, rate_width, *clock)
        if self._is_float64:
            try:
                advance = self._loop(plain_text(self._rule), count)
                return _interpret(advance, float, count, standing, course, deals)
            except (ArithmeticError, ValueError):
                # Python raises where a float64 becomes inf or NaN; nothing has been changed.
                pass
        with np.errstate(all="ignore"):
            advance = self._loop(scalar_text(self._rule, self._number), count)
            return _interpret(advance, self._scalar, count, standing, course, deals)

    def _loop(self, text: str, count: int) -> Loop:
        """Return the loop for so many looks more."""
        _looks[text] += count
        if _looks[text] <= self._straight_from:
            plain: Loop = _define(text)["advance"]
            return plain
        loop = _straight.get(text)
        if loop is None:
            loop = _straight[text] = _define(straighten(text, "advance"))["advance"]
        return loop


_looks = Counter[str]()
_straight = dict[str, Loop]()
"""Straightened loops, by the text that they were made of: three a rule at most."""


def updates_of(count: int, standing: Standing) -> int:
    """Return how many updates so many looks need: the first look at a start needs none."""
    return count if standing.has_begun else count - 1


def _interpret(
    advance: Loop,
    scalar: Callable[[float], Any],
    count: int,
    standing: Standing,
    course: Course,
    deals: tuple[Any, ...],
) -> Stretch:
    most = course.most_rows(count)
    # A list would keep an object for each number, three megabytes of them in a block.
    steps = array("q", bytes(8 * most))
    columns = tuple(array("d", bytes(8 * most)) for _ in range(COLUMNS))
    line, kept, memory = (
        [scalar(value) for value in part]
        for part in (standing.line, standing.kept, standing.memory)
    )
    noted = list(standing.noted)
    step, due, rows, reason = advance(
        count,
        (standing.has_begun, standing.step, standing.due),
        (course.stops, course.bowl, course.settings, course.keeps),
        (line, kept, memory, noted),
        deals,
        (steps, *columns),
    )
    return Stretch(
        standing=replace(
            standing,
            has_begun=True,
            step=step,
            due=due,
            line=tuple(map(float, line)),
            kept=tuple(map(float, kept)),
            memory=tuple(map(float, memory)),
            noted=tuple(map(float, noted)),
        ),
        reason=reason,
        steps=steps[:rows],
        columns=tuple(column[:rows] for column in columns),
    )


@cache
def _define(text: str) -> dict[str, Any]:
    """Return the functions that a text defines, by name."""
    words: dict[str, Any] = {}
    exec(compile(text, "<rule>", "exec"), words)  # noqa: S102  # our own text, see text.py
    return words
