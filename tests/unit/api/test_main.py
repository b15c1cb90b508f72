"""How the service opens and closes, and its part in recovery."""

import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from app.domain.parse import parse_spec
from app.main import open_rooms
from app.settings import Settings
from app.store.connect import connect_sync
from app.store.rounds import RecoveryThread
from tests.waiting import wait_until, wait_until_async


@pytest.fixture
def quick(settings: Settings, redis_url: str) -> Settings:
    """Ten rounds a second."""
    return settings.model_copy(update={"redis_url": redis_url, "recovery_seconds": 0.1})


def recover(settings: Settings, wake: Callable[[str], None]) -> RecoveryThread:
    assert settings.redis_url is not None
    redis = connect_sync(settings, settings.redis_url)
    return RecoveryThread(redis, settings=settings, wake=wake)


async def test_job_without_a_worker_is_ended_in_time(quick: Settings) -> None:
    impatient = quick.model_copy(update={"queue_timeout_seconds": 0})
    async with open_rooms(impatient) as rooms:
        created = await rooms.service.submit(parse_spec({}))

        async def has_failed() -> bool:
            return (await rooms.store.get(created.record.id)).status.value == "failed"

        await wait_until_async(has_failed, "the job fails as queue-time-exceeded")


async def test_missing_wake_ups_are_sent_though_one_fails(
    quick: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    woken: list[str] = []

    def wake(queue: str) -> None:
        woken.append(queue)
        if len(woken) == 1:
            raise RuntimeError("the broker is away")

    slow = quick.model_copy(update={"recovery_seconds": 60.0})
    async with open_rooms(slow) as rooms:
        await rooms.service.submit(parse_spec({}))
    with connect_sync(quick, quick.redis_url or "") as redis:
        # The submit's own wake-up is lost.
        for key in redis.scan_iter("*celery*"):
            redis.delete(key)
    rounds = recover(quick, wake)
    rounds.start()
    wait_until(lambda: len(woken) > 1, "a second round")
    rounds.stop()

    assert set(woken) == {"cpu"}
    assert "recovery.failed" in caplog.text


def test_recovery_outlives_an_absent_redis(quick: Settings, tmp_path: Path) -> None:
    calls: list[int] = []
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(f"{tmp_path}/s")
        listener.listen()
        listener.settimeout(0.01)

        def has_called_twice() -> bool:
            try:
                connection, _ = listener.accept()
            except TimeoutError:
                return False
            connection.close()
            calls.append(1)
            return len(calls) > 1

        rounds = recover(quick.model_copy(update={"redis_url": f"unix://{tmp_path}/s"}), print)
        rounds.start()
        wait_until(has_called_twice, "a second round after one that failed")
        rounds.stop()

    assert not rounds.is_alive


@pytest.mark.slow
def test_absent_redis_is_looked_for_more_often_than_rounds_come(
    quick: Settings, tmp_path: Path
) -> None:
    seldom = {"redis_url": f"unix://{tmp_path}/s", "recovery_seconds": 1.5}
    met: list[float] = []
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(f"{tmp_path}/s")
        listener.listen()
        listener.settimeout(5)
        rounds = recover(quick.model_copy(update=seldom), print)
        rounds.start()
        for _ in range(3):
            connection, _ = listener.accept()
            met.append(time.monotonic())
            connection.close()
        rounds.stop()

    assert met[2] - met[0] < 1.5


def test_application_of_the_environment_is_light() -> None:
    script = (
        "import pathlib, sys\n"
        "from app.main import create_app_from_environment\n"
        "from app.api.reference import document_of\n"
        "document_of(create_app_from_environment())\n"
        # ru_maxrss would count the parent's pages from before exec.
        "status = pathlib.Path('/proc/self/status').read_text()\n"
        "print(status.partition('VmHWM:')[2].split()[0])\n"
        "print([name for name in ('torch', 'numpy', 'vl_convert') if name in sys.modules])\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True)
    kilobytes, loaded = done.stdout.decode().splitlines()

    assert loaded == "[]"
    assert int(kilobytes) < 120 * 1024
