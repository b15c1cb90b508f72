"""Turns domain objects into what Redis holds and back; it does not know where that is kept."""

import json
import struct
import sys
from array import array
from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from pydantic import TypeAdapter

from app.domain.batch import BatchSpec
from app.domain.events import Event, EventType
from app.domain.history import Rows, concatenate, make_empty
from app.domain.job import JobRecord, Warn
from app.domain.kinds import AnySpec
from app.domain.result import DeviceUsed
from app.domain.spec import FitSpec

# --- rows -------------------------------------------------------------------------------------

_VERSION: Final = 1
_HEADER: Final = struct.Struct("<BBBxI")  # version, columns that exist, columns in 4 bytes, rows
_EVEN_STEPS: Final = struct.Struct("<qq")  # first step, distance
_EVEN: Final = 0x80
"""Flag beside the columns: the steps are evenly spaced, so two numbers say them all."""
_COLUMNS: Final = ("loss", "excess_loss", "a", "b", "batch_loss")
_PROBE: Final = 8


def encode_rows(rows: Rows) -> bytes:
    """Return one block of history: little-endian columns, nothing rounded.

    A column whose values all came from float32 takes 4 bytes a value; evenly spaced steps take 16
    bytes altogether. So a row costs 16 to 48 bytes, 32 for a plain float64 fit.
    """
    present, narrow, parts = 0, 0, list[bytes]()
    step, even = _encode_steps(rows.step)
    for bit, name in enumerate(_COLUMNS):
        column: array[float] | None = getattr(rows, name)
        if column is None:
            continue
        present |= 1 << bit
        slim = _narrowed(column)
        if slim is not None:
            narrow |= 1 << bit
        parts.append(_little(column if slim is None else slim))
    header = _HEADER.pack(_VERSION, present | (_EVEN if even else 0), narrow, len(rows))
    return b"".join([header, step, *parts])


def decode_rows(block: bytes) -> Rows:
    """Read what encode_rows wrote.

    Raises:
        ValueError: The block was written by a later version.
    """
    version, present, narrow, count = _HEADER.unpack_from(block)
    if version != _VERSION:
        raise ValueError(f"history block of version {version}: a newer worker wrote it")
    at = _HEADER.size
    if present & _EVEN:
        first, distance = _EVEN_STEPS.unpack_from(block, at)
        at += _EVEN_STEPS.size
        step = array("q", range(first, first + count * distance, distance))
    else:
        step = _from_little("q", block[at : at + 8 * count])
        at += 8 * count
    columns: dict[str, array[float]] = {}
    for bit, name in enumerate(_COLUMNS):
        if not present >> bit & 1:
            continue
        width, code = (4, "f") if narrow >> bit & 1 else (8, "d")
        column = _from_little(code, block[at : at + width * count])
        columns[name] = column if code == "d" else array("d", column)
        at += width * count
    return Rows(step=step, **columns)


def count_rows(block: bytes) -> int:
    """Return how many rows a block holds."""
    count: int = _HEADER.unpack_from(block)[3]
    return count


def join_blocks(blocks: Iterable[bytes]) -> Rows:
    """Decode blocks of one run, oldest first, and drop rows that a repeated send holds twice."""
    parts = list[Rows]()
    last = -1
    for block in blocks:
        rows = after(decode_rows(block), last)
        if len(rows):
            parts.append(rows)
            last = rows.step[-1]
    return concatenate(parts) if parts else make_empty()


def after(rows: Rows, step: int) -> Rows:
    """Return the rows whose step is larger."""
    start = bisect_right(rows.step, step)
    return rows if start == 0 else cut(rows, start=start)


def cut(rows: Rows, *, start: int = 0, stop: int | None = None) -> Rows:
    """Return a range of rows; slices of arrays, because a history may have a million."""
    part = slice(start, stop)
    return Rows(
        step=rows.step[part],
        loss=rows.loss[part],
        a=rows.a[part],
        b=rows.b[part],
        excess_loss=None if rows.excess_loss is None else rows.excess_loss[part],
        batch_loss=None if rows.batch_loss is None else rows.batch_loss[part],
    )


def _encode_steps(step: "array[int]") -> tuple[bytes, bool]:
    if not step:
        return b"", False
    distance = step[1] - step[0] if len(step) > 1 else 1
    if _is_even(step, distance):
        return _EVEN_STEPS.pack(step[0], distance), True
    return _little(step), False


def _is_even(step: "array[int]", distance: int) -> bool:
    """Tell whether all steps lie so far apart, ten times faster than a loop over them.

    All are subtracted at once, as the digits of two large numbers: the digits of the difference can
    only be those of `distance` when each pair differs by it.
    """
    later, earlier, expected = (
        int.from_bytes(column.tobytes(), sys.byteorder)
        for column in (step[1:], step[:-1], array("q", [distance]) * (len(step) - 1))
    )
    return later - earlier == expected


