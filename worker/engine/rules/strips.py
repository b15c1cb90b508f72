"""Many runs of one rule at once, each until it stops: packs them into strips, and closes the gaps.

The arithmetic is fleet.py's. Runs that have ended are taken out when a quarter of the lanes stands
still, so that a run costs about its own steps and not those of the longest.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from app.domain.spec import FitSpec
from worker.engine.bowls import Bowls, Floats, Ints
from worker.engine.rules.clock import Clock
from worker.engine.rules.fleet import LANES, MEMORY, NOTES, size_of
from worker.engine.rules.kernels import Fleet, Kernels
from worker.engine.rules.rule import RULES, Hyperparameters, Rule
from worker.engine.rules.run import stops_of
from worker.engine.rules.text import NumberType

_CLOCK: Final = Clock(np.empty)
_CROWDED: Final = 0.75
"""Share of lanes that go on, below which the others are taken out: that costs about ten steps."""
_A, _B, _ENDED, _BEST, _REACHED, _GOAL, _BOWL, _VARIANCE = 0, 1, 0, 1, 3, 4, 5, 14
"""Places of fleet.py's quantities."""
_NEVER: Final = -1.0
_DIVERGED_AT_ONCE: Final = 5.0

Deal = Callable[[int], Floats]
"""Learning rates of the next so many updates, shape (1 or updates, runs)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What the runs of a fleet have in common.

    Attributes:
        rule: What moves them.
        fleet: The loop, compiled.
        wind: As loop.wind, compiled.
        number: The runs' type.
        hyperparameters: All but the learning rate.
        settings: The same in the rule's order.
        stops: In loop.advance's order.
        keeps: Whether gradients add up.
    """

    rule: Rule
    fleet: Fleet
    wind: Callable[..., None]
    number: NumberType
    hyperparameters: Hyperparameters
    settings: tuple[float, ...]
    stops: tuple[float, ...]
    keeps: bool

    @property
    def is_full(self) -> bool:
        """Tell whether a lane needs more than fleet.py's shorter loop."""
        return self.keeps or self.stops[2] < math.inf or self.stops[4] > 0.0


def plan_of(fit: FitSpec, kernels: Kernels | None) -> Plan | None:
    """Return how runs like one of them are made together; None while nothing is compiled for it.

    Args:
        fit: Any of the runs: they differ in data, start and learning rate alone.
        kernels: Compiled rules; None when there are none.
    """
    rule = RULES.get(fit.optimizer.name)
    if rule is None or kernels is None:
        return None
    fleet, kernel = kernels.load_fleet(rule, fit.dtype), kernels.load(rule, fit.dtype)
    if fleet is None or kernel is None:
        return None
    given = fit.optimizer.hyperparameters
    return Plan(
        rule=rule,
        fleet=fleet,
        wind=kernel.wind,
        number=fit.dtype,
        hyperparameters=given,
        settings=rule.settings(given),
        stops=stops_of(fit),
        keeps=not fit.zero_grad,
    )


