"""The runs of a sweep or a batch as rows, read from their records page by page; it knows no HTTP."""

import csv
import io
import math
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final, Protocol

import orjson
from starlette.concurrency import run_in_threadpool

from app.api.view import JOBS_PATH
from app.domain.batch import BatchSpec
from app.domain.errors import InvalidParameter, JobNotFinished
from app.domain.flaws import nearest
from app.domain.job import JobRecord
from app.domain.kinds import ManyRuns
from app.domain.result import format_equation
from app.domain.run_records import NOT_DONE, REASONS, RunRecord, unpack_records
from app.domain.series import SeriesColumns, StoredSeries
from app.domain.sweep import SweepSpec, place_of

Row = dict[str, Any]

BLOCK_RUNS: Final = 2_000
"""Runs that one piece of a stream has: some 10 ms of writing, half a megabyte."""

_FOUND: Final = (
    *("a", "b", "equation", "loss", "excess_loss", "stop_reason"),
    *("steps", "steps_to_tolerance", "best_loss"),
)
SWEEP_COLUMNS: Final = ("run", "label", "optimizer", "lr", "seed", *_FOUND)
BATCH_COLUMNS: Final = ("run", "series", "points", *_FOUND, "exact_a", "exact_b", "exact_loss")

_ORDERS: Final = ("rank", "loss", "excess_loss", "steps", "steps_to_tolerance", "a", "b")
_SORT_ALIASES: Final[Mapping[str, str]] = {"final_loss": "loss", "final_excess_loss": "excess_loss"}
_NUMBERED: Final = "run"
_BY_RATE: Final = "lr"


