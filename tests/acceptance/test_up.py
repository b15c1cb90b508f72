"""`fitjobs up`: one command starts everything, keeps it alive, and leaves nothing behind."""

import os
import re
import signal
import socket
from collections.abc import Callable
from typing import Any

import pytest

from tests.acceptance.houses import House, processes_of
from tests.waiting import wait_until

pytestmark = pytest.mark.acceptance

Open = Callable[..., House]


def test_classic_job_is_answered_with_its_curve(house: House) -> None:
    house.wait_until_printed("/reproduce.py")

    assert re.search(r"^fitted +0\.999\d+ +\S+e-0\d ", house.printed, re.MULTILINE)
    assert re.search(r"^exact +1\.0+ +0\.0+ ", house.printed, re.MULTILINE)
    assert re.search(
        r"^steps +402 of at most 10,000: the loss is below", house.printed, re.MULTILINE
    )
    # The curve is drawn in braille beside the decades of its axis.
    assert re.search("^ +1e-4 ┤ *[⠁-⣿]+", house.printed, re.MULTILINE)


def test_commands_to_paste_name_the_address(house: House) -> None:
    assert f"curl -d '{{}}' {house.url}/fit" in house.printed
    assert str(house.data_dir / "logs") in house.printed


def test_job_is_answered_over_http(house: House) -> None:
    job = house.ask("/fit", {})

    assert job["status"] == "succeeded"
    assert abs(job["result"]["a"] - 1) < 1e-3
    assert abs(job["result"]["b"]) < 1e-3


def test_second_start_is_refused_and_told_the_first(house: House) -> None:
    second = House(house.data_dir)

    assert second.end() == 1
    assert second.printed.count("\n") == 1
    assert f"process {house.process.pid} at {house.url}" in second.printed
    assert house.ask("/livez")


def test_busy_port_is_one_sentence(open_house: Open) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        house = open_house("--port", str(port))

        assert house.end() == 1
    assert house.printed.count("\n") == 1
    assert f"Port {port} on 127.0.0.1 is taken" in house.printed


def test_bad_setting_is_one_sentence(open_house: Open) -> None:
    house = open_house(environment={"FITJOBS_LEASE_SECONDS": "0"})

    assert house.end() == 1
    assert house.printed.startswith("FITJOBS_LEASE_SECONDS: ")
    assert house.printed.count("\n") == 1


def test_bad_redis_url_is_one_sentence(open_house: Open) -> None:
    house = open_house(environment={"FITJOBS_REDIS_URL": "redis+sentinel://:secret@host"})

    assert house.end() == 1
    assert house.printed.startswith("FITJOBS_REDIS_URL: The URL names no service")
    assert house.printed.count("\n") == 1
    assert "secret" not in house.printed


@pytest.mark.parametrize(
    ("name", "words"),
    [("worker-cpu", "worker.main"), ("api", "uvicorn"), ("Redis", "redis-server")],
)
def test_child_that_is_killed_is_started_again(house: House, name: str, words: str) -> None:
    job = house.ask("/fit", {})["id"]
    ending = f"{name} ended (signal 9)"
    # Other tests of this house end children too, some of them in order.
    told = house.printed.count(ending)
    os.kill(house.pid_of(words), signal.SIGKILL)
    house.wait_until_printed(ending, times=told + 1)

    wait_until(lambda: is_answered(house, "/readyz"), f"ready without {name}", seconds=60)
    assert house.ask(f"/v1/jobs/{job}")["status"] == "succeeded"
    assert house.ask("/fit", {})["status"] == "succeeded"


def is_answered(house: House, path: str) -> Any:
    try:
        return house.ask(path, timeout=10)
    except OSError:
        return None


def test_ctrl_c_leaves_nothing_and_the_next_start_finds_the_jobs(open_house: Open) -> None:
    first = open_house().wait_until_ready()
    job = first.ask("/fit", {"steps": 10})["id"]

    assert first.stop() == 0
    assert "Stopped." in first.printed
    assert "killed" not in first.printed
    assert processes_of(first.data_dir) == {}

    second = open_house().wait_until_ready()
    assert second.ask(f"/v1/jobs/{job}")["id"] == job
    # A worker that does not stop, and a person who does not wait.
    os.kill(second.pid_of("worker.main"), signal.SIGSTOP)
    second.process.send_signal(signal.SIGTERM)
    second.wait_until_printed("Stopping")
    assert second.stop(signal.SIGTERM) == 0
    assert "worker-cpu did not stop by itself and was killed" in second.printed
    assert processes_of(second.data_dir) == {}


def test_children_die_with_a_killed_parent(open_house: Open) -> None:
    house = open_house().wait_until_ready()

    assert house.stop(signal.SIGKILL) == -signal.SIGKILL
    wait_until(lambda: processes_of(house.data_dir) == {}, "nothing is left", seconds=60)


def test_given_redis_is_used_and_left_running(open_house: Open, redis_url: str) -> None:
    house = open_house(environment={"FITJOBS_REDIS_URL": redis_url}).wait_until_ready()
    job = house.ask("/fit", {"steps": 10})

    assert job["done"]
    assert not any("redis-server" in command for command in processes_of(house.data_dir).values())
    assert house.stop() == 0
    assert not (house.data_dir / "redis").exists()


def test_child_that_cannot_start_is_given_up(open_house: Open) -> None:
    house = open_house(environment={"UVICORN_LOG_LEVEL": "nonsense"})

    assert house.end() == 1
    assert "times while starting" in house.printed
    assert processes_of(house.data_dir) == {}


def test_data_directory_that_cannot_be_made_is_one_sentence(open_house: Open) -> None:
    house = open_house("--data-dir", "/dev/null/data")

    assert house.end() == 1
    assert house.printed.count("\n") == 1
    assert "/dev/null/data" in house.printed
