"""What the checker can find fault with."""

from dataclasses import dataclass
from enum import StrEnum


class Harm(StrEnum):
    """How bad it is, in the words of the table."""

    LOST = "lost"
    DOUBLED = "doubled"
    STUCK = "stuck"
    WRONG = "wrong"


@dataclass(frozen=True, slots=True, kw_only=True)
class Violation:
    """One promise that was broken.

    Attributes:
        harm: How bad it is.
        intent: Whose job; "" for one that nobody meant to have.
        detail: What was seen, beside what was promised.
    """

    harm: Harm
    intent: str
    detail: str
