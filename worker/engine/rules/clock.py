"""What of a rule depends on the step's number alone, computed once for all runs of a process."""

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

KEPT_TICKS: Final = 32_768
"""Updates whose factors are kept; a longer run computes the later ones itself."""
_MOST_KEPT: Final = 8
"""Rules and settings: at most 0.8 MB each as arrays."""

Wind = Callable[[Any, int, int, int, tuple[float, ...]], None]
"""loop.wind, compiled or not."""


@dataclass(slots=True)
class _Table:
    numbers: Any
    filled: int = 0


class Clock:
    """Deals the factors of the updates to come.

    Args:
        make: Returns so many numbers to write into.
    """

    def __init__(self, make: Callable[[int], Any]) -> None:
        self._make = make
        self._tables = OrderedDict[tuple[Any, ...], _Table]()

    def deal(
        self, key: tuple[Any, ...], step: int, count: int, *, wind: Wind, num_factors: int
    ) -> tuple[Any, int, int]:
        """Return factors, where those of the first update lie, and the length of a column.

        Args:
            key: Rule and settings, the latter last.
            step: Updates made.
            count: Updates to come.
            wind: Computes what is not there.
            num_factors: Numbers an update.
        """
        settings = key[-1]
        if step + count > KEPT_TICKS:
            numbers = self._make(num_factors * (step + count))
            wind(numbers, step, count, step + count, settings)
            return numbers, step, step + count
        table = self._tables.pop(key, None) or _Table(self._make(num_factors * KEPT_TICKS))
        self._tables[key] = table
        if len(self._tables) > _MOST_KEPT:
            self._tables.popitem(last=False)
        if table.filled < step + count:
            wind(table.numbers, table.filled, step + count - table.filled, KEPT_TICKS, settings)
            table.filled = step + count
        return table.numbers, step, KEPT_TICKS
