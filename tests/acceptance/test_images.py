"""The images' own commands, run outside a container: what serves, and what checks its health."""

import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import pytest
import yaml
from redis import Redis

from app.store import server
from tests.images import ROOT, stage_of
from tests.waiting import wait_until

pytestmark = pytest.mark.acceptance

REDIS_COMMAND: Final = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"][
    "redis"
]["command"]
Start = Callable[..., "subprocess.Popen[bytes]"]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Start commands with an environment like the container's; none outlives the test."""
    running: list[subprocess.Popen[bytes]] = []

    def run(command: list[str], **environment: str) -> "subprocess.Popen[bytes]":
        words = [sys.executable if word == "python" else word for word in command]
        kept = {name: value for name, value in os.environ.items() if "FITJOBS" not in name}
        with (tmp_path / "output.log").open("ab") as output:
            running.append(
                subprocess.Popen(
                    words,
                    cwd=ROOT,
                    env={**kept, "FITJOBS_LOG_FORMAT": "json", **environment},
                    stdout=output,
                    stderr=output,
                )
            )
        return running[-1]

    yield run
    for process in running:
        process.terminate()
    for process in running:
        process.wait(timeout=30)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


def test_api_image_serves_and_is_healthy(start: Start, redis_url: str) -> None:
    port = str(free_port())
    stage = stage_of("api")
    health = [word.replace("8000", port) for word in stage.command("HEALTHCHECK")]

    assert start(health).wait(timeout=30) != 0
    api = start(
        [word.replace("8000", port) for word in stage.command("CMD")], FITJOBS_REDIS_URL=redis_url
    )
    wait_until(lambda: start(health).wait(timeout=30) == 0, "the API is healthy", seconds=60)
    api.terminate()
    assert api.wait(timeout=30) in {0, -15}


def test_worker_image_works_and_is_healthy(start: Start, redis_url: str) -> None:
    stage = stage_of("worker")
    health = stage.command("HEALTHCHECK")

    assert start(health, FITJOBS_REDIS_URL=redis_url).wait(timeout=30) == 1
    assert start(health, FITJOBS_REDIS_URL="unix:///nowhere.sock").wait(timeout=30) == 1
    worker = start(stage.command("CMD"), FITJOBS_REDIS_URL=redis_url)
    wait_until(
        lambda: start(health, FITJOBS_REDIS_URL=redis_url).wait(timeout=30) == 0,
        "the worker is healthy",
        seconds=90,
    )
    worker.terminate()
    assert worker.wait(timeout=30) == 0


def test_redis_of_the_compose_file_keeps_what_it_accepted(start: Start, tmp_path: Path) -> None:
    assert REDIS_COMMAND[0] == "redis-server"
    path = tmp_path / "redis.sock"
    own = ["--port", "0", "--unixsocket", str(path), "--dir", str(tmp_path)]
    start([server.find_binary(), *REDIS_COMMAND[1:], *own])
    wait_until(path.exists, "Redis listens")
    with Redis.from_url(f"unix://{path}", decode_responses=True) as client:
        assert client.config_get("append*")["appendfsync"] == "always"
        assert client.config_get("appendonly") == {"appendonly": "yes"}
        assert client.config_get("maxmemory*")["maxmemory-policy"] == "noeviction"
