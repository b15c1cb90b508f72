"""A batch: one optimizer on many series, each with a bowl and an exact line of its own."""

import time
from collections.abc import Callable
from functools import cached_property, partial
from typing import Final

import numpy as np
import torch

from app.domain.batch import BatchSpec
from app.domain.curvature import describe, resolve_lr
from app.domain.data import Generated
from app.domain.result import EngineUsed
from app.domain.series import SeriesColumns
from app.domain.spec import Start
from worker.contract import Slice, Tally
from worker.engine.batch_tally import Survey, tally_batch
from worker.engine.bowls import Floats
from worker.engine.judged import Way, choose_way
from worker.engine.problem import draw_start
from worker.engine.rules.kernels import Kernels
from worker.engine.rules.strips import plan_of
from worker.engine.series import Group, SeriesSource
from worker.engine.slices import JoinedSlice, LaneSlice, LoopSlice, Lot
from worker.engine.tiers import TieredRun

_SAMPLED: Final = (0.25, 0.5, 0.75)
"""Where the series that are held against the loop lie."""


class PreparedBatch:
    """Satisfies worker.contract.PreparedMany.

    Args:
        spec: What to run.
        columns: The points when the spec only names them.
        device: Where the loop runs.
        kernels: Compiled rules; None when there are none.
        clock: Seconds that only rise.
    """

    exact = None
    problem = None

    def __init__(
        self,
        spec: BatchSpec,
        *,
        columns: SeriesColumns | None,
        device: torch.device,
        kernels: Kernels | None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.device = str(device)
        self._spec = spec
        self._device = device
        self._kernels = kernels
        self._clock = clock
        pass_over = None if kernels is None else kernels.load_series()
        self._source = SeriesSource(spec, columns=columns, pass_over=pass_over)
        self._known: Way | None = None

    @property
    def engine(self) -> EngineUsed:
        """Which engine computes, and why."""
        return self._way().used

    @property
    def are_lanes(self) -> bool:
        """Whether all runs are computed side by side."""
        return self._way().plan is not None

    def slice(self, runs: range) -> Slice:
        """Return some of the runs, ready to be computed.

        Args:
            runs: Neighbours, by their numbers.
        """
        groups = self._source.groups(runs)
        return JoinedSlice([(len(group), partial(self._part, group)) for group in groups])

    def sum_up(self, records: bytes, breathe: Callable[[], None] = lambda: None) -> Tally:
        """Sum up the records of all runs, those that were never made among them."""
        return tally_batch(records, self._survey(breathe), tolerance=self._spec.tolerance)

    def _part(self, runs: range, breathe: Callable[[], None]) -> Slice:
        """Return series that are drawn and solved together."""
        group, way = self._source.take(runs, breathe), self._way()
        if way.plan is None:
            return LoopSlice(
                len(runs),
                lambda place: self._make(runs[place], way),
                told=group.told,
                is_batch=True,
                clock=self._clock,
            )
        starts_a, starts_b = self._starts(runs)
        lot = Lot(
            starts_a=starts_a,
            starts_b=starts_b,
            rates=self._rates(group),
            bowls=group.bowls,
            told=group.told,
        )
        scheduler = self._spec.scheduler
        return LaneSlice(way.plan, lot, scheduler=scheduler, is_batch=True, clock=self._clock)

    def _way(self) -> Way:
        """Return how the runs are made; what has been tried is not tried again."""
        if self._known is not None:
            return self._known
        spec, fit = self._spec, self._source.fit(0)
        plan = plan_of(fit, self._kernels)
        samples = dict.fromkeys(int(share * spec.num_runs) for share in _SAMPLED)
        tasks = [self._source.task(run, device=self._device) for run in samples]
        way = choose_way(
            fit,
            plan,
            queue=self._device.type,
            points=self._source.most_points,
            samples=[
                (self._source.fit(run), task) for run, task in zip(samples, tasks, strict=True)
            ],
        )
        if way.is_final:
            self._known = way
        return way

    def _make(self, run: int, way: Way) -> TieredRun:
        """Return a run by itself."""
        fit = self._source.fit(run)
        if way.is_refused and fit.engine != "torch":
            fit = fit.model_copy(update={"engine": "torch"})
        return TieredRun(
            fit,
            task=self._source.task(run, device=self._device),
            index=run,
            label=fit.optimizer.name,
            queue=self._device.type,
            kernels=self._kernels,
            clock=self._clock,
        )

    def _rates(self, group: Group) -> Floats:
        """Return the learning rate of each series; "auto" depends on its bowl."""
        optimizer, bowls = self._spec.optimizer, group.bowls
        if optimizer.lr is not None:
            return np.full(len(group.runs), optimizer.lr)
        moments = zip(bowls.mean_x.tolist(), bowls.deviation.tolist(), strict=True)
        return np.array(
            [
                resolve_lr(optimizer, describe(1, mean_x=mean, mean_y=0.0, deviation=deviation))
                for mean, deviation in moments
            ]
        )

    def _starts(self, runs: range) -> tuple[Floats, Floats]:
        """Return where each run begins: all at the same place, except after drawing points."""
        a, b = (np.full(len(runs), part) for part in (self._start.a, self._start.b))
        after = self._after_data
        if after is not None and after[0] in runs:
            a[after[0] - runs.start], b[after[0] - runs.start] = after[1].a, after[1].b
        return a, b

    @cached_property
    def _start(self) -> Start:
        spec = self._spec
        if isinstance(spec.init, Start):
            return spec.init
        return draw_start(torch.Generator().manual_seed(spec.seed))

    @cached_property
    def _after_data(self) -> tuple[int, Start] | None:
        """The one series whose seed draws the points and then the start, as it does in a fit."""
        data = self._source.fit(0).data
        if not isinstance(data, Generated) or isinstance(self._spec.init, Start):
            return None
        first = data.generate.seed
        place = self._spec.seed - (self._spec.seed if first is None else first)
        if not 0 <= place < self._spec.num_runs:
            return None
        return place, self._source.task(place, device=self._device).start

    def _survey(self, breathe: Callable[[], None]) -> Survey:
        """Look at all series once more: where their runs began, and which have no single line."""
        heights, num_points, not_unique = list[Floats](), 0, 0
        for runs in self._source.groups(range(self._spec.num_runs)):
            breathe()
            group = self._source.take(runs, breathe)
            a, b = (
                start.astype(self._spec.dtype).astype(np.float64) for start in self._starts(runs)
            )
            heights.append(group.bowls.excess(a, b))
            num_points += len(group.x)
            not_unique += int((~group.is_unique).sum())
        return Survey(
            first_heights=np.concatenate(heights), num_points=num_points, not_unique=not_unique
        )
