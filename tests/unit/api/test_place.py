"""What a queued job is told about its place."""

import pytest

from app.api.place import Place, estimate_start, explain_place


@pytest.mark.parametrize(
    ("ahead", "idle", "workers", "durations", "seconds"),
    [
        (0, 1, 2, [], 0.0),
        (1, 2, 2, [9.0], 0.0),
        (0, 0, 0, [], None),
        (0, 0, 2, [], None),
        (0, 0, 2, [1.0, 3.0], 2.0),
        (1, 0, 2, [2.0], 2.0),
        (2, 0, 2, [2.0], 4.0),
        (5, 1, 2, [2.0], 6.0),
    ],
)
def test_start_is_estimated_from_rounds_of_recent_jobs(
    ahead: int, idle: int, workers: int, durations: list[float], seconds: float | None
) -> None:
    assert estimate_start(ahead=ahead, idle=idle, workers=workers, durations=durations) == seconds


def test_reason_names_what_is_missing() -> None:
    assert explain_place("cuda", ahead=0, idle=0, workers=0) == "a cuda worker: none is live"
    assert explain_place("cpu", ahead=0, idle=1, workers=1) == "a cpu worker to claim it: 1 idle"
    assert (
        explain_place("cpu", ahead=1, idle=0, workers=2)
        == "a free cpu worker: 2 of 2 busy, 1 job ahead"
    )
    assert explain_place("cpu", ahead=2, idle=0, workers=1).endswith("2 jobs ahead")


def test_position_counts_from_one() -> None:
    place = Place(queue="cpu", ahead=0, estimated_start_seconds=None, waiting_for="a worker")

    assert place.to_object() == {
        "name": "cpu",
        "position": 1,
        "ahead": 0,
        "estimated_start_seconds": None,
        "waiting_for": "a worker",
    }
