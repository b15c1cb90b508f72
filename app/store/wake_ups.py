"""How many wake-ups wait in Celery's lists; it neither sends nor takes one."""

from typing import Any, Final

from redis import Redis

from app.settings import Settings
from app.store.connect import translate_errors
from app.store.keys import Keys

MOST_WAKE_UPS: Final = 16
"""In a queue's list: each serves jobs until none is ready, so more only cost the workers time."""


class WakeUps:
    """Celery's lists as Redis shows them.

    Args:
        redis: Its own connection.
        settings: Names the namespace.
    """

    def __init__(self, redis: Redis, settings: Settings) -> None:
        self._redis: Any = redis  # redis-py's own types are partly unknown
        self._keys = Keys(settings.namespace)

    def count(self, queue: str) -> int:
        """Return how many messages nobody has taken yet.

        Args:
            queue: "cpu" or "cuda".

        Raises:
            StoreUnavailable: Redis does not answer.
        """
        with translate_errors():
            return int(self._redis.llen(self._keys.wake_ups(queue)))
