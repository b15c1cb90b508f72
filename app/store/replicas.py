"""Waits until replicas have what was written, so that a failover does not lose what was told.

It does not know what was written.
"""

from typing import Any, Final

from app.domain.errors import StoreUnavailable
from app.settings import Settings
from app.store.keys import Keys

_SHARE: Final = 0.75
"""Of store_timeout_seconds: Redis says that too few have it before the client gives up on Redis."""

# WAIT and WAITAOF wait for the last write of their own connection. A script that found a job which
# another connection had made has written nothing, and would be told of the connection's writes
# before that. So something is always written in front of them; a command that is refused when
# Redis is full, or that the append-only file leaves out (PUBLISH), does not serve.
_MARK: Final = "#!lua flags=allow-oom\nredis.call('SET', KEYS[1] .. 'mark', '', 'PX', 1000)"


class Replicas:
    """What a change that a client is told of waits for.

    Args:
        keys: Names the namespace.
        settings: How many, and how long.
    """

    def __init__(self, keys: Keys, settings: Settings) -> None:
        self._prefix = keys.prefix
        self._fewest = settings.min_replicas
        self._seconds = settings.store_timeout_seconds * _SHARE

    @property
    def are_asked(self) -> bool:
        """Tell whether anything waits for replicas at all."""
        return self._fewest > 0

    def follow(self, pipe: Any) -> None:  # noqa: ANN401  # redis-py's own types are partly unknown
        """Put the question behind the write in a pipeline: it counts on its own connection only.

        Args:
            pipe: Not a transaction, where nothing can wait.
        """
        half = round(self._seconds * 500)
        pipe.eval(_MARK, 1, self._prefix)
        # In memory first. Alone, WAITAOF would reach a replica together with the write and be
        # answered before its fsync; the next answer comes a second later (Redis 8.2).
        pipe.execute_command("WAIT", self._fewest, half)
        # Then on the disk of this Redis and of so many replicas.
        pipe.execute_command("WAITAOF", 1, self._fewest, half)

    def check(self, mark: Any, in_memory: Any, on_disk: Any) -> None:  # noqa: ANN401  # or errors
        """Look at the three answers.

        Args:
            mark: Of the mark.
            in_memory: Of WAIT.
            on_disk: Of WAITAOF; an error before Redis 7.2, and without an append-only file: then to
                have it in memory is all that can be asked.

        Raises:
            StoreUnavailable: Fewer replicas than settings.min_replicas have the write, or Redis
                cannot ask them.
        """
        for answer in (mark, in_memory):
            if isinstance(answer, Exception):
                raise StoreUnavailable(
                    f"The change was made, but Redis does not say whether replicas have it: {answer}"
                ) from answer
        local, replicas = (1, in_memory) if isinstance(on_disk, Exception) else on_disk
        if local < 1 or replicas < self._fewest:
            raise StoreUnavailable(
                f"The change was made, but fewer than {self._fewest} replicas have it after "
                f"{self._seconds:g} s, so it may be lost: repeat the request, a submit with the "
                "same Idempotency-Key or id",
                retry_after_seconds=1,
            )
