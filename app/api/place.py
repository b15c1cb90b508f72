"""Where a queued job waits: before it how many, for what, and for how long as far as one can tell."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

from app.domain.job import JobRecord, Status
from app.store.jobs import JobStore
from app.store.standing import Standing


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A job's place in its queue.

    Attributes:
        queue: "cpu" or "cuda".
        ahead: Jobs that will be claimed first.
        estimated_start_seconds: From the number of live workers and the durations of the last
            jobs; None when nothing is known.
        waiting_for: One sentence.
    """

    queue: str
    ahead: int
    estimated_start_seconds: float | None
    waiting_for: str

    def to_object(self) -> dict[str, object]:
        """Return the job object's `queue`; position 1 is the next to be claimed."""
        return {
            "name": self.queue,
            "position": self.ahead + 1,
            "ahead": self.ahead,
            "estimated_start_seconds": self.estimated_start_seconds,
            "waiting_for": self.waiting_for,
        }


def find_place(queue: str, standing: Standing | None) -> Place | None:
    """Return where a job waits; None when it no longer does.

    Args:
        queue: "cpu" or "cuda".
        standing: What the store says of it.
    """
    if standing is None:
        return None
    ahead, workers = standing.ahead, len(standing.workers)
    idle = sum(worker.job is None for worker in standing.workers)
    return Place(
        queue=queue,
        ahead=ahead,
        estimated_start_seconds=estimate_start(
            ahead=ahead, idle=idle, workers=workers, durations=standing.durations
        ),
        waiting_for=explain_place(queue, ahead=ahead, idle=idle, workers=workers),
    )


async def ask_place(record: JobRecord, *, store: JobStore) -> Place | None:
    """Return where a job waits now; None when it no longer does."""
    if record.status is not Status.QUEUED:
        return None
    return find_place(record.device.queue, await store.standing(record))


def estimate_start(
    *, ahead: int, idle: int, workers: int, durations: Sequence[float]
) -> float | None:
    """Return the rounds that all workers need, each as long as recent jobs took on average.

    None when there is nothing to judge by.
    """
    if ahead < idle:
        return 0.0
    if not workers or not durations:
        return None
    rounds = (ahead - idle) // workers + 1
    return round(rounds * fmean(durations), 3)


def explain_place(queue: str, *, ahead: int, idle: int, workers: int) -> str:
    """Return what the job waits for."""
    if not workers:
        return f"a {queue} worker: none is live"
    if ahead < idle:
        return f"a {queue} worker to claim it: {idle} idle"
    others = f"{ahead} job{'s' if ahead != 1 else ''} ahead"
    return f"a free {queue} worker: {workers - idle} of {workers} busy, {others}"
