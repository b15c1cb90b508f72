"""A worker whose shards take their time: `celery --app tests.acceptance.slow_shards worker`.

Jobs of many runs are computed by a scripted engine, a fifth of a second a shard, so that a test can
meet one in the middle. The rest is the real worker.
"""

import time
from typing import Any

from tests.unit.worker.scripted import ScriptedMany
from worker import tasks
from worker.engine.rules.kernels import Kernels
from worker.engine.torch_engine import TorchEngine
from worker.main import app

__all__ = ["app"]

BLOCK_SECONDS = 0.05


class SlowEngine:
    """The real engine for fits, the scripted one for many runs."""

    def __init__(self, *, kernels: Kernels | None = None) -> None:
        engine = TorchEngine(kernels=kernels)
        self.prepare, self.warm = engine.prepare, engine.warm
        slow = ScriptedMany(between=lambda _run, _number: time.sleep(BLOCK_SECONDS))
        self.prepare_many: Any = slow.prepare_many


tasks.TorchEngine = SlowEngine  # type: ignore[misc,assignment]
