"""Celery's consumer with shorter pauses: it finds a Redis that is back within a second or so."""

import random
from functools import partial
from typing import Any, Final

from celery.worker import consumer

LONGEST_PAUSE_SECONDS: Final = 1.0
"""Celery's own rises from 2 s to 30 s: a worker would go on sleeping beside a Redis that is back."""

_Consumer: Any = consumer.Consumer  # Celery's own types do not have it


class Consumer(_Consumer):  # type: ignore[misc]
    """What takes wake-ups off the broker; named in the setting worker_consumer."""

    def ensure_connected(self, conn: Any) -> Any:  # noqa: ANN401  # kombu's connection, untyped
        """Try for ever to connect.

        Args:
            conn: A connection that has not been made yet.
        """
        # Jitter, so that workers that lost Redis together do not all come back together.
        step = random.uniform(0.1, 0.3)  # noqa: S311  # no secret
        conn.ensure_connection = partial(
            conn.ensure_connection,
            interval_start=step,
            interval_step=step,
            interval_max=LONGEST_PAUSE_SECONDS,
        )
        celery: Any = super()
        return celery.ensure_connected(conn)
