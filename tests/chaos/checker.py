"""Judges a run from outside, as Jepsen does: what was promised, what was seen, what there is.

Pure functions of a ledger and of the undisturbed stories; each returns the promises that it found
broken. Nothing here knows how the service works, only what it promises.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from itertools import pairwise
from typing import Any, Final

from tests.chaos.history import differences
from tests.chaos.ledger import SNAPSHOT, TERMINAL, Call, Event, Ledger, Sight, Story
from tests.chaos.outage import is_excused
from tests.chaos.violation import Harm, Violation

References = Mapping[str, Story]
"""Kind -> the story of a job of that kind that nothing disturbed."""
Rule = Callable[[Ledger, References], Iterator[Violation]]

_STATUS: Final = {
    "job.queued": "queued",
    "job.started": "running",
    "job.requeued": "queued",
    "job.succeeded": "succeeded",
    "job.failed": "failed",
    "job.cancelled": "cancelled",
}
"""The status after an event; progress and a wish to cancel change none."""
_FOLLOWS: Final = {
    "": {"job.queued"},
    "queued": {"job.started", "job.cancelled", "job.failed"},
    "running": {
        "job.progress",
        "job.cancel_requested",
        "job.requeued",
        "job.succeeded",
        "job.failed",
        "job.cancelled",
    },
}
"""Status -> the events that the state machine allows in it; none after the end."""
_GIVEN_BACK: Final = "drained"
"""The reason of a requeue that does not count the attempt."""
_RIGHT: Final = frozenset({200, 201, 202, 204, 304})


def check(ledger: Ledger, references: References) -> list[Violation]:
    """Return every broken promise of a run that has settled."""
    return [violation for rule in RULES for violation in rule(ledger, references)]


def accepted_jobs_are_there(ledger: Ledger, _: References) -> Iterator[Violation]:
    """Find jobs that were promised and that the service does not know."""
    known = {story.job_id for story in ledger.stories}
    for intent, ids in ledger.accepted().items():
        for job_id in sorted(ids - known):
            yield _lost(intent, f"{job_id} was accepted and is not known")


def one_intent_is_one_job(ledger: Ledger, _: References) -> Iterator[Violation]:
    """Find intents, each one key or one id, that became several jobs."""
    found: dict[str, set[str]] = defaultdict(set)
    for intent, ids in ledger.accepted().items():
        found[intent] |= ids
    for story in ledger.stories:
        found[story.intent].add(story.job_id)
    for intent, ids in found.items():
        if intent not in ledger.intents:
            yield _wrong(intent, f"nobody meant to have {sorted(ids)}")
        elif len(ids) > 1:
            yield Violation(
                harm=Harm.DOUBLED, intent=intent, detail=f"one intent, jobs {sorted(ids)}"
            )


def every_job_has_ended(ledger: Ledger, _: References) -> Iterator[Violation]:
    """Find jobs that stand still without an end."""
    for story in ledger.stories:
        if story.status not in TERMINAL:
            detail = f"{story.job_id} is {story.status} and nothing moves"
            yield Violation(harm=Harm.STUCK, intent=story.intent, detail=detail)


def logs_follow_the_state_machine(ledger: Ledger, _: References) -> Iterator[Violation]:
    """Find event logs with a step that the state machine has not."""
    for story in ledger.stories:
        status = ""
        for event in story.events:
            if event.type not in _FOLLOWS.get(status, set()):
                harm = Harm.DOUBLED if status in TERMINAL else Harm.WRONG
                detail = f"{event.type} (seq {event.seq}) came while {status or 'nothing'}"
                yield Violation(harm=harm, intent=story.intent, detail=detail)
            status = _STATUS.get(event.type, status)
        if status != story.status:
            yield _wrong(story.intent, f"the log ends in {status}, the job is {story.status}")
        for first, second in pairwise(story.events):
            if second.seq <= first.seq:
                yield _wrong(story.intent, f"seq {second.seq} came after {first.seq}")


def attempts_are_counted(ledger: Ledger, _: References) -> Iterator[Violation]:
    """Find starts whose number does not follow, steps that go back, and starts after a cancel."""
    for story in ledger.stories:
        attempt, place, is_cancelling = 0, (0, 0), False
        for event in story.events:
            if event.type == "job.requeued" and event.data.get("reason") == _GIVEN_BACK:
                attempt -= 1
            if event.type == "job.cancel_requested":
                is_cancelling = True
            if event.type == "job.started":
                attempt, place = attempt + 1, (0, 0)
                if event.data["attempt"] != attempt:
                    told = event.data["attempt"]
                    yield _wrong(story.intent, f"attempt {told} began, {attempt} was due")
                if is_cancelling:
                    yield _wrong(story.intent, f"attempt {attempt} began after the cancel")
            if event.type == "job.progress":
                reached = (event.data["run"], event.data["step"])
                if reached < place:
                    yield _wrong(story.intent, f"progress fell from {place} to {reached}")
                place = reached


def jobs_end_as_the_undisturbed_ones(ledger: Ledger, references: References) -> Iterator[Violation]:
    """Find results and histories that differ from the undisturbed run's in any bit."""
    for story in ledger.stories:
        intent = ledger.intents.get(story.intent)
        if intent is None or story.status not in TERMINAL:
            continue
        reference = references[intent.kind]
        was_cancelled = story.status == "cancelled" and reference.status != "cancelled"
        if was_cancelled and not intent.may_cancel:
            yield _wrong(story.intent, "nobody asked to cancel it")
        if not was_cancelled and story.answer != reference.answer:
            yield _wrong(story.intent, first_difference(story.answer, reference.answer))
        for difference in differences(
            story.columns, reference.columns, may_end_early=was_cancelled
        ):
            yield _wrong(story.intent, difference)


