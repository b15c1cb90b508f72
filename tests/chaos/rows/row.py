"""One row of the fault table: what goes wrong, what the ordinary template makes of it, and a scenario."""

from collections import Counter
from collections.abc import Callable, Coroutine, Iterable
from dataclasses import dataclass
from pathlib import Path

from tests.chaos.violation import Harm, Violation

Tell = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What a scenario found.

    Attributes:
        facts: Phrases for the table, e.g. "running again after 6.1 s".
        violations: Promises about jobs that were broken; None when the row is not about jobs.
        missed: Goals that were missed, as sentences.
    """

    facts: tuple[str, ...]
    violations: tuple[Violation, ...] | None = ()
    missed: tuple[str, ...] = ()

    @property
    def is_good(self) -> bool:
        """Whether every promise was kept and every goal met."""
        return not self.violations and not self.missed

    def cell(self) -> str:
        """Return the cell of the table."""
        words: list[str] = []
        if self.violations is not None:
            harms = Counter(violation.harm for violation in self.violations)
            words.append(", ".join(f"{harms[harm]} {harm}" for harm in Harm if harm != Harm.WRONG))
            if harms[Harm.WRONG]:
                words.append(f"{harms[Harm.WRONG]} wrong")
        missed = [f"**missed:** {sentence}" for sentence in self.missed]
        return "; ".join(filter(None, [*words, *self.facts, *missed]))


Scenario = Callable[[Path, Tell], Coroutine[None, None, Measured]]
"""Runs in an empty directory, tells how it stands, leaves nothing running."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One fault.

    Attributes:
        name: On the command line.
        fault: First cell, with the number of jobs.
        template: What an ordinary FastAPI, Celery and Redis service makes of it.
        best: The same with every reliability setting that Celery has.
        scenario: Makes it and measures.
    """

    name: str
    fault: str
    template: str
    best: str
    scenario: Scenario


def goal(what: str, seconds: float | None, *, most: float) -> tuple[str, ...]:
    """Return the missed goal as a sentence, or nothing.

    Args:
        what: What should not take longer.
        seconds: How long it took; None when nothing tells.
        most: How long it may take.
    """
    if seconds is not None and seconds <= most:
        return ()
    took = "was not seen" if seconds is None else f"took {seconds:.1f} s"
    return (f"{what} {took}, the goal is {most:g} s",)


def slowest(seconds: Iterable[float]) -> str:
    """Return the longest of some times for a cell."""
    return f"{max(seconds, default=0.0):.1f} s"
