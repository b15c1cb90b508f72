"""What the state machine of split jobs expects of one of them."""

from dataclasses import dataclass, field
from typing import Literal

from app.domain.job import Status
from app.domain.run_records import never_made
from app.domain.shards import Cut
from app.store.claim import Claim
from tests.store.samples import records_of

Phase = Literal["queued", "held", "split", "complete", "assembling", "ended"]
"""complete: ready to be assembled."""

WINDOW = 4


@dataclass
class ShardModel:
    """One shard that is open."""

    holder: Claim | None = None
    fruitless: int = 0
    is_asked: bool = False


@dataclass
class SplitModel:
    """What the store must say of one job of many runs."""

    cut: Cut
    phase: Phase = "queued"
    holder: Claim | None = None
    fruitless: int = 0
    is_cancel_asked: bool = False
    closed: Status | None = None
    opened: int = 0
    shards: dict[int, ShardModel] = field(default_factory=dict[int, ShardModel])
    done: set[int] = field(default_factory=set[int])
    end: Status | None = None

    @property
    def status(self) -> Status:
        if self.end is not None:
            return self.end
        return Status.QUEUED if self.phase == "queued" else Status.RUNNING

    def ready(self, job_id: str) -> set[str]:
        """The ids that stand in the queue."""
        own = {job_id} if self.phase in {"queued", "complete"} else set[str]()
        return own | {f"{job_id}/{n}" for n, s in self.shards.items() if s.holder is None}

    def leased(self, job_id: str) -> set[str]:
        """The ids that somebody holds."""
        own = {job_id} if self.phase in {"held", "assembling"} else set[str]()
        return own | {f"{job_id}/{n}" for n, s in self.shards.items() if s.holder is not None}

    def records(self) -> bytes:
        """What must be read of all runs."""
        parts = [self.cut.runs_of(shard) for shard in range(self.cut.num_shards)]
        return b"".join(
            records_of(runs) if shard in self.done else never_made(len(runs), is_batch=False)
            for shard, runs in enumerate(parts)
        )

    def split(self) -> None:
        self.phase, self.holder, self.fruitless = "split", None, 0
        if self.is_cancel_asked:
            self.close(Status.CANCELLED)
        else:
            self.go_on()

    def go_on(self) -> None:
        while self.closed is None and len(self.shards) < WINDOW and self.opened < self.cut[1]:
            self.shards[self.opened] = ShardModel()
            self.opened += 1
        if not self.shards:
            self.phase, self.fruitless = "complete", 0

    def close(self, status: Status) -> None:
        if self.phase != "split" or self.closed is not None:
            return
        self.closed = status
        self.shards = {n: s for n, s in self.shards.items() if s.holder is not None}
        for shard in self.shards.values():
            shard.is_asked = True
        self.go_on()

    def finish(self, status: Status) -> None:
        self.phase, self.end, self.holder = "ended", status, None
