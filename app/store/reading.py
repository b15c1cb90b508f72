"""Reads a run's history back: blocks by step, and the best row where recording left it out."""

import math
from array import array
from bisect import bisect_left
from typing import Any, Final

from redis.asyncio import Redis

from app.domain.history import Rows, concatenate
from app.domain.outcome import Outcome
from app.domain.result import Point
from app.store import codec

_BLOCKS_AT_ONCE: Final = 200


async def read_blocks(
    redis: Redis, key: str, *, after_step: int, limit: int | None
) -> tuple[Rows, bool]:
    """Return rows after a step, and whether they reach to the end of what is recorded.

    More rows than the limit may come back: blocks are not cut.

    Args:
        redis: The service's client.
        key: Stream of blocks.
        after_step: Rows up to this step are left out.
        limit: Read no further block once so many rows are there.
    """
    client: Any = redis  # redis-py's own types are partly unknown
    blocks, count = list[bytes](), 0
    # The id of a block is its last step + 1, so this skips blocks that hold nothing new.
    start = f"{max(after_step, -1) + 2}-0"
    while True:
        entries = await client.xrange(key, min=start, count=_BLOCKS_AT_ONCE)
        for _, fields in entries:
            blocks.append(fields[b"rows"])
            count += codec.count_rows(fields[b"rows"])
        is_whole = len(entries) < _BLOCKS_AT_ONCE
        # The first block may begin before after_step, so it does not count.
        if is_whole or (limit is not None and count - codec.count_rows(blocks[0]) >= limit):
            return codec.after(codec.join_blocks(blocks), after_step), is_whole
        start = f"({entries[-1][0].decode()}"


def merge_best(rows: Rows, outcome: Outcome, *, run: int, after_step: int, is_whole: bool) -> Rows:
    """Insert the run's best row at its place, unless it is there or lies outside these rows."""
    best = next((result.best for result in outcome.runs if result.run == run), None)
    if best is None or best.step <= after_step or not len(rows):
        return rows
    place = bisect_left(rows.step, best.step)
    if place == len(rows):
        if not is_whole:
            return rows
    elif rows.step[place] == best.step:
        return rows
    before, behind = codec.cut(rows, stop=place), codec.cut(rows, start=place)
    return concatenate([before, _row_of(best, like=rows), behind])


def _row_of(point: Point, *, like: Rows) -> Rows:
    def column(value: float | None) -> "array[float]":
        return array("d", [math.nan if value is None else value])

    return Rows(
        step=array("q", [point.step]),
        loss=column(point.loss),
        a=column(point.a),
        b=column(point.b),
        excess_loss=None if like.excess_loss is None else column(point.excess_loss),
        # Not kept for single rows: no update's batch is known here.
        batch_loss=None if like.batch_loss is None else column(None),
    )
