"""Loads the Lua scripts: every change of a job is one of them, so it happens whole or not at all."""

from functools import cache
from importlib import resources
from typing import Any, Final

from redis import Redis
from redis.asyncio import Redis as AsyncRedis
from redis.commands.core import AsyncScript, Script

from app.settings import Settings
from app.store.connect import translate_errors
from app.store.keys import Keys

Argument = str | bytes | int | float

TOMBSTONE_SECONDS: Final = 7 * 86_400
"""How long after a job's end of life its id is answered by "expired" rather than "not found"."""

_FOLDER: Final = resources.files("app.store").joinpath("lua")


@cache
def source_of(name: str) -> str:
    """Return the whole text of a script: its flags, what all scripts share, its own lines.

    `flags=allow-oom` marks those that must work when Redis is full, so that running jobs can end;
    a submit is refused then, before it has written anything. The flags need Redis 7 or Valkey.
    """
    flags, _, body = _FOLDER.joinpath(f"{name}.lua").read_text().partition("\n")
    return f"{flags}\n{_FOLDER.joinpath('prelude.lua').read_text()}\n{body}"


def times_of(settings: Settings) -> tuple[int, int, int]:
    """Return how long an ended job, its idempotency key and then its tombstone live, in ms."""
    return (
        settings.retention_seconds * 1000,
        settings.idempotency_seconds * 1000,
        TOMBSTONE_SECONDS * 1000,
    )


class Scripts:
    """The scripts as the worker calls them: EVALSHA, loaded again when Redis has forgotten."""

    def __init__(self, redis: Redis, keys: Keys) -> None:
        self._redis = redis
        self._keys = [keys.prefix]
        self._known = dict[str, Script]()

    def run(self, name: str, *arguments: Argument) -> Any:  # noqa: ANN401  # each script has its own reply
        """Run one script.

        Raises:
            StoreUnavailable: Redis does not answer or refuses to write.
        """
        script = self._known.get(name)
        if script is None:
            script = self._known[name] = self._redis.register_script(source_of(name))
        with translate_errors():
            return script(keys=self._keys, args=arguments)


class AsyncScripts:
    """The same for the service."""

    def __init__(self, redis: AsyncRedis, keys: Keys) -> None:
        self._redis = redis
        self._keys = [keys.prefix]
        self._known = dict[str, AsyncScript]()

    async def run(self, name: str, *arguments: Argument) -> Any:  # noqa: ANN401  # each script has its own reply
        """Run one script.

        Raises:
            StoreUnavailable: Redis does not answer or refuses to write.
        """
        script = self._known.get(name)
        if script is None:
            script = self._known[name] = self._redis.register_script(source_of(name))
        with translate_errors():
            return await script(keys=self._keys, args=arguments)
