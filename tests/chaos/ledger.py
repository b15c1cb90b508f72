"""What happened, written down outside the service: calls, sights, strikes and the jobs' stories.

It holds facts only: what they mean is the checker's matter.
"""

import json
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

TERMINAL: Final = frozenset({"succeeded", "failed", "cancelled"})
SNAPSHOT: Final = "snapshot"
"""The first frame of a stream: the job as it stands."""

_WALL: Final = time.time() - time.monotonic()


def now() -> float:
    """Return seconds since 1970 that never step back; Redis, on this machine, has the same."""
    return _WALL + time.monotonic()


class Hits(StrEnum):
    """What a fault takes away."""

    WORKER = "worker"
    API = "api"
    REDIS = "redis"


@dataclass(frozen=True, slots=True, kw_only=True)
class Intent:
    """One job that a client means to have.

    Attributes:
        name: Its Idempotency-Key or own id, and the job's tag.
        kind: Name of the spec's kind.
        may_cancel: Whether the client will ask to cancel it.
        may_give_up: Whether the client may leave before it has been answered.
    """

    name: str
    kind: str
    may_cancel: bool = False
    may_give_up: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Sight:
    """What one answer said of a job.

    Attributes:
        job_id: Which job.
        status: One of the five.
        seq: The answer's ETag.
        attempt: The job's attempt.
        ending: The whole job as text once it has ended, else None.
    """

    job_id: str
    status: str
    seq: int
    attempt: int
    ending: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One request of a client and what came of it.

    Attributes:
        intent: Whose; "" for a call about no single job.
        what: Method and manner, e.g. "POST", "GET ?wait".
        began: When it was sent.
        ended: When it was answered or broke.
        code: The status, None when the connection broke.
        problem: Type of a refusal, or the name of what broke the connection.
        sight: What the answer said of the job.
    """

    intent: str
    what: str
    began: float
    ended: float
    code: int | None = None
    problem: str | None = None
    sight: Sight | None = None

    @property
    def is_accepted(self) -> bool:
        """Whether this answer promised the job."""
        is_create = self.what.startswith(("POST", "PUT"))
        return is_create and self.code in {200, 201, 202} and self.sight is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """One event as a stream brought it.

    Attributes:
        intent: Whose job.
        watch: Number of the watch; a watch outlives broken connections.
        seq: The frame's id.
        type: The frame's event.
    """

    intent: str
    watch: int
    seq: int
    type: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One entry of a job's log.

    Attributes:
        seq: Its number.
        type: What happened.
        at: When, by Redis's clock, seconds since 1970.
        data: What the type adds.
    """

    seq: int
    type: str
    at: float
    data: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Story:
    """A whole job as it stood when everything had settled.

    Attributes:
        job_id: Which job.
        intent: Its tag.
        status: Where it stands.
        seq: Its ETag.
        events: Its log.
        answer: Result, error, engine and diagnosis without what may differ from run to run.
        columns: History of every run: name of a column to its values.
        ending: The whole job as text once it has ended, as in a sight.
    """

    job_id: str
    intent: str
    status: str
    seq: int
    events: tuple[Event, ...]
    answer: Mapping[str, Any]
    columns: tuple[Mapping[str, Any], ...]
    ending: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Strike:
    """One fault that was made.

    Attributes:
        fault: Its name.
        hits: What it took away.
        began: When it was made.
        healed: When its cause was over.
        answered: When the API was first seen to answer again; None when it was not looked for.
    """

    fault: str
    hits: Hits
    began: float
    healed: float
    answered: float | None = None


@dataclass(slots=True)
class Ledger:
    """Everything that was seen in one run.

    Attributes:
        intents: By name.
        calls: In the order of their ends.
        frames: In the order of their coming.
        strikes: In the order of their beginning.
        stories: Every job that the service knew in the end.
    """

    intents: dict[str, Intent] = field(default_factory=dict[str, Intent])
    calls: list[Call] = field(default_factory=list[Call])
    frames: list[Frame] = field(default_factory=list[Frame])
    strikes: list[Strike] = field(default_factory=list[Strike])
    stories: list[Story] = field(default_factory=list[Story])

    def accepted(self) -> dict[str, set[str]]:
        """Return the ids that were promised, by intent."""
        promised: dict[str, set[str]] = {}
        for call in self.calls:
            if call.is_accepted and call.sight is not None:
                promised.setdefault(call.intent, set()).add(call.sight.job_id)
        return promised

    def write(self, path: Path) -> None:
        """Write everything as lines of JSON, for a person who looks for the cause."""
        kinds = (self.intents.values(), self.strikes, self.calls, self.frames, self.stories)
        with path.open("w") as file:
            for kind in kinds:
                for entry in kind:
                    line = {"entry": type(entry).__name__, **asdict(entry)}
                    file.write(json.dumps(line) + "\n")
