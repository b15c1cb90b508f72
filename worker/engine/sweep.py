"""A sweep: its points drawn once, its starts drawn together, its runs cut into slices."""

import time
from collections.abc import Callable
from dataclasses import replace
from functools import cached_property, partial
from typing import Final

import numpy as np
import torch

from app.domain.data import Columns, Generated, Preset
from app.domain.result import EngineUsed, Exact, Problem
from app.domain.spec import Start
from app.domain.sweep import SweepSpec, fit_of, place_of
from worker.contract import Slice, Tally
from worker.engine.bowls import Bowls, Floats
from worker.engine.judged import Way, choose_way, combine_ways
from worker.engine.problem import Task, load
from worker.engine.rules.kernels import Kernels
from worker.engine.rules.run import bowl_of
from worker.engine.rules.strips import plan_of
from worker.engine.slices import JoinedSlice, LaneSlice, LoopSlice, Lot
from worker.engine.starts import draw_starts
from worker.engine.sweep_tally import tally_sweep
from worker.engine.tiers import TieredRun

_SAMPLED: Final = (0.25, 0.5, 0.75)
"""Where the runs that are held against the loop lie among an optimizer's: none at the grid's ends,
where a run may be lost in one step."""


class PreparedSweep:
    """Satisfies worker.contract.PreparedMany.

    Args:
        spec: What to run.
        task: Its points, and the start of run 0.
        columns: The points when the spec only names them.
        device: Where the loop runs.
        kernels: Compiled rules; None when there are none.
        clock: Seconds that only rise.
    """

    def __init__(
        self,
        spec: SweepSpec,
        *,
        task: Task,
        columns: Columns | None,
        device: torch.device,
        kernels: Kernels | None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.device = str(device)
        self._spec = spec
        self._task = task
        self._columns = columns
        self._device = device
        self._kernels = kernels
        self._clock = clock
        self._rates: Floats = np.array(spec.rates)
        self._bowls = Bowls.of_one(bowl_of(task))
        self._ways = dict[int, Way]()

    @property
    def exact(self) -> Exact:
        """The least-squares answer."""
        return self._task.bowl.exact

    @property
    def problem(self) -> Problem:
        """The bowl that the optimizers run in."""
        return self._task.bowl.problem

    @property
    def engine(self) -> EngineUsed:
        """Which engine computes, and why."""
        return combine_ways(
            [
                (contender.label, self._way(place).used)
                for place, contender in enumerate(self._spec.optimizers)
            ]
        )

    @property
    def are_lanes(self) -> bool:
        """Whether all runs are computed side by side."""
        return all(self._way(place).plan is not None for place in range(len(self._spec.optimizers)))

    def slice(self, runs: range) -> Slice:
        """Return some of the runs, ready to be computed.

        Args:
            runs: Neighbours, by their numbers.
        """
        parts = list[tuple[int, Callable[[Callable[[], None]], Slice]]]()
        each = self._spec.num_rates * self._spec.seeds
        for optimizer in range(runs.start // each, (runs.stop - 1) // each + 1):
            first, stop = max(runs.start, optimizer * each), min(runs.stop, (optimizer + 1) * each)
            part = range(first, stop)
            parts.append((len(part), partial(self._part, optimizer, part)))
        return JoinedSlice(parts)

    def sum_up(self, records: bytes, breathe: Callable[[], None] = lambda: None) -> Tally:
        """Sum up the records of all runs, those that were never made among them."""
        breathe()
        return tally_sweep(
            self._spec, records, problem=self.problem, first_heights=self._first_heights()
        )

    def _part(self, optimizer: int, runs: range, _breathe: Callable[[], None]) -> Slice:
        """Return runs of one optimizer."""
        way = self._way(optimizer)
        if way.plan is None:
            return LoopSlice(
                len(runs), lambda place: self._make(runs[place], way), clock=self._clock
            )
        rates, seeds = np.divmod(np.arange(runs.start, runs.stop), self._spec.seeds)
        first, last = int(seeds.min()), int(seeds.max())
        starts_a, starts_b = self._starts(range(first, last + 1))
        lot = Lot(
            starts_a=starts_a[seeds - first],
            starts_b=starts_b[seeds - first],
            rates=self._rates[rates % self._spec.num_rates],
            bowls=self._bowls,
        )
        return LaneSlice(way.plan, lot, scheduler=self._spec.scheduler, clock=self._clock)

    def _way(self, optimizer: int) -> Way:
        """Return how an optimizer's runs are made; what has been tried is not tried again."""
        known = self._ways.get(optimizer)
        if known is not None:
            return known
        each = self._spec.num_rates * self._spec.seeds
        fit = fit_of(self._spec, optimizer * each)
        plan = plan_of(fit, self._kernels)
        places = dict.fromkeys(int(share * each) for share in _SAMPLED)
        samples = [optimizer * each + place for place in places]
        way = choose_way(
            fit,
            plan,
            queue=self._device.type,
            points=len(self._task.x),
            samples=[(fit_of(self._spec, run), self._task_of(run)) for run in samples],
        )
        if way.is_final:
            self._ways[optimizer] = way
        return way

    def _make(self, run: int, way: Way) -> TieredRun:
        """Return a run by itself."""
        fit = fit_of(self._spec, run)
        if way.is_refused and fit.engine != "torch":
            fit = fit.model_copy(update={"engine": "torch"})
        label = self._spec.optimizers[place_of(self._spec, run).optimizer].label
        return TieredRun(
            fit,
            task=self._task_of(run),
            index=run,
            label=label,
            queue=self._device.type,
            kernels=self._kernels,
            clock=self._clock,
        )

    def _task_of(self, run: int) -> Task:
        seed = place_of(self._spec, run).seed
        a, b = self._starts(range(seed, seed + 1))
        return replace(self._task, start=Start.model_construct(a=float(a[0]), b=float(b[0])))

    def _starts(self, seeds: range) -> tuple[Floats, Floats]:
        """Return the starts of neighbouring seeds of the sweep, counted from 0."""
        spec = self._spec
        if isinstance(spec.init, Start):
            return np.full(len(seeds), spec.init.a), np.full(len(seeds), spec.init.b)
        numbers = np.arange(seeds.start, seeds.stop, dtype=np.uint64) + np.uint64(spec.seed)
        a, b = draw_starts(numbers)
        after = self._after_data
        if after is not None and after[0] in seeds:
            a[after[0] - seeds.start], b[after[0] - seeds.start] = after[1].a, after[1].b
        return a, b

    @cached_property
    def _after_data(self) -> tuple[int, Start] | None:
        """The one seed whose generator draws the points first, as it does in a fit."""
        data = fit_of(self._spec, 0).data
        match data:
            case Preset():
                seed = data.seed
            case Generated():
                seed = data.generate.seed
            case _:
                return None
        place = (self._spec.seed if seed is None else seed) - self._spec.seed
        if place == 0:
            return 0, self._task.start
        if not 0 < place < self._spec.seeds:
            return None
        fit = fit_of(self._spec, place)
        return place, load(fit, columns=self._columns, device=self._device).start

    def _first_heights(self) -> Floats:
        """Return the excess loss of every start, shape (seeds,)."""
        a, b = (
            part.astype(self._spec.dtype).astype(np.float64)
            for part in self._starts(range(self._spec.seeds))
        )
        return self._bowls.excess(a, b)
