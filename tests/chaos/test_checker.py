"""The checker goes red on every kind of broken promise, and only then."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from tests.chaos.checker import check
from tests.chaos.hand import (
    COLUMNS,
    INTENT,
    LOG,
    REFERENCES,
    STORY,
    call,
    events,
    good,
    refused,
)
from tests.chaos.ledger import Event, Frame, Hits, Ledger, Strike
from tests.chaos.violation import Harm

LOST, DOUBLED, STUCK, WRONG = Harm


def found(ledger: Ledger) -> list[tuple[Harm, str]]:
    return [
        (violation.harm, violation.detail) for violation in check(ledger, references=REFERENCES)
    ]


def tell(ledger: Ledger, **changes: Any) -> None:
    """Change the one story."""
    ledger.stories[0] = replace(ledger.stories[0], **changes)


def one_more(log: tuple[Event, ...], kind: str) -> tuple[Event, ...]:
    return (*log, replace(log[-1], seq=log[-1].seq + 1, type=kind))


def test_good_history_has_no_violation() -> None:
    assert found(good()) == []


def test_cancelled_history_may_end_early() -> None:
    ledger = good()
    ledger.intents[INTENT.name] = replace(INTENT, may_cancel=True)
    log = events("job.queued", "job.started", "job.cancel_requested", "job.cancelled")
    short = {"step": [0, 1], "loss": [4.0, 2.0], "nonfinite": []}
    tell(ledger, status="cancelled", seq=4, events=log, columns=(short,), answer={})
    ledger.calls[1:] = []
    ledger.frames.clear()

    assert found(ledger) == []
    tell(ledger, columns=({**short, "loss": [4.0, 2.5]},))
    assert found(ledger) == [(WRONG, "run 0: loss of row 1 is 2.5, undisturbed it is 2.0")]


BREAKS: dict[str, tuple[Callable[[Ledger], object], Harm, str]] = {
    "accepted and unknown": (lambda ledger: ledger.stories.clear(), LOST, "is not known"),
    "accepted and 404": (
        lambda ledger: ledger.calls.append(
            refused("GET", at=18.0, code=404, problem="job-not-found")
        ),
        LOST,
        "GET of an accepted job: 404",
    ),
    "two ids for one key": (
        lambda ledger: ledger.calls.append(call("POST", at=17.5, seq=1, job_id="job_2")),
        DOUBLED,
        "one intent, jobs ['job_1', 'job_2']",
    ),
    "a second job that no client saw": (
        lambda ledger: ledger.stories.append(replace(STORY, job_id="job_2")),
        DOUBLED,
        "one intent, jobs ['job_1', 'job_2']",
    ),
    "a job of nobody": (
        lambda ledger: ledger.stories.append(replace(STORY, job_id="job_3", intent="x")),
        WRONG,
        "nobody meant",
    ),
    "two ends": (
        lambda ledger: tell(ledger, events=one_more(LOG, "job.succeeded")),
        DOUBLED,
        "job.succeeded (seq 8) came while succeeded",
    ),
    "no end": (
        lambda ledger: tell(ledger, status="running", events=LOG[:6]),
        STUCK,
        "job_1 is running and nothing moves",
    ),
    "queued in the log, running in the record": (
        lambda ledger: tell(ledger, status="running", events=LOG[:4]),
        WRONG,
        "the log ends in queued, the job is running",
    ),
    "a start out of nothing": (
        lambda ledger: tell(ledger, events=LOG[1:]),
        WRONG,
        "job.started (seq 2) came while nothing",
    ),
    "two starts without a requeue": (
        lambda ledger: tell(ledger, events=(*LOG[:3], *LOG[4:])),
        WRONG,
        "job.started (seq 5) came while running",
    ),
    "seq twice": (
        lambda ledger: tell(ledger, events=(*LOG[:2], replace(LOG[2], seq=2), *LOG[3:])),
        WRONG,
        "seq 2 came after 2",
    ),
    "attempt left out": (
        lambda ledger: tell(
            ledger, events=(*LOG[:4], replace(LOG[4], data={"attempt": 3}), *LOG[5:])
        ),
        WRONG,
        "attempt 3 began, 2 was due",
    ),
    "steps back": (
        lambda ledger: tell(
            ledger,
            events=(*LOG[:6], replace(LOG[5], seq=7, data={"run": 0, "step": 1})),
            status="running",
        ),
        WRONG,
        "progress fell from (0, 6) to (0, 1)",
    ),
    "a start after the cancel": (
        lambda ledger: tell(
            ledger, events=(*LOG[:2], replace(LOG[2], type="job.cancel_requested"), *LOG[3:])
        ),
        WRONG,
        "attempt 2 began after the cancel",
    ),
    "a cancel that nobody asked for": (
        lambda ledger: tell(ledger, status="cancelled", events=one_more(LOG[:6], "job.cancelled")),
        WRONG,
        "nobody asked to cancel it",
    ),
    "another result": (
        lambda ledger: tell(ledger, answer={**STORY.answer, "result": {"a": 1.0000000000000002}}),
        WRONG,
        "/result/a is 1.0000000000000002, undisturbed it is 1.0",
    ),
    "a row too few": (
        lambda ledger: tell(ledger, columns=({"step": [0, 1], "loss": [4.0, 2.0]},)),
        WRONG,
        "run 0: 2 rows, 3 were due",
    ),
    "a gap in the steps": (
        lambda ledger: tell(ledger, columns=({**COLUMNS, "step": [0, 2, 2]},)),
        WRONG,
        "run 0: step of row 1 is 2, undisturbed it is 1",
    ),
    "a zero of the other sign": (
        lambda ledger: tell(ledger, columns=({**COLUMNS, "loss": [4.0, 2.0, -0.0]},)),
        WRONG,
        "run 0: loss of row 2 is -0.0, undisturbed it is 0.0",
    ),
    "a history too few": (
        lambda ledger: tell(ledger, columns=()),
        WRONG,
        "0 histories, 1 were due",
    ),
    "a sight that the log denies": (
        lambda ledger: ledger.calls.append(call("GET", at=15.1, seq=4, status="running")),
        WRONG,
        "GET showed running, attempt 1 at seq 4, where the log has queued, attempt 1",
    ),
    "another end than the last": (
        lambda ledger: ledger.calls.append(call("GET", at=18.0, seq=7, ending="different")),
        WRONG,
        "GET showed another end than the job has",
    ),
    "a sight older than one before": (
        lambda ledger: ledger.calls.append(call("GET", at=17.5, seq=6)),
        WRONG,
        "GET showed seq 6 after 7 had been seen",
    ),
    "a stream with a hole": (
        lambda ledger: ledger.frames.pop(1),
        WRONG,
        "a stream brought",
    ),
    "a stream that repeats": (
        lambda ledger: ledger.frames.insert(1, ledger.frames[1]),
        WRONG,
        "a stream brought",
    ),
    "a stream without its beginning": (
        lambda ledger: ledger.frames.pop(0),
        WRONG,
        "a stream began with (3, 'job.progress')",
    ),
    "a frame that the log has not": (
        lambda ledger: ledger.frames.append(
            Frame(intent=INTENT.name, watch=1, seq=8, type="job.failed")
        ),
        WRONG,
        "a stream brought",
    ),
    "a 500": (
        lambda ledger: ledger.calls.append(refused("GET", at=12.0, code=500, problem="internal")),
        WRONG,
        "GET: 500 internal",
    ),
    "a 503 without a cause": (
        lambda ledger: ledger.calls.append(
            refused("GET", at=12.0, code=503, problem="store-unavailable")
        ),
        WRONG,
        "GET: 503 store-unavailable",
    ),
    "a broken connection without a cause": (
        lambda ledger: ledger.calls.append(refused("GET", at=12.0, code=None, problem="ReadError")),
        WRONG,
        "GET: broken ReadError",
    ),
    "a refusal of a good submit": (
        lambda ledger: ledger.calls.append(
            refused("POST", at=12.0, code=409, problem="id-conflict")
        ),
        WRONG,
        "POST: 409 id-conflict",
    ),
}


@pytest.mark.parametrize("name", BREAKS)
def test_broken_promise_is_found(name: str) -> None:
    break_it, harm, words = BREAKS[name]
    ledger = good()
    break_it(ledger)

    assert any(kind is harm and words in detail for kind, detail in found(ledger)), found(ledger)


@pytest.mark.parametrize(
    ("hits", "code", "problem"),
    [
        (Hits.REDIS, 503, "store-unavailable"),
        (Hits.API, 503, "store-unavailable"),
        (Hits.API, None, "ReadError"),
    ],
)
def test_refusal_while_its_cause_lasts_is_excused(
    hits: Hits, code: int | None, problem: str
) -> None:
    ledger = good()
    ledger.strikes.append(Strike(fault="x", hits=hits, began=20.0, healed=22.0, answered=22.5))
    ledger.calls.append(refused("GET", at=21.0, code=code, problem=problem))

    assert found(ledger) == []
    ledger.calls.append(refused("GET", at=40.0, code=code, problem=problem))
    assert found(ledger) != []


def test_broken_connection_while_only_redis_is_away_is_not_excused() -> None:
    ledger = good()
    ledger.strikes.append(Strike(fault="x", hits=Hits.REDIS, began=20.0, healed=22.0))
    ledger.calls.append(refused("GET", at=21.0, code=None, problem="ReadError"))

    assert found(ledger) == [(WRONG, "GET: broken ReadError")]
