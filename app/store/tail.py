"""Reads the end of a job's event log together with where the job stands, both of one instant."""

from dataclasses import dataclass
from typing import Any

from redis.asyncio import Redis

from app.domain.events import Event
from app.domain.job import Status
from app.store import codec
from app.store.keys import Keys


@dataclass(frozen=True, slots=True, kw_only=True)
class Tail:
    """What a job's log holds after a seq.

    Attributes:
        events: Those after the seq, oldest first, as many as were asked for.
        first_seq: Of the oldest event that the log still has; 1 unless it was trimmed.
        newest: The last event of the log.
        seq: The job's own: larger than the newest event's when the last change was no event.
        is_done: Whether the job has ended.
    """

    events: tuple[Event, ...]
    first_seq: int
    newest: Event
    seq: int
    is_done: bool

    @property
    def is_whole(self) -> bool:
        """Tell whether nothing follows these events yet."""
        return not self.events or self.events[-1].seq == self.newest.seq

    def goes_on_from(self, seq: int) -> bool:
        """Tell whether a reader who has seen this seq misses nothing but these events.

        False when events in between were trimmed, and when the log has never been so far: then the
        seq is of a Redis that has forgotten its last second.
        """
        return self.first_seq <= seq + 1 and seq <= self.seq


async def read_tail(
    redis: Redis, keys: Keys, job_id: str, *, after: int, limit: int
) -> Tail | None:
    """Return the log's end after a seq; None when the job is not there.

    One transaction, so that a job that has ended is never seen without its last event.

    Args:
        redis: The service's client.
        keys: Of the namespace.
        job_id: Which job.
        after: Only events with a larger seq.
        limit: Most events.
    """
    client: Any = redis  # redis-py's own types are partly unknown
    log = keys.events(job_id)
    async with client.pipeline() as pipe:
        pipe.hmget(keys.job(job_id), ["seq", "status"])
        pipe.xrange(log, count=1)
        pipe.xrevrange(log, count=1)
        pipe.xrange(log, min=f"{after + 1}-0", count=limit)
        (seq, status), first, last, entries = await pipe.execute()
    if seq is None or not last:
        # Job and log die in the same instant.
        return None
    return Tail(
        events=tuple(codec.decode_event(*entry) for entry in entries),
        first_seq=codec.decode_event(*first[0]).seq,
        newest=codec.decode_event(*last[0]),
        seq=int(seq),
        is_done=Status(status.decode()).is_terminal,
    )