def _narrowed(column: "array[float]") -> "array[float] | None":
    """Return the column as float32 when that loses no bit, NaN payloads included."""
    for part in (column[:_PROBE], column):  # most float64 columns show themselves at once
        slim = array("f", part)
        if array("d", slim).tobytes() != part.tobytes():
            return None
    return slim


def _little(column: "array[Any]") -> bytes:
    if sys.byteorder == "big":
        column = array(column.typecode, column)
        column.byteswap()
    return column.tobytes()


def _from_little(code: str, raw: bytes) -> "array[Any]":
    column: array[Any] = array(code)
    column.frombytes(raw)
    if sys.byteorder == "big":
        column.byteswap()
    return column


POSITION_BYTES: Final = 4


def encode_positions(positions: "array[int]") -> bytes:
    """Return positions of runs: little-endian, 4 bytes each."""
    return _little(positions)


def decode_positions(raw: bytes) -> "array[int]":
    """Read positions of runs, as the assembly of a job writes them."""
    return _from_little("i", raw)


# --- records ----------------------------------------------------------------------------------

_WARNINGS: Final = TypeAdapter(tuple[Warn, ...])
_ORDER_PER_MS: Final = 1000
"""A job's order is its time of creation in microseconds."""

# Fields of the hash whose text is JSON, or a number, as it stands in the record.
_AS_THEY_STAND: Final = (
    "seq",
    "attempt",
    "queued_at_ms",
    "started_at_ms",
    "finished_at_ms",
    "expires_at_ms",
    "cancel_requested_at_ms",
    "engine",
    "progress",
    "outcome",
    "error",
    "name",
    "tags",
)


def encode_frozen(
    *,
    job_id: str,
    spec_json: str,
    defaulted: Sequence[str],
    warnings: Sequence[Warn],
    rerun_of: str | None,
    extends: str | None,
) -> str:
    """Return the members of the record that never change, as JSON without the outer braces."""
    return (
        f'"id":{json.dumps(job_id)},"spec":{spec_json}'
        f',"defaulted":{json.dumps(list(defaulted))}'
        f',"warnings":{_WARNINGS.dump_json(tuple(warnings)).decode()}'
        f',"rerun_of":{json.dumps(rerun_of)}'
        f',"extends":{json.dumps(extends)}'
    )


def encode_device(device: DeviceUsed) -> str:
    """Return what was chosen at submit; worker and used device are fields of their own."""
    return device.model_dump_json(exclude={"used", "worker"})


def optimizers_of(spec: AnySpec) -> str:
    """Return the optimizers' names, comma between them, for the filter of lists."""
    if isinstance(spec, FitSpec | BatchSpec):
        return spec.optimizer.name
    return ",".join(dict.fromkeys(contender.optimizer.name for contender in spec.optimizers))


def created_at_ms(order: int) -> int:
    """Return when the job with this order was created."""
    return order // _ORDER_PER_MS


def first_order(at_ms: int) -> int:
    """Return the lowest order that a job created at this time can have."""
    return at_ms * _ORDER_PER_MS


def to_json(value: object) -> str:
    """Return a plain value as JSON text."""
    return json.dumps(value)


def pairs(flat: Sequence[Any]) -> dict[bytes, bytes]:
    """Turn the flat list that HGETALL is inside a script into a dictionary."""
    return dict(zip(flat[::2], flat[1::2], strict=True))


def decode_record(fields: Mapping[bytes, bytes]) -> JobRecord:
    """Read the record from the fields of its hash: one text, checked once."""
    used = json.dumps(_text(fields, b"used"))
    worker = json.dumps(_text(fields, b"worker"))
    device = fields[b"device"].decode().removesuffix("}")
    members = [
        fields[b"frozen"].decode(),
        f'"status":"{fields[b"status"].decode()}"',
        f'"created_at_ms":{created_at_ms(int(fields[b"order"]))}',
        f'"device":{device},"used":{used},"worker":{worker}}}',
    ]
    members += [
        f'"{name}":{fields[name.encode()].decode()}'
        for name in _AS_THEY_STAND
        if name.encode() in fields
    ]
    return JobRecord.model_validate_json("{" + ",".join(members) + "}")


def _text(fields: Mapping[bytes, bytes], name: bytes) -> str | None:
    value = fields.get(name)
    return None if value is None else value.decode()


def decode_event(entry_id: bytes, fields: Mapping[bytes, bytes]) -> Event:
    """Read one entry of the event stream."""
    return Event(
        seq=int(entry_id.split(b"-")[0]),
        type=EventType(fields[b"type"].decode()),
        at_ms=int(fields[b"at"]),
        data=json.loads(fields[b"data"]),
    )
