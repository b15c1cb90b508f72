"""A loss history of 20,000 rows: writing it for the store and for a client, and its size."""

import math
from array import array
from typing import Final

from app.api.answer import render
from app.api.columns import to_columns
from app.domain.history import Rows
from app.store.codec import encode_rows
from benchmarks.alternate import Candidate, alternate
from benchmarks.table import Row
from benchmarks.verdict import below, in_words

ROWS: Final = 20_000
_MOST_SECONDS: Final = 1e-3
_MOST_BYTES: Final = 16.0


def make_rows(count: int) -> Rows:
    """Return a history as a float64 fit leaves it: no column is short of digits."""
    steps = range(count)
    decay = [math.exp(-step / 2_000) for step in steps]
    return Rows(
        step=array("q", steps),
        loss=array("d", [0.01 + value * value for value in decay]),
        a=array("d", [2.0 - 1.7 * value for value in decay]),
        b=array("d", [1.0 - 1.4 * value for value in decay]),
        excess_loss=array("d", [value * value for value in decay]),
    )


def measure(*, quick: bool) -> list[Row]:
    """Return the rows of encoding and of size."""
    rows = make_rows(ROWS)
    timings = alternate(
        [
            Candidate(name="store", call=lambda _: encode_rows(rows), units=1),
            Candidate(name="JSON", call=lambda _: render(to_columns(rows), pretty=False), units=1),
        ],
        rounds=3 if quick else 9,
    )
    block = encode_rows(rows)
    answer = render(to_columns(rows), pretty=False)
    return [
        *(
            below(
                f"encode {ROWS:,} rows of history {words}",
                timings.seconds(name),
                most=_MOST_SECONDS,
                shown="1 ms",
                measured=f"{in_words(timings.seconds(name))}, {size / 1e6:.2f} MB",
            )
            for name, words, size in (
                ("store", "for the store", len(block)),
                ("JSON", "as JSON, five columns", len(answer)),
            )
        ),
        below(
            "stored size of a float64 row (loss, excess loss, a, b)",
            len(block) / ROWS,
            most=_MOST_BYTES,
            shown=f"{_MOST_BYTES:g} bytes",
            measured=f"{len(block) / ROWS:.1f} bytes",
        ),
    ]
