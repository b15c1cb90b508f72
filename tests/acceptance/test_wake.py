"""A real worker takes the wake-up that a submit writes into Celery's list by itself."""

from collections.abc import Callable

import pytest

from tests.acceptance.houses import House

pytestmark = pytest.mark.acceptance

# Longer than the test: what recovery would send comes too late to be what woke the worker.
NO_RECOVERY = {"FITJOBS_RECOVERY_SECONDS": "60", "FITJOBS_CPU_WORKERS": "2"}


def test_worker_takes_wake_ups_that_celery_did_not_send(open_house: Callable[..., House]) -> None:
    house = open_house(environment=NO_RECOVERY).wait_until_ready()
    answers = [house.ask("/v1/jobs?wait=20", {"steps": 10}) for _ in range(5)]
    again = house.ask(f"/v1/jobs/{answers[0]['id']}/rerun?wait=20", {"steps": 20})
    longer = house.ask(f"/v1/jobs/{answers[0]['id']}/extend?wait=20", {"steps": 20})

    assert {answer["status"] for answer in [*answers, again, longer]} == {"succeeded"}
