"""A container is healthy while a worker of its own host lives."""

import asyncio

from app.domain.job import WorkerInfo
from app.settings import Settings
from tests.unit.worker.desk import TestDesk
from worker.health import is_announced


def test_worker_of_a_host_with_a_longer_name_does_not_count(
    desk: TestDesk, redis_url: str, settings: Settings
) -> None:
    info = WorkerInfo(
        name="gpu-2-17-cuda", queue="cuda", devices=("cuda:0",), torch="2.13.0", started_at_ms=1
    )
    desk.runs.announce(info, ttl_seconds=5)

    def is_healthy(host: str) -> bool:
        return asyncio.run(is_announced(settings, url=redis_url, host=host))

    assert is_healthy("gpu-2")
    assert not is_healthy("gpu")
