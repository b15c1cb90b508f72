"""What goes into Redis comes back the same, bit for bit."""

import math
import struct
from array import array

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.data import Columns, Generated, Generator, JobData
from app.domain.history import Rows
from app.domain.job import JobRecord, Status, Warn
from app.domain.optimizers import OPTIMIZERS
from app.domain.result import DeviceUsed, Point
from app.domain.spec import ComparisonSpec, FitSpec, Start, Stop
from app.store import codec
from tests.store.samples import ENGINE, FAILURE, make_outcome, make_progress, make_rows

_DOUBLES = st.floats(width=64)
_SINGLES = st.floats(width=32)


@st.composite
def rows(draw: st.DrawFn) -> Rows:
    steps = draw(
        st.one_of(
            st.builds(
                lambda first, count, distance: list(
                    range(first, first + count * distance, distance)
                ),
                st.integers(0, 10**9),
                st.integers(0, 20),
                st.integers(1, 10**6),
            ),
            st.sets(st.integers(0, 2**62), max_size=20).map(sorted),
        )
    )

    def column() -> "array[float]":
        numbers = draw(st.sampled_from([_DOUBLES, _SINGLES]))
        size = len(steps)
        return array("d", draw(st.lists(numbers, min_size=size, max_size=size)))

    return Rows(
        step=array("q", steps),
        loss=column(),
        a=column(),
        b=column(),
        excess_loss=column() if draw(st.booleans()) else None,
        batch_loss=column() if draw(st.booleans()) else None,
    )


def _bits(given: Rows) -> dict[str, bytes]:
    """Return the columns as bytes: NaN is not equal to itself."""
    return {name: column.tobytes() for name, column in given.columns().items()}


@given(rows())
def test_rows_come_back_bit_for_bit(given_rows: Rows) -> None:
    block = codec.encode_rows(given_rows)

    assert _bits(codec.decode_rows(block)) == _bits(given_rows)
    assert codec.count_rows(block) == len(given_rows)


@given(rows(), st.integers(0, 20))
def test_blocks_that_overlap_join_without_repetition(given_rows: Rows, size: int) -> None:
    first = codec.encode_rows(codec.cut(given_rows, stop=size))
    whole = codec.encode_rows(given_rows)

    joined = codec.join_blocks([first, first, whole, first])

    assert len(joined) == len(given_rows)
    assert list(joined.step) == list(given_rows.step)


def test_a_row_of_a_plain_fit_costs_32_bytes() -> None:
    block = codec.encode_rows(make_rows(0, 10_000))

    assert len(block) == 32 * 10_000 + 24


@given(st.integers(1, 10**6), st.integers(1, 18), st.integers(1, 10**6))
def test_one_step_out_of_line_is_kept(distance: int, place: int, shift: int) -> None:
    step = array("q", range(0, 20 * distance, distance))
    # The later ones as well, half of the times: then all distances but one are the same.
    for later in range(place, 20 if shift % 2 else place + 1):
        step[later] += shift
    column = array("d", step)
    kept = codec.decode_rows(codec.encode_rows(Rows(step=step, loss=column, a=column, b=column)))

    assert kept.step == step


def test_a_column_that_came_from_float32_costs_4_bytes_a_row() -> None:
    single = array("d", array("f", [1 / 3, math.inf, math.nan, 0.1] * 250))
    block = codec.encode_rows(Rows(step=array("q", range(1000)), loss=single, a=single, b=single))

    assert len(block) == 12 * 1000 + 24


def test_a_value_beyond_float32_keeps_its_column_wide() -> None:
    wide = array("d", [1.0] * 20 + [1e300])
    given_rows = Rows(step=array("q", range(21)), loss=wide, a=wide, b=wide)

    assert codec.decode_rows(codec.encode_rows(given_rows)) == given_rows


def test_a_block_of_a_later_version_is_refused() -> None:
    block = bytearray(codec.encode_rows(make_rows(0, 3)))
    block[0] = 9

    with pytest.raises(ValueError, match="newer"):
        codec.decode_rows(bytes(block))