def sights_agree_with_the_log(ledger: Ledger, _: References) -> Iterator[Violation]:
    """Find answers that showed a job in a state in which, by its log, it was not then."""
    stories = {story.job_id: story for story in ledger.stories}
    for call, sight in _sights(ledger):
        story = stories.get(sight.job_id)
        if story is None:
            continue
        status, attempt = _state_at(story.events, sight.seq)
        if (status, attempt) != (sight.status, sight.attempt):
            yield _wrong(
                call.intent,
                f"{call.what} showed {sight.status}, attempt {sight.attempt} at seq {sight.seq}, "
                f"where the log has {status}, attempt {attempt}",
            )
        if sight.ending != story.ending and sight.status in TERMINAL:
            yield _wrong(call.intent, f"{call.what} showed another end than the job has")


def sights_move_forward(ledger: Ledger, _: References) -> Iterator[Violation]:
    """Find answers that are older than what an answer before them, to anybody, had shown."""
    by_job: dict[str, list[tuple[Call, Sight]]] = defaultdict(list)
    for call, sight in _sights(ledger):
        by_job[sight.job_id].append((call, sight))
    for seen in by_job.values():
        ended = sorted(seen, key=lambda pair: pair[0].ended)
        began = sorted(seen, key=lambda pair: pair[0].began)
        newest, position = -1, 0
        for call, sight in began:
            # Only what had been answered before this was asked binds it.
            while ended[position][0].ended < call.began:
                newest = max(newest, ended[position][1].seq)
                position += 1
            if sight.seq < newest:
                yield _wrong(
                    call.intent, f"{call.what} showed seq {sight.seq} after {newest} had been seen"
                )


def streams_bring_the_log(ledger: Ledger, _: References) -> Iterator[Violation]:
    """Find streams that left an event out, doubled one, or brought one that the log has not."""
    stories = {story.intent: story for story in ledger.stories}
    watches: dict[int, list[tuple[int, str]]] = defaultdict(list)
    owner: dict[int, str] = {}
    for frame in ledger.frames:
        watches[frame.watch].append((frame.seq, frame.type))
        owner[frame.watch] = frame.intent
    for watch, (begin, *brought) in watches.items():
        if begin[1] != SNAPSHOT:
            yield _wrong(owner[watch], f"a stream began with {begin}")
        story = stories.get(owner[watch])
        log = [] if story is None else [(event.seq, event.type) for event in story.events]
        last = brought[-1][0] if brought else begin[0]
        due = [entry for entry in log if begin[0] < entry[0] <= last]
        if brought != due:
            yield _wrong(owner[watch], f"a stream brought {brought}, the log has {due}")


def answers_are_promised_ones(ledger: Ledger, _: References) -> Iterator[Violation]:
    """Find refusals and broken connections that no fault excuses."""
    for call in ledger.calls:
        if call.code in _RIGHT or is_excused(call, ledger.strikes):
            continue
        if call.code in {404, 410} and call.intent in ledger.accepted():
            yield _lost(call.intent, f"{call.what} of an accepted job: {call.code}")
        else:
            yield _wrong(call.intent, f"{call.what}: {call.code or 'broken'} {call.problem}")


RULES: Final[tuple[Rule, ...]] = (
    accepted_jobs_are_there,
    one_intent_is_one_job,
    every_job_has_ended,
    logs_follow_the_state_machine,
    attempts_are_counted,
    jobs_end_as_the_undisturbed_ones,
    sights_agree_with_the_log,
    sights_move_forward,
    streams_bring_the_log,
    answers_are_promised_ones,
)


def _wrong(intent: str, detail: str) -> Violation:
    return Violation(harm=Harm.WRONG, intent=intent, detail=detail)


def _lost(intent: str, detail: str) -> Violation:
    return Violation(harm=Harm.LOST, intent=intent, detail=detail)


def _sights(ledger: Ledger) -> Iterator[tuple[Call, Sight]]:
    for call in ledger.calls:
        if call.sight is not None and call.intent:
            yield call, call.sight


def _state_at(events: tuple[Event, ...], seq: int) -> tuple[str, int]:
    """Return the status and attempt that a log gives a job at one of its versions."""
    status, attempt = "", 0
    for event in events:
        if event.seq > seq:
            break
        status = _STATUS.get(event.type, status)
        if event.type == "job.started":
            attempt = event.data["attempt"]
        if event.type == "job.requeued" and event.data.get("reason") == _GIVEN_BACK:
            attempt -= 1
    return status, attempt


def first_difference(found: Any, due: Any, path: str = "") -> str:
    """Say where two answers first differ, as a path into the JSON."""
    if isinstance(found, Mapping) and isinstance(due, Mapping) and found.keys() == due.keys():
        for name, value in due.items():
            if found[name] != value:
                return first_difference(found[name], value, f"{path}/{name}")
    if isinstance(found, list) and isinstance(due, list) and len(found) == len(due):
        for position, (one, other) in enumerate(zip(found, due, strict=True)):
            if one != other:
                return first_difference(one, other, f"{path}/{position}")
    return f"{path} is {found!r}, undisturbed it is {due!r}"
