"""torch's random numbers on a cpu, drawn without torch: the points and the start that a seed gives.

torch.Generator is the Mersenne Twister of M. Matsumoto and T. Nishimura, 1998, as random.Random is,
seeded by 32 bits. What it makes of the twister's words is written out here; a test holds it against
torch: float64 to the last bits, float32 to a few units in the last place, because the logarithms and
cosines of torch's vector code are its own.
"""

import math
import random
from array import array
from collections.abc import Callable
from typing import Final

from app.domain.data import Floats, Generated, Generator, Preset
from app.domain.presets import DATA_PRESET_POINTS
from app.domain.spec import Start

_WORDS: Final = 624
_BLOCK: Final = 16
"""Normal numbers are made sixteen at a time, eight radii and eight angles."""

Points = tuple[Floats, Floats]


class Twister:
    """The stream of words behind a torch.Generator.

    Args:
        seed: As for manual_seed; its low 32 bits count.
    """

    def __init__(self, seed: int) -> None:
        word = seed & 0xFFFFFFFF
        words = [word]
        for i in range(1, _WORDS):
            word = (1812433253 * (word ^ (word >> 30)) + i) & 0xFFFFFFFF
            words.append(word)
        self._source = random.Random()  # noqa: S311  # to repeat a draw, not to keep a secret
        self._source.setstate((3, (*words, _WORDS), None))

    def _word(self) -> int:
        return self._source.getrandbits(32)

    def uniform_float32(self) -> float:
        """Return a number of [0, 1) of 24 bits."""
        return (self._word() & 0xFFFFFF) * 2.0**-24

    def uniform_float64(self) -> float:
        """Return a number of [0, 1) of 53 bits, the first word on top."""
        high, low = self._word(), self._word()
        return (((high << 32) | low) & ((1 << 53) - 1)) * 2.0**-53

    def normal(self, count: int, *, dtype: str = "float64") -> Floats:
        """Return what torch.randn(count, dtype=...) gives."""
        uniform = self.uniform_float32 if dtype == "float32" else self.uniform_float64
        if count < _BLOCK:
            found = self._one_by_one(count)
        else:
            found = array("d", (uniform() for _ in range(count)))
            for first in range(0, count - _BLOCK + 1, _BLOCK):
                _to_normal(found, first, dtype)
            if count % _BLOCK:
                # The last sixteen are drawn anew, some of them for the second time.
                found[count - _BLOCK :] = array("d", (uniform() for _ in range(_BLOCK)))
                _to_normal(found, count - _BLOCK, dtype)
        return round_to(found, dtype)

    def _one_by_one(self, count: int) -> Floats:
        found = array("d")
        while len(found) < count:
            angle = 2.0 * math.pi * self.uniform_float64()
            radius = math.sqrt(-2.0 * math.log1p(-self.uniform_float64()))
            found.extend((radius * math.cos(angle), radius * math.sin(angle)))
        return found[:count]


def _to_normal(values: Floats, first: int, dtype: str) -> None:
    """Turn sixteen uniform numbers into normal ones, in place: G. E. P. Box and M. E. Muller, 1958."""
    rounded = _single if dtype == "float32" else float
    half = _BLOCK // 2
    for i in range(first, first + half):
        radius = rounded(math.sqrt(-2.0 * rounded(math.log(1.0 - values[i]))))
        angle = rounded(rounded(2.0 * math.pi) * values[i + half])
        values[i] = radius * rounded(math.cos(angle))
        values[i + half] = radius * rounded(math.sin(angle))


def _single(value: float) -> float:
    return array("f", (value,))[0]


def round_to(values: Floats, dtype: str) -> Floats:
    """Return numbers as a dtype holds them, as float64; infinite beyond its range."""
    return array("d", array("f", values)) if dtype == "float32" else values


def draw_points(data: Preset | Generated, twister: Twister) -> Points:
    """Return the points of a preset or a generator, in the order that the worker draws them."""
    if isinstance(data, Generated):
        return _generate(data.generate, twister)
    x, y = _draw_preset(data.preset, twister)
    return x[: data.points], y[: data.points]


def draw_start(twister: Twister) -> Start:
    """Return what nn.Linear(1, 1) draws: weight, then bias, both uniform in [-1, 1) in float32."""
    weight, bias = round_to(
        array("d", (2.0 * twister.uniform_float32() - 1.0 for _ in range(2))), "float32"
    )
    return Start(a=weight, b=bias)


def _draw_preset(name: str, twister: Twister) -> Points:
    count = DATA_PRESET_POINTS[name]
    if name == "classic":
        x = twister.normal(count, dtype="float32")
        return x, x
    shift = 1e6 if name == "far" else 0.0
    x = array("d", (value + shift for value in twister.normal(count)))
    y = _line(x, twister.normal(count), a=2.0, b=1.0, noise=0.1)
    if name == "outliers":
        for i in range(9, count, 10):
            y[i] += 10.0
    return x, y


def _generate(rule: Generator, twister: Twister) -> Points:
    if isinstance(rule.x, str):
        x = twister.normal(rule.n)
    else:
        low, high = rule.x
        uniform: Callable[[], float] = twister.uniform_float64
        x = array("d", (low + (high - low) * uniform() for _ in range(rule.n)))
    return x, _line(x, twister.normal(rule.n), a=rule.a, b=rule.b, noise=rule.noise)


def _line(x: Floats, noise_of: Floats, *, a: float, b: float, noise: float) -> Floats:
    return array(
        "d", (a * value + b + noise * wild for value, wild in zip(x, noise_of, strict=True))
    )
