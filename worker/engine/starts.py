"""The draws of nn.Linear(1, 1) under many seeds at once, bit for bit.

problem.draw_start draws one and takes 20 us of it; here a million take a second. torch's generator
on the CPU is MT19937, whose first two numbers depend on four of its 624 words.
"""

import math
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from worker.engine.bowls import Floats

Seeds = npt.NDArray[np.uint64]
Words = npt.NDArray[Any]
"""uint32."""

_AT_ONCE: Final = 4096
"""Seeds whose words stay in the processor's first cache."""
_MIDDLE: Final = 397
"""Distance of the words that are mixed."""
_BOUND: Final = math.sqrt(3.0) * (math.sqrt(2.0 / (1 + math.sqrt(5.0) ** 2)) / math.sqrt(1.0))
"""Of the weight: nn.init.kaiming_uniform_ with a = sqrt(5) for one input, in its own operations."""


def draw_starts(seeds: Seeds) -> tuple[Floats, Floats]:
    """Return slope and intercept that each seed draws first, shape (seeds,), float32 values.

    M. Matsumoto and T. Nishimura, "Mersenne Twister", 1998.
    """
    first, second = np.empty(len(seeds), np.uint32), np.empty(len(seeds), np.uint32)
    for start in range(0, len(seeds), _AT_ONCE):
        part = slice(start, start + _AT_ONCE)
        first[part], second[part] = _two_words(seeds[part].astype(np.uint32))
    return _uniform(first, _BOUND), _uniform(second, 1.0)


def _two_words(word: Words) -> list[Words]:
    """Return the generator's first two numbers."""
    kept = {0: word}
    scratch, state = np.empty_like(word), word.copy()
    for place in range(1, _MIDDLE + 2):
        np.right_shift(state, 30, out=scratch)
        np.bitwise_xor(state, scratch, out=state)
        np.multiply(state, np.uint32(1_812_433_253), out=state)
        np.add(state, np.uint32(place), out=state)
        if place <= 2 or place >= _MIDDLE:  # noqa: PLR2004  # the words that are mixed
            kept[place] = state.copy()
    return [_temper(_twist(kept[i], kept[i + 1], kept[i + _MIDDLE])) for i in (0, 1)]


def _twist(high: Words, low: Words, far: Words) -> Words:
    mixed = (high & np.uint32(0x80000000)) | (low & np.uint32(0x7FFFFFFF))
    found: Words = far ^ (mixed >> 1) ^ np.where(low & 1, np.uint32(0x9908B0DF), np.uint32(0))
    return found


def _temper(word: Words) -> Words:
    word = word ^ (word >> 11)
    word = word ^ ((word << 7) & np.uint32(0x9D2C5680))
    word = word ^ ((word << 15) & np.uint32(0xEFC60000))
    found: Words = word ^ (word >> 18)
    return found


def _uniform(word: Words, bound: float) -> Floats:
    """Return float32 numbers from -bound to bound, as Tensor.uniform_ makes them of 24 bits."""
    share = (word & np.uint32((1 << 24) - 1)).astype(np.float32) * np.float32(2.0**-24)
    low, high = np.float32(-bound), np.float32(bound)
    found: Floats = (share * (high - low) + low).astype(np.float64)
    return found
