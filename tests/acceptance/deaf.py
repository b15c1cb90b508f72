"""A worker that goes deaf: `celery --app tests.acceptance.deaf worker`, HOW in DEAF.

After its first message its consumer takes no more: "cancelled" leaves Celery's loop alive without
anything to read, "stuck" holds the loop itself up for ever. The rest is the real worker.
"""

import os
import time
from typing import Any

from celery import signals

from worker.main import app

__all__ = ["app"]

_CONSUMERS: list[Any] = []


@signals.worker_ready.connect
def _remember(sender: Any, **_: object) -> None:
    _CONSUMERS.append(sender)


@signals.task_received.connect
def _go_deaf(**_: object) -> None:
    consumer = _CONSUMERS[0]
    if os.environ["DEAF"] == "cancelled":
        consumer.task_consumer.cancel()
    else:
        consumer.hub.call_later(0.5, time.sleep, 10_000)
