"""The runs of a sweep or a batch as rows, from a store that holds their records."""

import asyncio
import csv
import io
import json
import math
from array import array
from collections.abc import Sequence
from typing import Any

import pytest

from app.api.many_runs import BLOCK_RUNS, RunTable, open_table, run_object
from app.domain.errors import InvalidParameter, JobNotFinished
from app.domain.job import JobRecord, Status
from app.domain.kinds import ManyRuns
from app.domain.parse import parse_spec
from app.domain.result import DeviceUsed, StopReason
from app.domain.run_records import NOT_DONE, REASONS, RunRecord, never_made, pack_record

NAN = math.nan


class Records:
    """Holds packed records and orders, as the store does; counts what is asked of it."""

    def __init__(self, raw: bytes, *, size: int, orders: dict[str, list[int]]) -> None:
        self.raw = raw
        self.size = size
        self.orders = orders
        self.most = 0

    async def records(self, job_id: str, start: int, count: int) -> bytes:
        assert job_id == "many"
        self.most = max(self.most, count)
        return self.raw[start * self.size : (start + count) * self.size]

    async def records_at(self, job_id: str, positions: Sequence[int]) -> list[bytes]:
        return [await self.records(job_id, position, 1) for position in positions]

    async def order(self, job_id: str, name: str, start: int, count: int) -> "array[int]":
        assert job_id == "many"
        return array("i", self.orders[name][start : start + count])

    async def series_names(self, job_id: str) -> tuple[str, ...] | None:
        assert job_id == "many"
        return ("north", "=south")


def make_record(loss: float, **changes: Any) -> RunRecord:
    given: dict[str, Any] = {
        "steps": 10,
        "steps_to_tolerance": 4,
        "reason": REASONS.index(StopReason.LOSS_BELOW),
        "a": 1.0,
        "b": -2.0,
        "loss": loss,
        "excess_loss": loss / 2,
        "best_loss": loss,
    }
    return RunRecord(**{**given, **changes})


DIVERGED = make_record(
    NAN,
    a=NAN,
    b=NAN,
    steps_to_tolerance=-1,
    reason=REASONS.index(StopReason.DIVERGED),
    best_loss=3.0,
)


def job_of(
    body: dict[str, Any], *, status: Status = Status.SUCCEEDED
) -> tuple[JobRecord, ManyRuns]:
    spec = parse_spec(body).spec
    assert isinstance(spec, ManyRuns)
    device = DeviceUsed(requested="auto", queue="cpu", reason="few")
    record = JobRecord(
        id="many", spec=spec, status=status, seq=3, created_at_ms=1, queued_at_ms=1, device=device
    )
    return record, spec


def table_of(
    body: dict[str, Any],
    records: Sequence[RunRecord],
    *,
    orders: dict[str, list[int]] | None = None,
    sort: str = "run",
    status: Status = Status.SUCCEEDED,
    more: bytes = b"",
) -> RunTable:
    is_batch = body["kind"] == "batch"
    packed = [pack_record(record, is_batch=is_batch) for record in records]
    size = len(never_made(1, is_batch=is_batch))
    store = Records(b"".join(packed) + more, size=size, orders=orders or {})
    record, spec = job_of(body, status=status)
    return asyncio.run(open_table(record, spec, store=store, sort=sort))


def rows_of(table: RunTable, start: int = 0, count: int = 100) -> list[dict[str, Any]]:
    return asyncio.run(table.rows(start, count))


SWEEP = {"kind": "sweep", "optimizers": ["adam", "sgd"], "lr": [0.1, 0.2], "seed": 5}
FOUR = [make_record(0.4), DIVERGED, make_record(0.2), make_record(0.3)]
ORDERS = {"loss": [2, 3, 0, 1], "rank": [2, 3, 0, 1]}


def test_row_of_a_sweep_says_what_ran_and_how_it_ended() -> None:
    first, second, third, _ = rows_of(table_of(SWEEP, FOUR))

    assert first == {
        "run": 0,
        "label": "Adam",
        "optimizer": "Adam",
        "lr": 0.1,
        "seed": 5,
        "a": 1.0,
        "b": -2.0,
        "equation": "y = 1.0000\u00b7x - 2.0000",
        "loss": 0.4,
        "excess_loss": 0.2,
        "stop_reason": "loss_below",
        "steps": 10,
        "steps_to_tolerance": 4,
        "best_loss": 0.4,
    }
    assert (second["a"], second["equation"], second["steps_to_tolerance"]) == (None, None, None)
    assert (second["stop_reason"], second["best_loss"], second["lr"]) == ("diverged", 3.0, 0.2)
    assert (third["label"], third["lr"]) == ("SGD", 0.1)


