"""The names of all keys; lua/prelude.lua is the same layout for the scripts."""

import hashlib
from dataclasses import dataclass
from typing import Final

QUEUES: Final = ("cpu", "cuda")
"""The device kinds that a worker can serve; the scripts know the same two."""


@dataclass(frozen=True, slots=True)
class Keys:
    """Key names of one namespace; its hash tag keeps them in one slot of a cluster.

    Attributes:
        namespace: settings.namespace.
    """

    namespace: str

    @property
    def prefix(self) -> str:
        """What every key begins with, and the one KEYS entry of every script."""
        return f"{{{self.namespace}}}:"

    @property
    def bus(self) -> str:
        """The channel on which every change of a job is told as "<id> <seq>"."""
        return f"{self.prefix}bus"

    def job(self, job_id: str) -> str:
        """Hash: the record."""
        return f"{self.prefix}job:{job_id}"

    def events(self, job_id: str) -> str:
        """Stream: the event log; the entry of seq n has the id n-0."""
        return f"{self.prefix}job:{job_id}:events"

    def points(self, job_id: str) -> str:
        """String: the stored columns, when the spec does not repeat them."""
        return f"{self.prefix}job:{job_id}:points"

    def history(self, job_id: str, *, run: int) -> str:
        """Stream: blocks of rows; the entry whose last row is step k has the id (k + 1)-0."""
        return f"{self.prefix}job:{job_id}:history:{run}"

    def checkpoint(self, job_id: str) -> str:
        """Hash: where a killed job can go on."""
        return f"{self.prefix}job:{job_id}:checkpoint"

    def records(self, job_id: str) -> str:
        """String: one record of fixed size a run."""
        return f"{self.prefix}job:{job_id}:records"

    def done(self, job_id: str) -> str:
        """String: one bit a shard, set once its records are there."""
        return f"{self.prefix}job:{job_id}:done"

    def shards(self, job_id: str) -> str:
        """Set: numbers of the shards that are open."""
        return f"{self.prefix}job:{job_id}:shards"

    def order(self, job_id: str, name: str) -> str:
        """String: positions of runs in one order, 4 bytes each."""
        return f"{self.prefix}job:{job_id}:order:{name}"

    def gone(self, job_id: str) -> str:
        """String: the tombstone that tells an expired job from one that never was."""
        return f"{self.prefix}gone:{job_id}"

    def memory(self, digest: str) -> str:
        """Hash: the job that an Idempotency-Key made, and its fingerprint."""
        return f"{self.prefix}idempotency:{digest}"

    def ready(self, queue: str) -> str:
        """Sorted set: queued jobs by turn; the truth of what waits."""
        return f"{self.prefix}ready:{queue}"

    @property
    def waiting(self) -> str:
        """Sorted set: all queued jobs by the time at which they began to wait."""
        return f"{self.prefix}waiting"

    def claim(self, worker: str) -> str:
        """String: the last claim of a worker, for as long as it may ask again."""
        return f"{self.prefix}claim:{worker}"

    def turn(self, queue: str) -> str:
        """Number: the highest turn of a queue that was claimed."""
        return f"{self.prefix}turn:{queue}"

    def clients(self, queue: str) -> str:
        """Hash: of every client with queued jobs, how many they are and the last one's turn."""
        return f"{self.prefix}clients:{queue}"

    def wake_ups(self, queue: str) -> str:
        """List: Celery's own; the messages that no worker has taken."""
        return f"{self.prefix}celery:{queue}"

    def durations(self, queue: str) -> str:
        """List: how long the last jobs of a queue ran that succeeded, in ms, newest first."""
        return f"{self.prefix}durations:{queue}"

    def worker(self, name: str) -> str:
        """String: what a live worker says of itself."""
        return f"{self.prefix}worker:{name}"


def digest_of(idempotency_key: str) -> str:
    """Return the form in which a client's Idempotency-Key is kept: short, and unreadable."""
    return hashlib.sha256(idempotency_key.encode()).hexdigest()
