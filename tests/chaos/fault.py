"""The faults that can be made to a stack, each with the way to undo it."""

import os
import signal
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from random import Random
from typing import Final, Literal

from tests.chaos.ledger import Hits
from tests.chaos.stack import (
    NothingThere,
    Stack,
    signal_group,
    signal_process,
    wait_until_gone,
)

Heal = Callable[[], None]
Strike = Callable[[Stack, Random], Heal]

DEPLOY_GRACE_SECONDS: Final = 5.0
"""How long a deploy lets a worker stop by itself before it kills it."""
LONGER_THAN_A_LEASE: Final = (6.0, 8.0)
"""The default lease is 4 s."""
_CUT_PATIENCE_SECONDS: Final = 60.0
"""The API asks for a round of recovery each second, once it lives."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """Something that goes wrong.

    Attributes:
        name: As the table names it.
        hits: What it takes away.
        strike: Makes it and returns what undoes it.
        lasts: Fewest and most seconds between the two.
    """

    name: str
    hits: Hits
    strike: Strike
    lasts: tuple[float, float] = (0.0, 0.0)


def _nothing() -> None:
    """Undo a fault that needs no undoing."""


def kill_child(stack: Stack, random: Random) -> Heal:
    """Kill -9 one process that computes.

    Raises:
        NothingThere: There is none at the moment.
    """
    signal_process(_any_child(stack, random), signal.SIGKILL)
    return _nothing


def kill_worker(stack: Stack, _random: Random) -> Heal:
    """Kill -9 Celery's parent and all its children at once."""
    signal_group(stack.worker(), signal.SIGKILL)
    return _nothing


def kill_worker_parent(stack: Stack, _random: Random) -> Heal:
    """Kill -9 Celery's parent alone: its children are left behind."""
    os.kill(stack.worker(), signal.SIGKILL)
    return _nothing


def deploy_worker(stack: Stack, _random: Random) -> Heal:
    """Stop a worker as a deploy does: SIGTERM, then SIGKILL when its grace is over."""
    worker = stack.worker()
    signal_process(worker, signal.SIGTERM)

    def lose_patience() -> None:
        if not wait_until_gone(worker, seconds=DEPLOY_GRACE_SECONDS):
            signal_group(worker, signal.SIGKILL)

    return lose_patience


def freeze_child(stack: Stack, random: Random) -> Heal:
    """Stop one process that computes for longer than its lease, then let it go on.

    Raises:
        NothingThere: There is none at the moment.
    """
    child = _any_child(stack, random)
    signal_process(child, signal.SIGSTOP)
    return lambda: signal_process(child, signal.SIGCONT)


def freeze_worker(stack: Stack, _random: Random) -> Heal:
    """Stop the whole worker for longer than its leases, then let it go on."""
    worker = stack.worker()
    signal_group(worker, signal.SIGSTOP)
    return lambda: signal_group(worker, signal.SIGCONT)


def kill_api(stack: Stack, _random: Random) -> Heal:
    """Kill -9 the API."""
    os.kill(stack.api(), signal.SIGKILL)
    return _nothing


def deploy_api(stack: Stack, _random: Random) -> Heal:
    """Stop the API as a deploy does."""
    os.kill(stack.api(), signal.SIGTERM)
    return _nothing


def freeze_api(stack: Stack, _random: Random) -> Heal:
    """Stop the API, then let it go on."""
    api = stack.api()
    signal_process(api, signal.SIGSTOP)
    return lambda: signal_process(api, signal.SIGCONT)


def kill_redis(stack: Stack, _random: Random) -> Heal:
    """Kill -9 Redis, and start it again on its own file."""
    stack.kill_redis()
    return stack.start_redis


def freeze_redis(stack: Stack, _random: Random) -> Heal:
    """Stop Redis, then let it go on."""
    redis = stack.redis()
    signal_process(redis, signal.SIGSTOP)
    return lambda: signal_process(redis, signal.SIGCONT)


def drop_connections(stack: Stack, _random: Random) -> Heal:
    """Close every connection to Redis; new ones are taken."""
    stack.proxy.drop()
    return _nothing


def refuse_connections(stack: Stack, _random: Random) -> Heal:
    """Close every connection to Redis, and each new one."""
    stack.proxy.refuse()
    return stack.proxy.allow


def swallow_packets(stack: Stack, _random: Random) -> Heal:
    """Let nothing pass to or from Redis and close nothing."""
    stack.proxy.freeze()
    return stack.proxy.thaw


def lose_request(stack: Stack, _random: Random) -> Heal:
    """Cut the next script's connection before Redis has seen it."""
    return _cut(stack, "before")


def lose_answer(stack: Stack, _random: Random) -> Heal:
    """Cut the next script's connection when Redis has done it: the answer is lost."""
    return _cut(stack, "after")


FAULTS: Final = (
    Fault(name="kill -9 a worker child", hits=Hits.WORKER, strike=kill_child),
    Fault(name="kill -9 the whole worker", hits=Hits.WORKER, strike=kill_worker),
    Fault(name="kill -9 the worker's parent", hits=Hits.WORKER, strike=kill_worker_parent),
    Fault(name="deploy: SIGTERM the worker", hits=Hits.WORKER, strike=deploy_worker),
    Fault(
        name="freeze a worker child",
        hits=Hits.WORKER,
        strike=freeze_child,
        lasts=LONGER_THAN_A_LEASE,
    ),
    Fault(
        name="freeze the whole worker",
        hits=Hits.WORKER,
        strike=freeze_worker,
        lasts=LONGER_THAN_A_LEASE,
    ),
    Fault(name="kill -9 the API", hits=Hits.API, strike=kill_api),
    Fault(name="deploy: SIGTERM the API", hits=Hits.API, strike=deploy_api),
    Fault(name="freeze the API", hits=Hits.API, strike=freeze_api, lasts=(1.0, 4.0)),
    Fault(name="kill -9 Redis", hits=Hits.REDIS, strike=kill_redis, lasts=(0.2, 4.0)),
    Fault(name="freeze Redis", hits=Hits.REDIS, strike=freeze_redis, lasts=(0.5, 7.0)),
    Fault(name="drop connections", hits=Hits.REDIS, strike=drop_connections),
    Fault(name="refuse connections", hits=Hits.REDIS, strike=refuse_connections, lasts=(0.5, 4.0)),
    Fault(name="swallow packets", hits=Hits.REDIS, strike=swallow_packets, lasts=(0.5, 7.0)),
    Fault(name="lose a request", hits=Hits.REDIS, strike=lose_request),
    Fault(name="lose an answer", hits=Hits.REDIS, strike=lose_answer),
)


def _any_child(stack: Stack, random: Random) -> int:
    children = stack.worker_children()
    if not children:
        raise NothingThere("the worker's children are being started again")
    return random.choice(children)


def _cut(stack: Stack, when: Literal["before", "after"]) -> Heal:
    stack.proxy.cut(b"EVALSHA", when=when)
    return partial(stack.proxy.wait_until_cut, seconds=_CUT_PATIENCE_SECONDS)
