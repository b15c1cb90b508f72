"""Keeps the last jobs' points and exact answers: the same data are not drawn and solved twice."""

import hashlib
from collections import OrderedDict
from typing import Final

import torch

from app.domain.data import Columns, Generated, Preset, StoredColumns
from app.domain.spec import ComparisonSpec, FitSpec
from worker.engine.problem import Task, load

MAX_BYTES: Final = 32 * 1024 * 1024
"""Points of all tasks kept: two with a million float64 points; half of what a worker may take."""

Key = tuple[str, str, str, str, int]


class TaskCache:
    """Loads a task or takes it from those that it keeps, the longest unused of which go first.

    Runs share a task's tensors, within a job as between jobs: nobody may write into them.

    Args:
        max_bytes: Of all points kept; a task larger than that is not kept.
    """

    def __init__(self, *, max_bytes: int = MAX_BYTES) -> None:
        self._max_bytes = max_bytes
        self._tasks: OrderedDict[Key, Task] = OrderedDict()

    def load(
        self, spec: FitSpec | ComparisonSpec, *, columns: Columns | None, device: torch.device
    ) -> Task:
        """Return what `load` would.

        Args:
            spec: What to run.
            columns: The points when the spec only names them.
            device: Where the loop will run.

        Raises:
            EngineFault: The points do not fit the dtype.
        """
        key = key_of(spec, columns=columns, device=device)
        task = self._tasks.get(key)
        if task is None:
            task = load(spec, columns=columns, device=device)
        self._tasks[key] = task
        self._tasks.move_to_end(key)
        while sum(map(_size_of, self._tasks.values())) > self._max_bytes:
            self._tasks.popitem(last=False)
        return task


def key_of(spec: FitSpec | ComparisonSpec, *, columns: Columns | None, device: torch.device) -> Key:
    """Return all that a task depends on: the data, their dtype and place, the start and its seed."""
    data = spec.data
    match data:
        case Preset() | Generated():
            points = data.model_dump_json()
        case StoredColumns():
            # Of the very bytes that Columns.to_bytes gives.
            points = data.sha256
        case _:
            found = data if columns is None else columns
            raw = found.to_bytes() if isinstance(found, Columns) else b""
            points = hashlib.sha256(raw).hexdigest()
    start = spec.init if isinstance(spec.init, str) else spec.init.model_dump_json()
    return (points, spec.dtype, str(device), start, spec.seed)


def _size_of(task: Task) -> int:
    return sum(part.numel() * part.element_size() for part in (task.x, task.y))
