"""A worker whose jobs can be poison: `celery --app tests.acceptance.poison worker`.

A job that is named "poison HOW WHEN" does HOW ("segfault", "kill", "exit", "hang", "hold", "hoard")
at step WHEN, or while it is prepared when that is "prepare". The rest is the real worker.
"""

import ctypes
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from itertools import count
from typing import Any

from app.domain.data import Columns
from app.domain.spec import ComparisonSpec, FitSpec
from worker import tasks
from worker.contract import Block, Prepared
from worker.engine.rules.kernels import Kernels
from worker.engine.torch_engine import TorchEngine
from worker.main import app

__all__ = ["app"]

_FOR_EVER = 10_000


def _hoard() -> None:
    held: list[bytearray] = []
    while True:
        held.append(bytearray(16 * 1024 * 1024))


ACTS: dict[str, Callable[[], object]] = {
    "segfault": lambda: ctypes.string_at(0),
    "kill": lambda: os.kill(os.getpid(), signal.SIGKILL),
    "exit": lambda: sys.exit(3),
    "_exit": lambda: os._exit(3),
    # In C, without the GIL and with it.
    "hang": lambda: time.sleep(_FOR_EVER),
    "hold": lambda: ctypes.PyDLL(None).sleep(_FOR_EVER),
    "hoard": _hoard,
}


class _Run:
    """A run of the real engine, with one step a block, that comes to its poison."""

    def __init__(self, run: Any, act: Callable[[], object], step: int) -> None:
        self._run = run
        self._act = act
        self._step = step

    def __getattr__(self, name: str) -> Any:
        return getattr(self._run, name)

    def blocks(self, breathe: Callable[[], None] = lambda: None) -> Iterator[Block]:
        for block in self._run.blocks(breathe):
            if block.step >= self._step:
                self._act()
            yield block


class PoisonEngine:
    """The real engine, but for jobs that are named "poison ..."."""

    def __init__(self, *, kernels: Kernels | None = None) -> None:
        self._engine = TorchEngine(kernels=kernels)
        ticks = count()
        self._stepwise = TorchEngine(clock=lambda: float(next(ticks)))
        self.prepare_many, self.warm = self._engine.prepare_many, self._engine.warm

    def prepare(
        self, spec: FitSpec | ComparisonSpec, *, columns: Columns | None, device: str
    ) -> Prepared:
        word, *rest = (spec.name or "-").split()
        if word != "poison":
            return self._engine.prepare(spec, columns=columns, device=device)
        act, when = ACTS[rest[0]], rest[1]
        if when == "prepare":
            act()
        prepared = self._stepwise.prepare(spec, columns=columns, device=device)
        runs = tuple(_Run(run, act, int(when)) for run in prepared.runs)
        return _Poisoned(prepared, runs)


class _Poisoned:
    """What was prepared, with other runs."""

    def __init__(self, prepared: Prepared, runs: tuple[_Run, ...]) -> None:
        self._prepared = prepared
        self.runs = runs

    def __getattr__(self, name: str) -> Any:
        return getattr(self._prepared, name)


tasks.TorchEngine = PoisonEngine  # type: ignore[misc,assignment]