class RecordStore(Protocol):
    """What is asked of the store."""

    async def records(self, job_id: str, start: int, count: int) -> bytes:
        """Return the records of some runs, one after the other."""
        ...

    async def records_at(self, job_id: str, positions: Sequence[int]) -> list[bytes]:
        """Return the records of single runs."""
        ...

    async def order(self, job_id: str, name: str, start: int, count: int) -> Sequence[int]:
        """Return positions of runs in one order."""
        ...

    async def series_names(self, job_id: str) -> tuple[str, ...] | None:
        """Return the names of a batch's stored series."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class RunTable:
    """The runs of one job, in one order.

    Attributes:
        record: The job.
        spec: Its spec.
        store: Where the records are.
        names: Of a batch's series; None when they have none.
        order: Name of the order; "run" for that of the numbers.
        is_descending: Turned round; runs without a value come last either way.
        num_known: How many runs have a value; only known when it matters.
        rates: A sweep's learning rates.
    """

    record: JobRecord
    spec: ManyRuns
    store: RecordStore
    names: tuple[str, ...] | None
    order: str
    is_descending: bool
    num_known: int
    rates: tuple[float, ...]

    def __len__(self) -> int:
        """Return how many runs the spec asks for."""
        return self.spec.num_runs

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the columns, as CSV has them."""
        return SWEEP_COLUMNS if isinstance(self.spec, SweepSpec) else BATCH_COLUMNS

    async def rows(self, start: int, count: int) -> list[Row]:
        """Return some rows of the table, fewer at its end."""
        stop = min(start + count, len(self))
        if start >= stop:
            return []
        if self.order != _NUMBERED:
            numbers = await self._positions(start, stop)
            raw = b"".join(await self.store.records_at(self.record.id, numbers))
            return self._to_rows(numbers, raw)
        if not self.is_descending:
            raw = await self.store.records(self.record.id, start, stop - start)
            return self._to_rows(range(start, stop), raw)
        first = len(self) - stop
        raw = await self.store.records(self.record.id, first, stop - start)
        return self._to_rows(range(first, first + stop - start), raw)[::-1]

    async def objects(self, start: int, count: int) -> list[Row]:
        """Return some rows as JSON shows them, with their links."""
        return [run_object(self.record, row) for row in await self.rows(start, count)]

    async def _positions(self, start: int, stop: int) -> list[int]:
        """Return the numbers of the runs at some places of the order."""
        if not self.is_descending:
            return await self._ordered(start, stop)
        known = self.num_known
        first, last = known - min(stop, known), known - min(start, known)
        turned = (await self._ordered(first, last))[::-1]
        return turned + await self._ordered(max(start, known), stop)

    async def _ordered(self, start: int, stop: int) -> list[int]:
        if start >= stop:
            return []
        if isinstance(self.spec, SweepSpec) and self.order == _BY_RATE:
            return runs_by_rate(self.spec, range(start, stop))
        return list(await self.store.order(self.record.id, self.order, start, stop - start))

    def _to_rows(self, numbers: Sequence[int], raw: bytes) -> list[Row]:
        """Return one row a number; a run whose record is not there was not made yet."""
        records = list(unpack_records(raw, is_batch=isinstance(self.spec, BatchSpec)))
        missing = [None] * (len(numbers) - len(records))
        return [
            self.row(number, record)
            for number, record in zip(numbers, [*records, *missing], strict=True)
        ]

    def row(self, run: int, record: RunRecord | None) -> Row:
        """Return one row; what is not known, or not finite, is None."""
        is_made = record is not None and record.steps != NOT_DONE
        known = _found(record) if record is not None and is_made else dict.fromkeys(_FOUND)
        if isinstance(self.spec, SweepSpec):
            place = place_of(self.spec, run)
            contender = self.spec.optimizers[place.optimizer]
            return {
                "run": run,
                "label": contender.label,
                "optimizer": contender.optimizer.name,
                "lr": self.rates[place.rate],
                "seed": self.spec.seed + place.seed,
                **known,
            }
        exact = record if is_made else None
        return {
            "run": run,
            "series": self.names[run] if self.names else None,
            "points": exact.points if exact else None,
            **known,
            "exact_a": _finite(exact.exact_a) if exact else None,
            "exact_b": _finite(exact.exact_b) if exact else None,
            "exact_loss": _finite(exact.exact_loss) if exact else None,
        }

    async def blocks(self, form: str, *, start: int, stop: int) -> AsyncGenerator[bytes]:
        """Yield a range of rows as CSV or NDJSON, a piece at a time."""
        write = self.to_csv if form == "csv" else to_ndjson
        if form == "csv":
            yield self.header()
        stop = min(stop, len(self))
        for first in range(start, stop, BLOCK_RUNS):
            rows = await self.rows(first, min(BLOCK_RUNS, stop - first))
            yield await run_in_threadpool(write, rows)

    def header(self) -> bytes:
        """Return the first line of the CSV."""
        return ",".join(self.columns).encode() + b"\n"

    def to_csv(self, rows: Sequence[Row]) -> bytes:
        """Return one line a row; text that a spreadsheet would run is quoted by '."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerows([guard(row[name]) for name in self.columns] for row in rows)
        return text.getvalue().encode()


def runs_by_rate(spec: SweepSpec, places: range) -> list[int]:
    """Return the runs at some places of a sweep that is ordered by learning rate.

    Runs of one rate stand in their own order; no table is needed, however many there are.
    """
    rates = spec.rates
    ordered = _by_size(rates)
    each = len(spec.optimizers) * spec.seeds
    found = list[int]()
    for place in places:
        rate, rest = divmod(place, each)
        optimizer, seed = divmod(rest, spec.seeds)
        found.append((optimizer * len(rates) + ordered[rate]) * spec.seeds + seed)
    return found


@lru_cache(maxsize=8)
def _by_size(rates: tuple[float, ...]) -> list[int]:
    """Return the places of learning rates, smallest first; a table asks for each of its blocks."""
    return sorted(range(len(rates)), key=rates.__getitem__)


def to_ndjson(rows: Sequence[Row]) -> bytes:
    """Return one JSON object a line."""
    return b"".join(orjson.dumps(nest(row), option=orjson.OPT_APPEND_NEWLINE) for row in rows)


def run_object(record: JobRecord, row: Row) -> Row:
    """Return a row as JSON shows it, with its links."""
    own, run = f"{JOBS_PATH}/{record.id}", row["run"]
    links = {
        "history": f"{own}/history?run={run}",
        "reproduce": f"{own}/reproduce.py?run={run}",
    }
    return {**nest(row), "links": links}


def nest(row: Row) -> Row:
    """Put the exact line of a batch's series into an object of its own."""
    if "exact_a" not in row:
        return row
    flat = {name: value for name, value in row.items() if not name.startswith("exact_")}
    exact = {name: row[f"exact_{name}"] for name in ("a", "b", "loss")}
    return {**flat, "exact": None if row["steps"] is None else exact}


