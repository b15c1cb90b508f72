"""Where a queued job stands: how many are before it, and by what their time can be judged."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from app.domain.job import WorkerInfo


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """A job's place in its queue, all of one instant.

    Attributes:
        ahead: Jobs that will be claimed first.
        workers: Live workers of the queue.
        durations: How many seconds each of the queue's last jobs ran that succeeded, newest first.
    """

    ahead: int
    workers: tuple[WorkerInfo, ...]
    durations: tuple[float, ...]


def decode_standing(reply: Sequence[Any], *, queue: str) -> Standing | None:
    """Read what the scripts tell of a job's standing; None when it does not wait.

    Args:
        reply: From `standing` in prelude.lua.
        queue: Whose workers matter.
    """
    ahead, durations, descriptions = reply
    if ahead < 0:
        return None
    workers = [WorkerInfo.model_validate_json(text) for text in descriptions]
    return Standing(
        ahead=ahead,
        workers=tuple(worker for worker in workers if worker.queue == queue),
        durations=decode_durations(durations),
    )


def decode_durations(found: Sequence[bytes]) -> tuple[float, ...]:
    """Return seconds from the milliseconds that the store keeps."""
    return tuple(int(milliseconds) / 1000 for milliseconds in found)
