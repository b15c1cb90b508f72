"""What a pool's children tell their parent through shared memory: who lives, works and gets on.

Counters only. Whoever watches counts its own looks between two changes, so no clock is compared
with another process's, and a machine that slept has missed no time.
"""

import mmap
import os
from typing import Final

_PID, _BUSY, _BEATS, _WAKES = range(4)
_WORDS: Final = 4
_WORD_BYTES: Final = 8


class Pulse:
    """One process's vital signs; only that process writes them.

    Args:
        words: Four 64-bit words, shared with whoever watches; its own when left out.
    """

    def __init__(self, words: "memoryview[int] | None" = None) -> None:
        own = memoryview(bytearray(_WORDS * _WORD_BYTES)).cast("Q")
        self._words = own if words is None else words

    @property
    def pid(self) -> int:
        """Whose they are; 0 when nobody has signed yet."""
        return self._words[_PID]

    @property
    def is_busy(self) -> bool:
        """Whether a job is in hand."""
        return self._words[_BUSY] == 1

    @property
    def beats(self) -> int:
        """How often the computing has got on."""
        return self._words[_BEATS]

    @property
    def wakes(self) -> int:
        """How many wake-ups were taken."""
        return self._words[_WAKES]

    def sign(self) -> None:
        """Begin as this process, idle; counts go on from whoever was here before."""
        self._words[_BUSY] = 0
        self._words[_PID] = os.getpid()

    def hold(self, *, is_busy: bool) -> None:
        """Tell whether a job is in hand from now on."""
        self._words[_BUSY] = int(is_busy)

    def beat(self) -> None:
        """Tell that the computing has got on."""
        self._words[_BEATS] += 1

    def take(self) -> None:
        """Tell that a wake-up was taken."""
        self._words[_WAKES] += 1


class Pulses:
    """The vital signs of a whole pool; make it before the fork.

    Args:
        count: Most children; pages that nobody writes to take no memory.
    """

    def __init__(self, count: int = 4096) -> None:
        words = memoryview(mmap.mmap(-1, count * _WORDS * _WORD_BYTES)).cast("Q")
        self._pulses = [
            Pulse(words[first : first + _WORDS]) for first in range(0, len(words), _WORDS)
        ]

    def __getitem__(self, index: int) -> Pulse:
        """Return the pulse of the child at a place in the pool; its successor gets the same."""
        return self._pulses[index]

    def signed(self) -> list[Pulse]:
        """Return those that a child has signed."""
        return [pulse for pulse in self._pulses if pulse.pid]

    def at_work(self) -> list[Pulse]:
        """Return those of living children that have a job in hand."""
        return [pulse for pulse in self.signed() if pulse.is_busy and not has_ended(pulse.pid)]


def has_ended(pid: int) -> bool:
    """Tell whether a child has ended, without taking its status from whoever waits for it."""
    waitid = getattr(os, "waitid", None)  # macOS has it since Python 3.13
    if waitid is None:
        return False
    try:
        return waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
    except ChildProcessError:
        return True
