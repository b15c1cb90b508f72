"""Hand-made histories: one in which every promise is kept, and the parts to break one with."""

from dataclasses import replace
from typing import Any, Final

from tests.chaos.ledger import (
    SNAPSHOT,
    Call,
    Event,
    Frame,
    Hits,
    Intent,
    Ledger,
    Sight,
    Story,
    Strike,
)

KIND: Final = "short"
INTENT: Final = Intent(name="one", kind=KIND)
COLUMNS: Final = {"step": [0, 1, 2], "loss": [4.0, 2.0, 0.0], "nonfinite": []}
ANSWER: Final = {"status": "succeeded", "result": {"a": 1.0}}
ENDING: Final = "the whole job"
FENCED: Final = Strike(fault="kill", hits=Hits.WORKER, began=12.0, healed=12.0)


def events(*types: str) -> tuple[Event, ...]:
    """Return a log: a second apart, attempts counted, steps rising."""
    made: list[Event] = []
    attempt = 0
    for number, kind in enumerate(types, start=1):
        attempt += kind == "job.started"
        told: dict[str, dict[str, Any]] = {
            "job.started": {"attempt": attempt},
            "job.progress": {"run": 0, "step": number},
            "job.requeued": {"reason": "worker-lost"},
        }
        made.append(Event(seq=number, type=kind, at=9.0 + number, data=told.get(kind, {})))
    return tuple(made)


LOG: Final = events(
    *("job.queued", "job.started", "job.progress", "job.requeued", "job.started", "job.progress"),
    "job.succeeded",
)
STORY: Final = Story(
    job_id="job_1",
    intent=INTENT.name,
    status="succeeded",
    seq=7,
    events=LOG,
    answer=ANSWER,
    columns=(COLUMNS,),
    ending=ENDING,
)
REFERENCES: Final = {KIND: replace(STORY, job_id="job_0", intent="")}


def call(
    what: str, *, at: float, code: int | None = 200, seq: int | None = None, **sight: Any
) -> Call:
    """Return a call of a tenth of a second; with a seq, a sight of job_1 as the log has it."""
    seen = None
    if seq is not None:
        seen = Sight(
            **{
                "job_id": "job_1",
                "seq": seq,
                "status": ("queued", "running", "running", "queued", "running", "running")[seq - 1]
                if seq < 7
                else "succeeded",
                "attempt": (0, 1, 1, 1, 2, 2, 2)[seq - 1],
                "ending": ENDING if seq == 7 else None,
                **sight,
            }
        )
    return Call(intent=INTENT.name, what=what, began=at, ended=at + 0.1, code=code, sight=seen)


def refused(what: str, *, at: float, code: int | None, problem: str) -> Call:
    """Return a call that was refused, or whose connection broke."""
    return replace(call(what, at=at, code=code), problem=problem)


def good() -> Ledger:
    """Return a ledger without any fault to find."""
    return Ledger(
        intents={INTENT.name: INTENT},
        calls=[
            call("POST", at=10.0, code=202, seq=1),
            call("GET", at=11.5, seq=2),
            call("GET ?wait", at=16.2, seq=7),
            call("GET", at=17.0, seq=7),
        ],
        frames=[
            Frame(intent=INTENT.name, watch=1, seq=2, type=SNAPSHOT),
            *(
                Frame(intent=INTENT.name, watch=1, seq=event.seq, type=event.type)
                for event in LOG[2:]
            ),
        ],
        strikes=[FENCED],
        stories=[STORY],
    )
