"""The series of a batch: some of them at a time, their points and exact lines."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import torch

from app.domain.batch import BatchSpec, fit_of_series
from app.domain.data import Columns
from app.domain.errors import EngineFault, JobErrorType
from app.domain.series import GeneratedSeries, SeriesColumns
from app.domain.spec import FitSpec, shared_fields
from worker.engine.bowls import Bowls, Floats, Ints
from worker.engine.exact import solve
from worker.engine.problem import DTYPES, Task, draw_points, load
from worker.engine.records import Records, make_records
from worker.engine.series_pass import COLUMNS

AT_ONCE: Final = 8_192
"""Series that are drawn and solved at a time, and at most so many points of them, unless one series
alone has more: a few tenths of a second."""
_MOST_POINTS: Final = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Neighbouring series.

    Attributes:
        runs: Which.
        x: Abscissae of all of them in the run's dtype as float64, one series after the other.
        y: Ordinates likewise.
        starts: Where each begins, and where the last one ends, int64.
        bowls: The bowl of each.
        told: What the records say of them: points, exact line and exact loss.
        is_unique: Whether each has a single exact line.
    """

    runs: range
    x: Floats
    y: Floats
    starts: Ints
    bowls: Bowls
    told: Records
    is_unique: npt.NDArray[np.bool_]


class SeriesSource:
    """Draws or takes the points of series, and solves them.

    Args:
        spec: What to run.
        columns: The points when the spec only names them.
        pass_over: As series_pass.series_pass, compiled; None to solve one after the other.
    """

    def __init__(
        self,
        spec: BatchSpec,
        *,
        columns: SeriesColumns | None,
        pass_over: Callable[..., None] | None,
    ) -> None:
        self._spec = spec
        self._pass_over = pass_over
        given = spec.data if isinstance(spec.data, SeriesColumns) else columns
        self._given = given
        if given is not None:
            self._starts = np.concatenate(
                [[0], np.frombuffer(given.lengths, np.int32).cumsum(dtype=np.int64)]
            )
        elif isinstance(spec.data, GeneratedSeries):
            self._rule = spec.data.generate
        else:
            raise EngineFault("The job's points are missing", error_type=JobErrorType.INTERNAL)

    @property
    def most_points(self) -> int:
        """How many points the longest series has."""
        data = self._spec.data
        if isinstance(data, GeneratedSeries):
            return data.generate.n
        return int(np.diff(self._starts).max())

    def groups(self, runs: range) -> Iterator[range]:
        """Cut runs into what is drawn and solved at a time."""
        first = runs.start
        while first < runs.stop:
            last = min(first + AT_ONCE, runs.stop)
            if self._given is not None:
                limit = int(self._starts[first]) + _MOST_POINTS
                last = min(last, int(np.searchsorted(self._starts, limit, "right")) - 1)
            elif isinstance(self._spec.data, GeneratedSeries):
                last = min(last, first + _MOST_POINTS // self._spec.data.generate.n)
            last = max(last, first + 1)
            yield range(first, last)
            first = last

    def fit(self, run: int) -> FitSpec:
        """Return the fit that repeats one series."""
        if self._given is None:
            return fit_of_series(self._spec, run, None)
        part = slice(int(self._starts[run]), int(self._starts[run + 1]))
        columns = Columns.model_construct(x=self._given.x[part], y=self._given.y[part])
        shared: dict[str, Any] = {**shared_fields(self._spec), "data": columns}
        return FitSpec.model_construct(**shared, optimizer=self._spec.optimizer)

    def task(self, run: int, *, device: torch.device) -> Task:
        """Return one series, drawn or taken as a fit does it."""
        return load(self.fit(run), columns=None, device=device)

    def take(self, runs: range, breathe: Callable[[], None]) -> Group:
        """Draw or take some series, and solve them.

        Args:
            runs: One of `groups`.
            breathe: Called from time to time.
        """
        x, y, starts = self._points(runs, breathe)
        rounded = np.dtype(self._spec.dtype)
        x, y = (part.astype(rounded).astype(np.float64) for part in (x, y))
        found = np.zeros((len(runs), COLUMNS))
        if self._pass_over is not None:
            self._pass_over(x, y, starts, found.reshape(-1))
        for place in np.flatnonzero(found[:, -1] == 0.0):
            breathe()
            part = slice(int(starts[place]), int(starts[place + 1]))
            found[place] = _solve(x[part], y[part])
        return Group(
            runs=runs,
            x=x,
            y=y,
            starts=starts,
            bowls=_bowls(found, np.diff(starts), dtype=self._spec.dtype),
            told=_told(found, np.diff(starts)),
            is_unique=found[:, 8] != 0.0,
        )

    def _points(self, runs: range, breathe: Callable[[], None]) -> tuple[Floats, Floats, Ints]:
        if self._given is not None:
            starts = self._starts[runs.start : runs.stop + 1]
            part = slice(int(starts[0]), int(starts[-1]))
            x, y = (np.frombuffer(axis)[part] for axis in (self._given.x, self._given.y))
            return x, y, np.ascontiguousarray(starts - starts[0])
        rule, drawn = self._rule, list[tuple[Floats, Floats]]()
        first = self._spec.seed if rule.seed is None else rule.seed
        for run in runs:
            if run % 256 == 0:  # some milliseconds
                breathe()
            # As fit_of_series says it, without a spec for each.
            pair = draw_points(rule, torch.Generator().manual_seed(first + run))
            drawn.append((pair[0].flatten().numpy(), pair[1].flatten().numpy()))
        starts = np.cumsum([0, *(len(x) for x, _ in drawn)], dtype=np.int64)
        x, y = (np.concatenate([pair[axis] for pair in drawn]) for axis in (0, 1))
        return x, y, starts


def _solve(x: Floats, y: Floats) -> list[float]:
    """Return what the pass finds, by exact.solve, which takes every range."""
    bowl = solve(torch.tensor(x), torch.tensor(y))
    return [
        bowl.exact.a,
        bowl.exact.b,
        bowl.remainder_a,
        bowl.remainder_b,
        bowl.deviation_x,
        bowl.problem.mean_x,
        bowl.exact.loss,
        float(np.abs(y).min()),
        float(bowl.exact.unique),
        1.0,
    ]


def _bowls(found: Floats, points: Ints, *, dtype: str) -> Bowls:
    """Return the bowls of solved series; fidelity.stillness_of says what stands still."""
    limits = torch.finfo(DTYPES[dtype])
    smallest = limits.eps / 4.0 * found[:, 7]
    return Bowls(
        exact_a=found[:, 0],
        exact_b=found[:, 1],
        rest_a=found[:, 2],
        rest_b=found[:, 3],
        deviation=found[:, 4],
        mean_x=found[:, 5],
        floor=found[:, 6],
        most=limits.max / points,
        still=np.where(found[:, 6] == 0.0, smallest * smallest, 0.0),
    )


def _told(found: Floats, points: Ints) -> Records:
    """Return what the records say of solved series."""
    records = make_records(len(found), is_batch=True)
    records["points"] = points
    for name, place in (("exact_a", 0), ("exact_b", 1), ("exact_loss", 6)):
        records[name] = found[:, place]
    told: Records = records[["points", "exact_a", "exact_b", "exact_loss"]]
    return told
