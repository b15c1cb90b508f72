"""Sends commands that come in the same turn of the event loop in one write, over one connection.

Under load a write, a read and a connection are then paid once for several commands, and with fsync
always these wait for the disk together. It does not know what the commands do.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import hiredis
from redis.asyncio import Redis
from redis.exceptions import ResponseError

Word = str | bytes | int | float

_hiredis: Any = hiredis  # typed for commands of one word

MOST_AT_ONCE: Final = 64
"""Commands of one write: some 13 ms of Redis's only thread when each makes a job."""


@dataclass(frozen=True, slots=True)
class _Asked:
    """A command and who waits for it.

    Attributes:
        packed: As it goes over the wire.
        answer: What Redis says, an error as a value; cancelled when nobody waits any more.
    """

    packed: bytes
    answer: "asyncio.Future[Any]"

    def settle(self, answer: object) -> None:
        if not self.answer.done():
            self.answer.set_result(answer)


class Bundles:
    """Asks Redis on behalf of many at once.

    Args:
        redis: Whose connections are used.
    """

    def __init__(self, redis: Redis) -> None:
        self._pool: Any = redis.connection_pool  # redis-py's own types are partly unknown
        self._waiting: list[_Asked] = []
        self._under_way = set[asyncio.Task[None]]()

    async def ask(self, *words: Word) -> Any:  # noqa: ANN401  # each command has its own answer
        """Return what Redis answers to one command.

        Whoever is cancelled takes nothing from the others. What was not sent by then never is; what
        was may have happened.

        Raises:
            RedisError, OSError: What redis-py raises for the command alone; an error that Redis
                answers to one command is raised to who asked for that one.
        """
        loop = asyncio.get_running_loop()
        if not self._waiting:
            # Behind everything that is ready now, and so behind whoever else asks in this turn.
            loop.call_soon(self._send)
        asked = _Asked(_hiredis.pack_command(words), loop.create_future())
        self._waiting.append(asked)
        answer = await asked.answer
        if isinstance(answer, Exception):
            raise answer
        return answer

    def _send(self) -> None:
        wanted = [asked for asked in self._waiting if not asked.answer.done()]
        self._waiting = []
        for first in range(0, len(wanted), MOST_AT_ONCE):
            task = asyncio.ensure_future(self._exchange(wanted[first : first + MOST_AT_ONCE]))
            self._under_way.add(task)
            task.add_done_callback(self._under_way.discard)

    async def _exchange(self, bundle: Sequence[_Asked]) -> None:
        """Send a bundle and give every answer to who asked for it, as it comes."""
        try:
            connection = await self._pool.get_connection()
            try:
                await _converse(connection, bundle)
            except BaseException:
                # Answers may be on their way that nobody will read.
                await connection.disconnect(nowait=True)
                raise
            finally:
                await self._pool.release(connection)
        except Exception as error:  # noqa: BLE001  # raised by `ask`, to everyone whose answer is lost
            for asked in bundle:
                asked.settle(error)
        finally:
            for asked in bundle:
                asked.answer.cancel()


async def _converse(connection: Any, bundle: Sequence[_Asked]) -> None:  # noqa: ANN401  # as above
    await connection.send_packed_command([asked.packed for asked in bundle])
    for asked in bundle:
        try:
            answer = await connection.read_response()
        except ResponseError as refusal:
            answer = refusal
        asked.settle(answer)
