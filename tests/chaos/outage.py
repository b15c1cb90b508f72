"""Which refusals and broken connections a fault excuses, and how long each took to be over."""

from collections.abc import Iterable, Sequence
from typing import Final

from tests.chaos.ledger import TERMINAL, Call, Hits, Ledger, Story, Strike

REDIS_GOAL_SECONDS: Final = 5.0
"""So long after Redis is back a 503 is still excused."""
WORKER_GOAL_SECONDS: Final = 10.0
"""A killed worker's job runs again by then."""
LATE_SECONDS: Final = 1.0
"""What a busy machine may add to a refusal that was already on its way."""

_STORE_AWAY: Final = "store-unavailable"
_MOVES: Final = frozenset({"job.progress", *(f"job.{status}" for status in TERMINAL)})


def is_excused(call: Call, strikes: Iterable[Strike]) -> bool:
    """Tell whether a fault of the right kind was there while the call was under way."""
    if call.code == 503 and call.problem == _STORE_AWAY:
        hits = {Hits.REDIS, Hits.API}
    elif call.code is None:
        hits = {Hits.API}
    else:
        return False
    return any(
        strike.began <= call.ended and call.began <= _is_over_at(strike)
        for strike in strikes
        if strike.hits in hits
    )


def recovery_seconds(
    strike: Strike, stories: Sequence[Story], *, until: float | None = None
) -> float | None:
    """Return how long it took until all was as before.

    After a worker was hit: until every job that ran then has moved. After Redis or the network:
    from the healing until the API answers and every job that ran then has moved. After the API:
    until it answers.

    Args:
        strike: The fault.
        stories: Every job, with its log.
        until: When the next fault came: what moved later than that says nothing.

    Returns:
        None when nothing tells: no job ran, or the next fault came before.
    """
    start = strike.healed if strike.hits is Hits.REDIS else strike.began
    ends = [] if strike.answered is None or strike.hits is Hits.WORKER else [strike.answered]
    if strike.hits is not Hits.API:
        ran = [story for story in stories if _ran_at(story, strike.began)]
        ends.extend(_first_move(story, start) for story in ran)
    if not ends:
        return None
    end = max(ends)
    return None if until is not None and end > until else max(0.0, end - start)


def accepted_while(strike: Strike, ledger: Ledger) -> int:
    """Return how many answers promised a job from a fault's beginning to its healing."""
    return sum(
        call.is_accepted and strike.began <= call.ended <= max(strike.healed, strike.answered or 0)
        for call in ledger.calls
    )


def count_resumed(stories: Iterable[Story]) -> int:
    """Return how many jobs had more than one attempt, handed-back ones included."""
    logs = [[event.type for event in story.events] for story in stories]
    return sum(log.count("job.started") > 1 for log in logs)


def _is_over_at(strike: Strike) -> float:
    if strike.hits is Hits.API:
        return max(strike.healed, strike.answered or strike.healed) + LATE_SECONDS
    return strike.healed + REDIS_GOAL_SECONDS


def _ran_at(story: Story, moment: float) -> bool:
    before = [event for event in story.events if event.at <= moment]
    return bool(before) and before[-1].type in {"job.started", "job.progress"}


def _first_move(story: Story, after: float) -> float:
    return next(
        (event.at for event in story.events if event.at > after and event.type in _MOVES),
        float("inf"),
    )
