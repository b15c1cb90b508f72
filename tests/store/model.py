"""What the state machine expects of one job."""

from dataclasses import dataclass, field

from app.domain.job import JobRecord, Status
from app.store.claim import Claim


@dataclass
class Model:
    """What the store must say of one job."""

    status: Status = Status.QUEUED
    attempt: int = 0
    fruitless: int = 0
    furthest: int = 0
    rows: int = 0
    kept: int = 0
    is_cancel_asked: bool = False
    key: str | None = None
    fingerprint: str = "one"
    client: str = ""
    turn: int = 0
    start_overs: int = 0
    holder: Claim | None = None
    released: Claim | None = None
    started_over: Claim | None = None
    seq: int = 0
    last: JobRecord | None = None
    events: list[int] = field(default_factory=list)