def guard(cell: object) -> object:
    """Return a cell that no spreadsheet runs (OWASP, "CSV Injection")."""
    match cell:
        case bool():
            return str(cell).lower()
        case str():
            line = " ".join(cell.split())
            return f"'{line}" if line.startswith(("=", "+", "-", "@")) else line
        case _:
            return cell


async def open_table(
    record: JobRecord, spec: ManyRuns, *, store: RecordStore, sort: str
) -> RunTable:
    """Return the runs of a job in the order that a client asks for.

    Args:
        record: The job.
        spec: Its spec.
        store: Where the records are.
        sort: A column that the store keeps an order of, "-" before it turns it round.

    Raises:
        InvalidParameter: There is no such order.
        JobNotFinished: Orders are made when the job ends.
    """
    name = _read_sort(spec, sort.removeprefix("-"))
    if name not in {_NUMBERED, _BY_RATE} and not record.status.is_terminal:
        raise JobNotFinished(
            f"The runs of {record.id} are ordered when it ends: leave sort out, or wait"
        )
    is_descending = sort.startswith("-")
    num_known = spec.num_runs
    if is_descending and name in _ABSENT:
        num_known = await _count_known(record, spec, store=store, name=name)
    return RunTable(
        record=record,
        spec=spec,
        store=store,
        names=await _names_of(record, spec, store=store),
        order=name,
        is_descending=is_descending,
        num_known=num_known,
        rates=spec.rates if isinstance(spec, SweepSpec) else (),
    )


def _read_sort(spec: ManyRuns, name: str) -> str:
    orders = (_NUMBERED, *_ORDERS, *((_BY_RATE,) if isinstance(spec, SweepSpec) else ()))
    name = _SORT_ALIASES.get(name, name)
    if name not in orders:
        guess = nearest(name, [*orders, *_SORT_ALIASES])
        hint = f': did you mean "{guess}"?' if guess else f", it is one of {', '.join(orders)}"
        raise InvalidParameter(f'sort cannot be "{name[:60]}" for a {spec.kind}{hint}')
    return name


_ABSENT: Final[Mapping[str, Callable[[RunRecord], bool]]] = {
    "loss": lambda record: math.isnan(record.loss),
    "excess_loss": lambda record: math.isnan(record.excess_loss),
    "a": lambda record: math.isnan(record.a),
    "b": lambda record: math.isnan(record.b),
    "steps": lambda record: record.steps == NOT_DONE,
    "steps_to_tolerance": lambda record: record.steps_to_tolerance < 0,
    "rank": lambda record: record.steps == NOT_DONE,
}
"""Whether a run has no value to be ordered by: such runs stand at the end of the store's order."""


async def _count_known(record: JobRecord, spec: ManyRuns, *, store: RecordStore, name: str) -> int:
    """Return how many runs have a value, by halving: some forty round trips for a million runs."""
    low, high = 0, spec.num_runs
    while low < high:
        middle = (low + high) // 2
        place = await store.order(record.id, name, middle, 1)
        raw = b"".join(await store.records_at(record.id, list(place)))
        found = next(unpack_records(raw, is_batch=isinstance(spec, BatchSpec)), None)
        if found is None or _ABSENT[name](found):
            high = middle
        else:
            low = middle + 1
    return low


async def _names_of(
    record: JobRecord, spec: ManyRuns, *, store: RecordStore
) -> tuple[str, ...] | None:
    match spec.data:
        case SeriesColumns():
            return spec.data.names
        case StoredSeries():
            return await store.series_names(record.id)
        case _:
            return None


def _found(record: RunRecord) -> Row:
    a, b, to_tolerance = _finite(record.a), _finite(record.b), record.steps_to_tolerance
    return {
        "a": a,
        "b": b,
        "equation": None if a is None or b is None else format_equation(a, b),
        "loss": _finite(record.loss),
        "excess_loss": _finite(record.excess_loss),
        "stop_reason": REASONS[record.reason].value,
        "steps": record.steps,
        "steps_to_tolerance": None if to_tolerance < 0 else to_tolerance,
        "best_loss": _finite(record.best_loss),
    }


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