class Strips:
    """Runs side by side, from their starts to their ends.

    Args:
        plan: What they have in common.
        starts_a: Slopes to begin with, shape (runs,).
        starts_b: Intercepts to begin with, shape (runs,).
        rates: First learning rates, shape (runs,).
        deal: Deals learning rates of further updates; None when they never change.
        bowls: One a run, or one for all.

    Attributes:
        a: Slopes, of every run that has ended, shape (runs,), float64.
        b: Intercepts likewise.
        ended: Eight times the step plus the reason; 0 while a run goes on.
        best: Lowest loss of any step.
        reached: First step within tolerance, -1 for none.
    """

    def __init__(
        self,
        plan: Plan,
        *,
        starts_a: Floats,
        starts_b: Floats,
        rates: Floats,
        deal: Deal | None,
        bowls: Bowls,
    ) -> None:
        count = len(rates)
        self._plan = plan
        self._deal = deal
        self._made = 0
        self._runs: Ints = np.arange(count)
        self.a, self.b = (part.astype(plan.number).astype(float) for part in (starts_a, starts_b))
        self.ended, self.best = np.zeros(count), np.full(count, math.inf)
        self.reached = np.full(count, _NEVER)
        wide = -(-count // LANES)
        numbers = np.zeros((size_of(plan.rule), wide * LANES), plan.number)
        notes = np.zeros((NOTES, wide * LANES))
        # Lanes without a run have ended.
        notes[_ENDED, count:] = math.inf
        numbers[_A, :count], numbers[_B, :count] = self.a, self.b
        half = plan.rule.remembers
        for place, value in enumerate(plan.rule.start(plan.hyperparameters, rates)):
            numbers[MEMORY + place, :count] = numbers[MEMORY + half + place, :count] = value
        notes[_BEST], notes[_REACHED] = math.inf, _NEVER
        notes[_GOAL, :count] = plan.stops[5] * bowls.excess(self.a, self.b)
        for place, column in enumerate(bowls.columns):
            notes[_BOWL + place, :count] = column
        notes[_VARIANCE, :count] = bowls.deviation**2
        self._numbers, self._notes = _to_strips(numbers), _to_strips(notes)
        self._rates = np.zeros(wide * LANES)
        self._rates[:count] = rates

    @property
    def is_over(self) -> bool:
        """Tell whether every run has ended."""
        return len(self._runs) == 0

    @property
    def going(self) -> int:
        """How many runs may go on."""
        return len(self._runs)

    @property
    def made(self) -> int:
        """How many updates the longest of them have made."""
        return self._made

    def here(self) -> tuple[Floats, Floats]:
        """Return where all runs stand, shape (runs,) each."""
        a, b = self.a.copy(), self.b.copy()
        for place, line in ((_A, a), (_B, b)):
            line[self._runs] = self._numbers[:, place].reshape(-1)[: len(self._runs)]
        return a, b

    def advance(self, count: int) -> None:
        """Make up to `count` more updates of every run that goes on."""
        plan = self._plan
        count = min(count, int(plan.stops[0]) - self._made)
        rates, stride = self._rates, 0
        if self._deal is not None:
            table = np.zeros((count, self._rates.size))
            table[:, : len(self._runs)] = self._deal(count)[:, self._runs]
            rates, stride = table.reshape(-1), self._rates.size
        clock = _CLOCK.deal(
            (plan.rule.name, plan.settings),
            self._made,
            count,
            wind=plan.wind,
            num_factors=plan.rule.num_factors,
        )
        plan.fleet(
            (self._made, count, 0, len(self._numbers)),
            (plan.stops, plan.settings, plan.keeps, plan.is_full),
            self._numbers.reshape(-1),
            self._notes.reshape(-1),
            (rates, stride, *clock),
        )
        self._made += count
        self._close_gaps()

    def _close_gaps(self) -> None:
        """Take out the runs that have ended, when there are many or nothing else is left."""
        count = len(self._runs)
        goes_on = self._notes[:, _ENDED].reshape(-1)[:count] == 0.0
        left = int(goes_on.sum())
        if left == count or (left > _CROWDED * count and left > 0):
            return
        numbers, notes = _from_strips(self._numbers), _from_strips(self._notes)
        is_over = np.flatnonzero(~goes_on)
        runs = self._runs[is_over]
        self.a[runs], self.b[runs] = numbers[_A, is_over], numbers[_B, is_over]
        self.ended[runs], self.best[runs] = notes[_ENDED, is_over], notes[_BEST, is_over]
        # A run whose start is nowhere has no goal that it could have reached.
        at_once = notes[_ENDED, is_over] == _DIVERGED_AT_ONCE
        self.reached[runs] = np.where(at_once, _NEVER, notes[_REACHED, is_over])
        kept, wide = np.flatnonzero(goes_on), -(-left // LANES) * LANES
        self._runs = self._runs[kept]
        # Numbers of any lane fill the last strip.
        lanes = np.resize(kept, wide) if left else kept
        notes = notes[:, lanes]
        notes[_ENDED, left:] = math.inf
        self._numbers, self._notes = _to_strips(numbers[:, lanes]), _to_strips(notes)
        self._rates = self._rates[lanes]


def _to_strips(rows: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return rows, shape (quantities, lanes), as strips, shape (strips, quantities, LANES)."""
    quantities = len(rows)
    return np.ascontiguousarray(rows.reshape(quantities, -1, LANES).transpose(1, 0, 2))


def _from_strips(strips: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return strips as rows again."""
    return strips.transpose(1, 0, 2).reshape(strips.shape[1], -1)
