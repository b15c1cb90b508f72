"""Writes what a run of chaos found: the table of faults, and the whole story of a broken promise."""

from collections import Counter
from collections.abc import Iterator, Sequence
from statistics import median
from typing import Final

from tests.chaos.ledger import Event, Ledger, Strike
from tests.chaos.outage import accepted_while, count_resumed, recovery_seconds
from tests.chaos.soak import Findings
from tests.chaos.violation import Harm

_HEADER: Final = (
    *("fault", "times", "accepted", "lost", "doubled", "stuck", "wrong"),
    *("recovery s, median", "worst"),
)
_MOST_STORIES: Final = 10


def table(found: Findings) -> str:
    """Return fault by fault what happened, and everything in the last row."""
    ledger = found.ledger
    names = sorted({strike.fault for strike in ledger.strikes})
    rows = [_row(found, name, _strikes(ledger, name)) for name in names]
    harms = Counter(violation.harm for violation in found.violations)
    total = (
        "all together",
        str(len(ledger.strikes)),
        str(len(ledger.accepted())),
        *(str(harms[harm]) for harm in Harm),
        *_times([seconds for name in names for seconds in _recoveries(found, name)]),
    )
    return _align([_HEADER, *rows, total])


def summary(found: Findings) -> str:
    """Return in a few lines what the clients met."""
    ledger = found.ledger
    ends = Counter(story.status for story in ledger.stories)
    codes = Counter(str(call.code or "broken") for call in ledger.calls)
    refusals = [
        call.ended - call.began
        for call in ledger.calls
        if call.code == 503 and "wait" not in call.what and "poll" not in call.what
    ]
    resumed = count_resumed(ledger.stories)
    return "\n".join(
        (
            f"{len(ledger.stories)} jobs: {_list(ends)}; {resumed} needed more than one attempt",
            f"{len(ledger.calls)} calls: {_list(codes)}; {len(ledger.frames)} frames of streams",
            f"slowest 503: {max(refusals, default=0.0):.2f} s of {len(refusals)}",
        )
    )


def stories(found: Findings) -> Iterator[str]:
    """Yield, for every job with a broken promise, everything that is known of it in time order."""
    intents = list(dict.fromkeys(violation.intent for violation in found.violations))
    for intent in intents[:_MOST_STORIES]:
        yield f"== {intent or 'no single job'}: {found.ledger.intents.get(intent)}"
        for violation in found.violations:
            if violation.intent == intent:
                yield f"   {violation.harm.upper()}: {violation.detail}"
        yield from _story(found, intent)
    if len(intents) > _MOST_STORIES:
        yield f"== and {len(intents) - _MOST_STORIES} more"


def _story(found: Findings, intent: str) -> Iterator[str]:
    ledger = found.ledger
    lines: list[tuple[float, str]] = []
    for strike in ledger.strikes:
        lines.append((strike.began, f"FAULT {strike.fault}"))
        lines.append((strike.healed, f"healed: {strike.fault}"))
    for call in ledger.calls:
        if call.intent == intent:
            sight = call.sight and f"{call.sight.status} seq {call.sight.seq} {call.sight.job_id}"
            took = call.ended - call.began
            told = f"{call.what} -> {call.code} {call.problem or ''} {sight or ''} ({took:.2f} s)"
            lines.append((call.ended, told))
    for story in ledger.stories:
        if story.intent == intent:
            lines += [
                (event.at, f"log {event.seq} {event.type} {_brief(event)}")
                for event in story.events
            ]
    own = [at for at, line in lines if "FAULT" not in line and "healed" not in line]
    if not own:
        return
    for at, line in sorted(lines):
        if min(own) - 5 <= at <= max(own) + 5:
            yield f"   {at - found.began:8.2f}  {line}".rstrip()


def _brief(event: Event) -> str:
    shown = ("run", "step", "attempt", "worker", "reason")
    return " ".join(f"{name}={event.data[name]}" for name in shown if name in event.data)


def _row(found: Findings, name: str, strikes: Sequence[Strike]) -> tuple[str, ...]:
    harms = Counter(
        violation.harm
        for violation in found.violations
        if any(_was_there(found.ledger, violation.intent, strike) for strike in strikes)
    )
    accepted = sum(accepted_while(strike, found.ledger) for strike in strikes)
    return (
        name,
        str(len(strikes)),
        str(accepted),
        *(str(harms[harm]) for harm in Harm),
        *_times(_recoveries(found, name)),
    )


def _recoveries(found: Findings, name: str) -> list[float]:
    times: list[float] = []
    strikes = sorted(found.ledger.strikes, key=lambda strike: strike.began)
    for strike, following in zip(strikes, [*strikes[1:], None], strict=True):
        if strike.fault == name:
            until = None if following is None else following.began
            seconds = recovery_seconds(strike, found.ledger.stories, until=until)
            if seconds is not None:
                times.append(seconds)
    return times


def _was_there(ledger: Ledger, intent: str, strike: Strike) -> bool:
    """Tell whether a job was in hand while a fault lasted."""
    moments = [call.ended for call in ledger.calls if call.intent == intent]
    moments += [
        event.at for story in ledger.stories if story.intent == intent for event in story.events
    ]
    return bool(moments) and min(moments) <= strike.healed and strike.began <= max(moments)


def _strikes(ledger: Ledger, name: str) -> list[Strike]:
    return [strike for strike in ledger.strikes if strike.fault == name]


def _times(seconds: Sequence[float]) -> tuple[str, str]:
    return (f"{median(seconds):.1f}", f"{max(seconds):.1f}") if seconds else ("-", "-")


def _list(counts: Counter[str]) -> str:
    return ", ".join(f"{count} {name}" for name, count in sorted(counts.items()))


def _align(rows: Sequence[Sequence[str]]) -> str:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if position == 0 else cell.rjust(width)
            for position, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    )
