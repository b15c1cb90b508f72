"""The send-only side of Celery: wakes workers; what they then run stands in the store.

A message carries nothing but the name of the queue. It may be lost or repeated at will: the
claim takes the next ready job, and recovery sends what is missing.
"""

import logging
import threading
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, Protocol
from urllib.parse import parse_qs, quote, urlsplit

from celery import Celery
from kombu import Connection, Queue
from kombu.utils.json import dumps
from redis.backoff import NoBackoff
from redis.retry import Retry

from app.log import fields
from app.redis_url import Sentinels, parse_sentinels
from app.settings import Settings

MAX_UNSENT: Final = 16
"""Wake-ups of one process that may wait for a slow broker; recovery asks for no more either."""

TASK_NAME: Final = "fitjobs.wake"
QUEUES: Final = ("cpu", "cuda")

_BROKER_SECONDS: Final = 2
"""To connect, and for every answer: longer than kombu lets Redis hold a BRPOP, which is 1 s."""
_LOOK_SECONDS: Final = 2

_LOG = logging.getLogger(__name__)


_MEMORY: Final = "memory://"

WakeText = Callable[[str], bytes]
"""Returns the text of a fresh wake-up of a queue."""


class Wake(Protocol):
    """Tells one worker of a queue that a job may be ready."""

    def __call__(self, queue: str) -> None:
        """Send a wake-up, or lose it."""
        ...


def celery_settings(settings: Settings, url: str) -> dict[str, Any]:
    """Return the Celery settings that sender and worker share.

    Args:
        settings: Names the namespace of the broker's keys.
        url: The Redis that holds the jobs; the wake-ups share its fate.
    """
    return {
        "broker_url": broker_url(url),
        # A wake-up is gone once it is read: kombu would note it as unacknowledged, which a Redis
        # without memory refuses, and the worker would end of that with every job in its hands.
        "task_queues": [Queue(name, no_ack=True) for name in QUEUES],
        "task_default_queue": "cpu",
        "task_create_missing_queues": False,
        "task_serializer": "json",
        "accept_content": ["json"],
        # The job's record is the result; Celery's own would be a second truth.
        "task_ignore_result": True,
        "result_backend": None,
        # A submit must not wait for the broker: recovery sends what is lost.
        "task_publish_retry": False,
        "broker_connection_timeout": _BROKER_SECONDS,
        "broker_transport_options": {
            "global_keyprefix": f"{{{settings.namespace}}}:celery:",
            # Without a timeout a message to a host that has vanished waits for TCP to give up.
            "socket_timeout": _BROKER_SECONDS,
            "socket_connect_timeout": _BROKER_SECONDS,
            # A silent BRPOP is dropped after about 1 + 2 x this many seconds (kombu 5.7).
            "health_check_interval": _LOOK_SECONDS,
            **_sentinel_options(parse_sentinels(url)),
        },
    }


def _sentinel_options(known: Sentinels | None) -> dict[str, Any]:
    if known is None:
        return {}
    each = _BROKER_SECONDS / len(known.addresses)
    return {
        "master_name": known.service,
        "sentinel_kwargs": {
            "socket_timeout": each,
            "socket_connect_timeout": each,
            # Not redis-py's ten times: kombu asks again itself.
            "retry": Retry(NoBackoff(), 0),
            "username": known.sentinel_username,
            "password": known.sentinel_password,
        },
    }


def broker_url(url: str) -> str:
    """Return the same Redis as kombu spells it.

    unix:///p.sock?db=1 is a scheme of its own there, and each Sentinel has a URL of its own.
    """
    known = parse_sentinels(url)
    if known is not None:
        return _sentinel_urls(known)
    parts = urlsplit(url)
    if parts.scheme != "unix":
        return url
    database = parse_qs(parts.query).get("db", ["0"])[0]
    credentials = f"{parts.netloc}" if parts.netloc else ""
    return f"redis+socket://{credentials}{parts.path}?virtual_host={database}"


def _sentinel_urls(known: Sentinels) -> str:
    login = ""
    if known.password is not None:
        login = f"{quote(known.username or '', safe='')}:{quote(known.password, safe='')}@"
    return ";".join(
        f"sentinel://{login}{f'[{host}]' if ':' in host else host}:{port}/{known.database}"
        for host, port in known.addresses
    )


def make_queue(settings: Settings, url: str) -> Celery:
    """Return a Celery app that can only send.

    Args:
        settings: Names the namespace.
        url: The Redis that holds the jobs; the wake-ups share its fate.
    """
    queue = Celery("fitjobs", set_as_current=False)
    queue.conf.update(celery_settings(settings, url))
    return queue


def send_wake(queue: Celery, name: str) -> None:
    """Send one wake-up; a broker that is away is logged, not raised.

    Args:
        queue: From make_queue.
        name: "cpu" or "cuda".
    """
    try:
        queue.send_task(TASK_NAME, queue=name, ignore_result=True, retry=False)
    except Exception as error:  # noqa: BLE001  # kombu raises whatever its transport raises
        _LOG.warning("queue.wake_lost", extra=fields(queue=name, error=type(error).__name__))


def make_wake_texts(queue: Celery) -> WakeText:
    """Return what writes wake-ups as Celery would, for scripts that put one into Celery's own list.

    Celery is asked once a queue, by sending through a broker in memory; only the two ids in the
    text, the task's and the message's, are made anew for each.

    Args:
        queue: From make_queue; it is not connected by this.
    """
    task, tag = (str(uuid.uuid4()) for _ in range(2))
    patterns: dict[str, bytes] = {}
    with Connection(_MEMORY) as connection:
        channel: Any = connection.default_channel  # kombu's own types do not have it
        for name in QUEUES:
            queue.send_task(
                TASK_NAME, queue=name, ignore_result=True, connection=connection, task_id=task
            )
            message = channel._get(name)  # noqa: SLF001  # what a transport is made of
            message["properties"]["delivery_tag"] = tag
            patterns[name] = dumps(message).encode()

    def write(name: str) -> bytes:
        fresh = patterns[name].replace(task.encode(), str(uuid.uuid4()).encode())
        return fresh.replace(tag.encode(), str(uuid.uuid4()).encode())

    return write


class Waker:
    """Sends wake-ups from a thread of its own, so that the event loop never waits for a broker."""

    def __init__(self, queue: Celery) -> None:
        self._queue = queue
        self._sender = ThreadPoolExecutor(max_workers=1, thread_name_prefix="wake")
        self._room = threading.Semaphore(MAX_UNSENT)

    def __call__(self, queue: str) -> None:
        """Send one wake-up soon, or drop it when many wait: recovery sends what is missing."""
        if not self._room.acquire(blocking=False):
            return
        try:
            sending = self._sender.submit(send_wake, self._queue, queue)
        except RuntimeError:
            # Closed: recovery wakes a worker for the job that was just accepted.
            self._room.release()
        else:
            sending.add_done_callback(lambda _: self._room.release())

    def close(self) -> None:
        """Drop what has not been sent and give the connection back."""
        self._sender.shutdown(wait=True, cancel_futures=True)
        self._queue.close()
