"""Loads the Lua scripts: every change of a job is one of them, so it happens whole or not at all."""

from functools import cache
from importlib import resources
from typing import Any, Final

from redis import Redis
from redis.asyncio import Redis as AsyncRedis
from redis.commands.core import AsyncScript, Script
from redis.exceptions import MasterDownError, NoScriptError, ReadOnlyError

from app.settings import Settings
from app.store.connect import translate_errors
from app.store.keys import Keys
from app.store.replicas import Replicas

Argument = str | bytes | int | float

TOMBSTONE_SECONDS: Final = 7 * 86_400
"""How long after a job's end of life its id is answered by "expired" rather than "not found"."""

# The primary has become a replica: the name may lead to another server by now, but only for a new
# connection, and this one would answer like that for ever.
_DEMOTED: Final = (ReadOnlyError, MasterDownError)

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
        script = self._script(name)
        with translate_errors():
            try:
                return script(keys=self._keys, args=arguments)
            except _DEMOTED:
                self._redis.connection_pool.disconnect()
                raise

    def load(self, *names: str) -> None:
        """Have Redis learn scripts before they are run; a forgotten one is loaded again all the same.

        Raises:
            StoreUnavailable: Redis does not answer.
        """
        with translate_errors():
            for name in names:
                self._redis.script_load(self._script(name).script)

    def _script(self, name: str) -> Script:
        script = self._known.get(name)
        if script is None:
            script = self._known[name] = self._redis.register_script(source_of(name))
        return script


class AsyncScripts:
    """The same for the service, which tells clients of what it changed."""

    def __init__(self, redis: AsyncRedis, keys: Keys, settings: Settings) -> None:
        self._redis: Any = redis  # redis-py's own types are partly unknown
        self._keys = [keys.prefix]
        self._known = dict[str, AsyncScript]()
        self._replicas = Replicas(keys, settings)

    async def run(self, name: str, *arguments: Argument) -> Any:  # noqa: ANN401  # each script has its own reply
        """Run one script.

        Raises:
            StoreUnavailable: Redis does not answer or refuses to write.
        """
        with translate_errors():
            try:
                return await self._script(name)(keys=self._keys, args=arguments)
            except _DEMOTED:
                await self._redis.connection_pool.disconnect()
                raise

    async def commit(self, name: str, *arguments: Argument) -> Any:  # noqa: ANN401  # each script has its own reply
        """Run one script that a client is told of: settings.min_replicas must have what it wrote.

        One round trip, as without replicas. A worker's writes do not wait: what a failover loses of
        them is computed again, to the same bits.

        Raises:
            StoreUnavailable: As `run`; or too few replicas have it in time, though it has happened.
        """
        if not self._replicas.are_asked:
            return await self.run(name, *arguments)
        script = self._script(name)
        reply, *told = await self._follow("EVALSHA", script.sha, arguments)
        if isinstance(reply, NoScriptError):
            reply, *told = await self._follow("EVAL", script.script, arguments)
        with translate_errors():
            if isinstance(reply, _DEMOTED):
                await self._redis.connection_pool.disconnect()
            if isinstance(reply, Exception):
                raise reply
        self._replicas.check(*told)
        return reply

    async def _follow(
        self, command: str, script: Argument, arguments: tuple[Argument, ...]
    ) -> list[Any]:
        with translate_errors():
            async with self._redis.pipeline(transaction=False) as pipe:
                pipe.execute_command(command, script, len(self._keys), *self._keys, *arguments)
                self._replicas.follow(pipe)
                replies: list[Any] = await pipe.execute(raise_on_error=False)
        return replies

    def _script(self, name: str) -> Any:  # noqa: ANN401  # redis-py's own types are partly unknown
        script = self._known.get(name)
        if script is None:
            script = self._known[name] = self._redis.register_script(source_of(name))
        return script