@pytest.mark.parametrize(
    ("sort", "expected"),
    [
        ("run", [0, 1, 2, 3]),
        ("-run", [3, 2, 1, 0]),
        ("loss", [2, 3, 0, 1]),
        ("final_loss", [2, 3, 0, 1]),
        ("-loss", [0, 3, 2, 1]),
        ("-rank", [1, 0, 3, 2]),
        ("lr", [0, 2, 1, 3]),
        ("-lr", [3, 1, 2, 0]),
    ],
)
def test_runs_without_a_value_come_last_either_way(sort: str, expected: list[int]) -> None:
    table = table_of(SWEEP, FOUR, orders=ORDERS, sort=sort)

    assert [row["run"] for row in rows_of(table)] == expected
    # And page by page, whatever the pages.
    paged = [row["run"] for start in range(4) for row in rows_of(table, start, 1)]
    assert paged == expected
    assert [row["run"] for row in rows_of(table, 1, 2)] == expected[1:3]


def test_order_by_rate_is_found_without_a_table() -> None:
    body = {
        "kind": "sweep",
        "optimizers": ["adam", "sgd"],
        "lr": [0.3, 0.1, 0.2],
        "seeds": 2,
    }
    table = table_of(body, [], sort="lr", status=Status.RUNNING)
    rows = rows_of(table)

    assert sorted(row["run"] for row in rows) == list(range(12))
    assert [row["lr"] for row in rows] == sorted([0.1, 0.2, 0.3] * 4)
    assert [row["run"] for row in rows[:4]] == [2, 3, 8, 9]


def test_run_that_was_not_made_has_its_settings_alone() -> None:
    table = table_of(SWEEP, FOUR[:1], more=never_made(1, is_batch=False))
    _, never, missing, _ = rows_of(table)

    for row in (never, missing):
        assert row["steps"] is row["stop_reason"] is row["loss"] is None
    assert (never["lr"], missing["label"]) == (0.2, "SGD")
    assert make_record(1.0).steps != NOT_DONE


def test_order_is_refused_until_the_job_has_ended() -> None:
    with pytest.raises(JobNotFinished, match="leave sort out"):
        table_of(SWEEP, [], sort="loss", status=Status.RUNNING)

    assert len(rows_of(table_of(SWEEP, [], status=Status.RUNNING))) == 4


def test_column_without_an_order_is_refused() -> None:
    with pytest.raises(InvalidParameter, match='did you mean "steps"'):
        table_of(SWEEP, FOUR, sort="step")
    with pytest.raises(InvalidParameter, match="for a batch"):
        table_of({"kind": "batch"}, [], sort="lr")


def text_of(table: RunTable, form: str, *, start: int = 0, stop: int = 10**9) -> str:
    async def collect() -> bytes:
        return b"".join([part async for part in table.blocks(form, start=start, stop=stop)])

    return asyncio.run(collect()).decode()


def test_csv_has_a_header_and_one_line_a_run() -> None:
    lines = list(csv.DictReader(io.StringIO(text_of(table_of(SWEEP, FOUR), "csv"))))

    assert [line["run"] for line in lines] == ["0", "1", "2", "3"]
    assert (lines[1]["loss"], lines[2]["loss"]) == ("", "0.2")


def test_batch_has_names_and_exact_lines() -> None:
    body = {"kind": "batch", "data": [[[0, 1]], [[1, 2]]]}
    exact = {"points": 7, "exact_a": 2.0, "exact_b": 3.0, "exact_loss": NAN}
    table = table_of(body, [make_record(0.1, **exact)])
    done, never = rows_of(table)
    shown = run_object(table.record, done)

    assert (done["series"], done["points"]) == (None, 7)
    assert shown["exact"] == {"a": 2.0, "b": 3.0, "loss": None}
    assert shown["links"]["history"] == "/v1/jobs/many/history?run=0"
    assert run_object(table.record, never)["exact"] is None
    first = json.loads(text_of(table, "ndjson").splitlines()[0])
    assert first == {name: value for name, value in shown.items() if name != "links"}


def test_name_that_a_spreadsheet_would_run_is_quoted() -> None:
    data = [{"name": "=1", "x": [0], "y": [1]}]
    table = table_of({"kind": "batch", "data": data}, [make_record(0.1)])

    assert ",'=1," in text_of(table, "csv").replace("0,'=1", ",'=1")


def test_stream_never_holds_more_than_a_block() -> None:
    body = {"kind": "sweep", "optimizer": "adam", "lr": {"num": 2 * BLOCK_RUNS + 1}}
    table = table_of(body, [], more=never_made(2 * BLOCK_RUNS + 1, is_batch=False))
    lines = text_of(table, "ndjson", start=1).splitlines()

    assert len(lines) == 2 * BLOCK_RUNS
    assert isinstance(table.store, Records)
    assert table.store.most == BLOCK_RUNS
