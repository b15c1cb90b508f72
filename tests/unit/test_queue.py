"""Wake-ups reach the right queue, and a broker that is away costs a submit nothing."""

import json
import logging
import os
import signal
import threading
import time
import uuid
from pathlib import Path
from typing import Any

import pytest
from redis import Redis

from app.queue import (
    MAX_UNSENT,
    QUEUES,
    TASK_NAME,
    Waker,
    broker_url,
    celery_settings,
    make_queue,
    make_wake_texts,
    send_wake,
)
from app.settings import Settings
from app.store import server
from tests.waiting import wait_until


def key_of(queue: str) -> str:
    return f"{{fit}}:celery:{queue}"


@pytest.mark.parametrize("queue", QUEUES)
def test_wake_up_carries_nothing_but_its_queue(
    redis: Redis, redis_url: str, settings: Settings, queue: str
) -> None:
    sender = make_queue(settings, redis_url)
    send_wake(sender, queue)
    sender.close()
    (raw,) = redis.lrange(key_of(queue), 0, -1)
    message = json.loads(raw)

    assert message["headers"]["task"] == TASK_NAME
    assert message["properties"]["delivery_info"]["routing_key"] == queue
    assert message["headers"]["argsrepr"] == "()"
    assert message["headers"]["kwargsrepr"] == "{}"


def test_waker_sends_from_a_thread_of_its_own(
    redis: Redis, redis_url: str, settings: Settings
) -> None:
    waker = Waker(make_queue(settings, redis_url))
    for queue in QUEUES:
        waker(queue)
    wait_until(lambda: all(redis.llen(key_of(queue)) for queue in QUEUES), "both were sent")
    waker.close()

    assert {redis.llen(key_of(queue)) for queue in QUEUES} == {1}


def test_unknown_queue_is_logged_not_raised(
    redis_url: str, settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    send_wake(make_queue(settings, redis_url), "tpu")

    assert caplog.messages == ["queue.wake_lost"]


@pytest.mark.slow
def test_broker_that_is_away_is_logged_not_raised(
    tmp_path: Path, settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    running = server.start(tmp_path, fsync="no")
    waker = Waker(make_queue(settings, running.url))
    running.stop()
    waker("cpu")
    wait_until(lambda: "queue.wake_lost" in caplog.messages, "the loss was logged")
    waker.close()


def test_waker_that_is_closed_drops_wake_ups(redis_url: str, settings: Settings) -> None:
    waker = Waker(make_queue(settings, redis_url))
    waker.close()
    for _ in range(2 * MAX_UNSENT):
        waker("cpu")


@pytest.mark.slow
def test_broker_that_hangs_holds_up_neither_submit_nor_close(
    tmp_path: Path, settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.CRITICAL, logger="app.queue")
    running = server.start(tmp_path, fsync="no")
    waker = Waker(make_queue(settings, running.url))
    os.kill(running.process.pid, signal.SIGSTOP)
    started = time.monotonic()
    for _ in range(3 * MAX_UNSENT):
        waker("cpu")
    submitted = time.monotonic() - started
    closing = threading.Thread(target=waker.close)
    closing.start()
    closing.join(20)
    os.kill(running.process.pid, signal.SIGCONT)
    running.stop()

    assert submitted < 0.5
    assert not closing.is_alive()


@pytest.mark.parametrize(
    ("url", "kombu"),
    [
        ("redis://localhost:6379/2", "redis://localhost:6379/2"),
        ("rediss://:pw@host:6379/0", "rediss://:pw@host:6379/0"),
        ("unix:///run/redis.sock", "redis+socket:///run/redis.sock?virtual_host=0"),
        ("unix:///run/redis.sock?db=3", "redis+socket:///run/redis.sock?virtual_host=3"),
        ("redis+sentinel://a,b:1/fits", "sentinel://a:26379/0;sentinel://b:1/0"),
        ("redis+sentinel://me:p%40w@[::1]/fits/2", "sentinel://me:p%40w@[::1]:26379/2"),
    ],
)
def test_broker_url_names_the_same_redis(url: str, kombu: str) -> None:
    assert broker_url(url) == kombu


def test_sentinels_are_asked_with_their_own_password_and_once(settings: Settings) -> None:
    url = "redis+sentinel://:pw@a,b/fits?sentinel_username=me&sentinel_password=theirs"
    options = celery_settings(settings, url)["broker_transport_options"]

    assert options["master_name"] == "fits"
    assert options["sentinel_kwargs"]["username"] == "me"
    assert options["sentinel_kwargs"]["password"] == "theirs"  # noqa: S105  # nobody's
    assert options["sentinel_kwargs"]["retry"].get_retries() == 0
    assert options["global_keyprefix"] == "{fit}:celery:"


@pytest.mark.parametrize("queue", QUEUES)
def test_written_wake_up_is_what_celery_sends(
    redis: Redis, redis_url: str, settings: Settings, queue: str
) -> None:
    sender = make_queue(settings, redis_url)
    write = make_wake_texts(sender)
    send_wake(sender, queue)
    sender.close()
    (sent,) = redis.lrange(key_of(queue), 0, -1)

    assert without_ids(write(queue)) == without_ids(sent)


def test_every_written_wake_up_has_ids_of_its_own(redis_url: str, settings: Settings) -> None:
    write = make_wake_texts(make_queue(settings, redis_url))
    first, second = json.loads(write("cpu")), json.loads(write("cpu"))

    assert first["headers"]["id"] != second["headers"]["id"]
    assert first["properties"]["delivery_tag"] != second["properties"]["delivery_tag"]
    assert first["headers"]["id"] != first["properties"]["delivery_tag"]


def without_ids(raw: bytes) -> dict[str, Any]:
    """Return a message with its ids replaced, and checked: one of the task, one of its own."""
    message = json.loads(raw)
    task, tag = message["headers"]["id"], message["properties"]["delivery_tag"]
    assert uuid.UUID(task) != uuid.UUID(tag)
    replaced: dict[str, Any] = json.loads(
        raw.decode().replace(task, "<task>").replace(tag, "<message>")
    )
    return replaced
