"""A worker process that is killed in the middle of a job: another goes on, and no bit differs."""

import os
import signal
from typing import Any

import pytest

from tests.acceptance.houses import House, parent_of, processes_of
from tests.waiting import wait_until

pytestmark = pytest.mark.acceptance

SPEC = {
    "data": {"preset": "noisy"},
    "optimizer": "adam",
    "batch_size": 10,
    "steps": 20_000,
    "stop": {"loss_below": None},
    "engine": "torch",
}


def job_of(house: House, job_id: str) -> dict[str, Any]:
    job: dict[str, Any] = house.ask(f"/v1/jobs/{job_id}")
    return job


def found_by(job: dict[str, Any]) -> dict[str, Any]:
    """Return a job's result without what may differ: how long it took, and its address."""
    own = {"run_seconds", "history"}
    return {name: value for name, value in job["result"].items() if name not in own}


def rows_of(house: House, job_id: str) -> list[Any]:
    answer = house.ask(f"/v1/jobs/{job_id}/history")
    return [answer[name] for name in ("step", "loss", "excess_loss", "a", "b", "batch_loss")]


def test_job_of_a_killed_worker_process_goes_on(house: House) -> None:
    killed = house.ask("/v1/jobs", SPEC)["id"]

    def is_half_done() -> bool:
        job = job_of(house, killed)
        return job["status"] == "running" and (job["progress"] or {"step": 0})["step"] > 9_000

    wait_until(is_half_done, "half of the steps are made", seconds=60)
    workers = [
        pid for pid, command in processes_of(house.data_dir).items() if "worker.main" in command
    ]
    # The child computes.
    os.kill(next(pid for pid in workers if parent_of(pid) in workers), signal.SIGKILL)
    wait_until(lambda: job_of(house, killed)["done"], "the job ended", seconds=60)
    alone = house.ask("/v1/jobs", SPEC)["id"]
    wait_until(lambda: job_of(house, alone)["done"], "the other ended", seconds=60)
    log = "".join(path.read_text() for path in (house.data_dir / "logs").glob("worker*"))

    assert job_of(house, killed)["attempt"] == 2
    assert "job.resumed" in log
    assert found_by(job_of(house, killed)) == found_by(job_of(house, alone))
    assert rows_of(house, killed) == rows_of(house, alone)