def test_the_byte_order_is_little_endian() -> None:
    block = codec.encode_rows(make_rows(2, 3))

    assert block[8:16] == struct.pack("<q", 2)
    assert block[24:32] == struct.pack("<d", 1 / 3)


_TEXT = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=20)
_FINITE = st.floats(-1e100, 1e100)


def _specs() -> st.SearchStrategy[FitSpec | ComparisonSpec]:
    data = st.one_of(
        st.builds(
            lambda x, y: Columns(x=array("d", [x, 1.0]), y=array("d", [y, 2.0])), _FINITE, _FINITE
        ),
        st.builds(
            lambda a, noise: Generated(generate=Generator(a=a, noise=noise, x=(0.0, 1.0))),
            _FINITE,
            st.floats(0, 1e6),
        ),
        st.just(JobData(job="job_1")),
    )
    names = st.sampled_from(sorted(OPTIMIZERS))
    shared = {
        "data": data,
        "name": st.none() | _TEXT,
        "tags": st.dictionaries(st.from_regex(r"\A[A-Za-z0-9_.-]{1,9}\Z"), _TEXT, max_size=3),
        "seed": st.integers(0, 2**63 - 1),
        "tolerance": st.floats(1e-12, 0.5),
        "init": st.just("torch") | st.builds(Start, a=st.just(1e-300), b=st.just(-0.1)),
        "stop": st.builds(Stop, loss_below=st.none() | st.floats(1e-300, 1e300)),
    }
    return st.one_of(
        st.fixed_dictionaries({**shared, "optimizer": names}).map(FitSpec.model_validate),
        st.fixed_dictionaries(
            {**shared, "optimizers": st.lists(names, min_size=1, max_size=3, unique=True)}
        ).map(ComparisonSpec.model_validate),
    )


@given(spec=_specs(), name=st.none() | _TEXT, order=st.integers(10**15, 8 * 10**15))
def test_a_record_comes_back_the_same(
    spec: FitSpec | ComparisonSpec, name: str | None, order: int
) -> None:
    record = JobRecord(
        id="job_1",
        spec=spec,
        defaulted=("data",),
        warnings=(Warn(code="slow", message='said "so"'),),
        status=Status.FAILED,
        seq=7,
        attempt=2,
        created_at_ms=order // 1000,
        queued_at_ms=2,
        started_at_ms=3,
        finished_at_ms=4,
        expires_at_ms=5,
        cancel_requested_at_ms=6,
        device=DeviceUsed(requested="auto", queue="cpu", used="cpu", worker="w", reason="{}"),
        engine=ENGINE,
        progress=make_progress(3),
        outcome=make_outcome(Point(step=1, loss=None, a=None, b=1e-308)),
        error=FAILURE,
        name=name,
        tags=spec.tags,
    )

    assert codec.decode_record(_fields_of(record, order=order)) == record


def _fields_of(record: JobRecord, *, order: int) -> dict[bytes, bytes]:
    """Return the hash as the scripts would have written it."""
    frozen = codec.encode_frozen(
        job_id=record.id,
        spec_json=record.spec.model_dump_json(),
        defaulted=record.defaulted,
        warnings=record.warnings,
        rerun_of=record.rerun_of,
        extends=record.extends,
    )
    texts: dict[str, object] = {
        "frozen": frozen,
        "status": record.status.value,
        "order": order,
        "device": codec.encode_device(record.device),
        "used": record.device.used,
        "worker": record.device.worker,
        "name": codec.to_json(record.name),
        "tags": codec.to_json(record.tags),
        "a_field_of_a_later_release": "ignored",
    }
    for name in ("engine", "progress", "outcome", "error"):
        texts[name] = getattr(record, name).model_dump_json()
    for name in ("seq", "attempt"):
        texts[name] = getattr(record, name)
    for name in ("queued", "started", "finished", "expires", "cancel_requested"):
        texts[f"{name}_at_ms"] = getattr(record, f"{name}_at_ms")
    return {name.encode(): str(text).encode() for name, text in texts.items()}
