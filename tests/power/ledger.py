"""What the service has promised its clients, kept outside it, and what it has broken of that."""

import threading
import time
from dataclasses import dataclass, field
from typing import Any, Final

_ENDS: Final = ("status", "finished_at", "result", "error")
"""What of a job may never change once a client has read its end."""


@dataclass(slots=True)
class Promise:
    """What is known of one job; a single client changes it, so nothing overtakes anything.

    Attributes:
        key: The Idempotency-Key that made it.
        accepted_at: When that was answered, by time.monotonic().
        seq: The highest version that was answered.
        names: What its name may be: the last one answered, and those asked for since.
        is_cancel_answered: A cancel was accepted.
        end: What was read of it after its end.
        is_finish_answered: A worker was told that its result is kept.
        is_delete_asked: It may be gone.
        is_delete_answered: It must be gone.
    """

    key: str
    accepted_at: float = field(default_factory=time.monotonic)
    seq: int = 0
    names: set[str | None] = field(default_factory=lambda: {None})
    is_cancel_answered: bool = False
    end: dict[str, Any] | None = None
    is_finish_answered: bool = False
    is_delete_asked: bool = False
    is_delete_answered: bool = False

    @property
    def num_answered(self) -> int:
        """How many answers stand behind this: the job, its cancel, its end, ..."""
        kept = (self.is_cancel_answered, self.end, self.is_finish_answered, self.is_delete_answered)
        return 1 + sum(map(bool, kept))

    def read(self, job: dict[str, Any], *, seq: int) -> None:
        """Take note of a job as it was answered."""
        self.seq = max(self.seq, seq)
        if job["done"] and self.end is None:
            self.end = end_of(job)

    def find_broken(self, job: dict[str, Any] | None, *, seq: int) -> list[str]:
        """Return what the job, None when it is unknown, does not keep of its promise."""
        if job is None:
            return [] if self.is_delete_asked else ["the job is gone"]
        broken = {
            "a deleted job is back": self.is_delete_answered,
            f"version {seq} after {self.seq}": seq < self.seq,
            f"the name is {job['name']!r}, not of {self.names}": job["name"] not in self.names,
            "a cancel is forgotten": self.is_cancel_answered
            and job["cancel_requested_at"] is None
            and not job["done"],
            "a result that a worker had handed in is gone": self.is_finish_answered
            and not job["done"],
            "an end that was read has changed": self.end is not None and end_of(job) != self.end,
        }
        return [what for what, is_broken in broken.items() if is_broken]


class Ledger:
    """Every promise by the job's id; clients and workers write from their own threads."""

    def __init__(self) -> None:
        self.promises: dict[str, Promise] = {}
        self._handed_in: set[str] = set()
        self._lock = threading.Lock()

    def accept(self, job_id: str, *, key: str) -> Promise:
        """Take note of a job that was accepted."""
        with self._lock:
            promise = self.promises.setdefault(job_id, Promise(key))
            promise.is_finish_answered |= job_id in self._handed_in
            return promise

    def hand_in(self, job_id: str) -> None:
        """Take note of a result that the store has taken; the client may not have its id yet."""
        with self._lock:
            self._handed_in.add(job_id)
            if job_id in self.promises:
                self.promises[job_id].is_finish_answered = True

    def count_answers(self) -> int:
        """Return how many answers there were whose content must be kept."""
        with self._lock:
            return sum(promise.num_answered for promise in self.promises.values())


def end_of(job: dict[str, Any]) -> dict[str, Any]:
    """Return what may not change after a job's end."""
    return {name: job[name] for name in _ENDS}
