"""Reads parts of a batch's stored series: the names, the points of one; it knows no job."""

import json
from array import array
from typing import Any, Final

from app.domain.data import Columns
from app.domain.series import HEADER_BYTES, Layout, from_little, layout_of

_ALL: Final = -1


async def read_names(redis: Any, key: str) -> tuple[str, ...] | None:  # noqa: ANN401  # see JobStore
    """Return the names of the series; None when they have none, or nothing is stored."""
    layout = await _layout(redis, key)
    if layout is None:
        return None
    raw = await redis.getrange(key, layout.names, _ALL)
    return tuple(json.loads(raw)) if raw else None


async def read_one(redis: Any, key: str, *, run: int) -> Columns | None:  # noqa: ANN401  # see JobStore
    """Return the points of one series; None when nothing is stored."""
    layout = await _layout(redis, key)
    if layout is None:
        return None
    end = layout.lengths + 4 * (run + 1)
    lengths: array[int] = from_little("i", await redis.getrange(key, layout.lengths, end - 1))
    start, count = sum(lengths[:run]), lengths[run]
    x, y = [
        from_little("d", await redis.getrange(key, first, first + 8 * count - 1))
        for first in (layout.x + 8 * start, layout.y + 8 * start)
    ]
    return Columns.model_construct(x=x, y=y)


async def _layout(redis: Any, key: str) -> Layout | None:  # noqa: ANN401  # see JobStore
    header = await redis.getrange(key, 0, HEADER_BYTES - 1)
    return layout_of(header) if header else None
