"""Puts rule and loop together into one text that an executor takes: words defined, rule bound."""

import ast
import inspect
import re
from collections.abc import Callable
from functools import cache
from typing import Any, Final, Literal

from worker.engine import moments_pass, series_pass
from worker.engine.rules import loop, memory, numbers
from worker.engine.rules.rule import Rule

NumberType = Literal["float32", "float64"]

_LOOPS: Final = (
    loop.wind,
    loop.seven,
    loop.note,
    loop.errors,
    loop.five,
    loop.pull,
    loop.gradient,
    loop.incline,
    loop.losses,
    loop.steepness,
    loop.judge,
    loop.put,
    loop.advance,
    loop.sweep,
)

_SINGLE: Final = """
from array import array
_cell = array("f", (0.0,))
def single(value):
    _cell[0] = value
    return _cell[0]
"""
# A product with one rounds to the type of the one, in a third of the time that a constructor takes.
_SCALARS: Final = """
from numpy import {number}, sqrt as root
wide = float
one = {number}(1.0)
def real(value):
    return one * value

"""
_PLAIN: Final = """
from math import sqrt as root
"""
_COMPILED: Final = """
from math import sqrt as root
from numba import boolean, float32, float64, int64, njit, types
real, wide = {number}, float64
UniTuple = types.UniTuple
INLINE = {{"error_model": "numpy", "nogil": True}}
ENTRY = {{**INLINE, "cache": True}}
ROW, LINE = float64[::1], real[::1]
@njit(**INLINE)
def single(value):
    return float64(float32(value))
@njit(**INLINE)
def power(base, exponent):
    return base**exponent
"""
INLINE: Final = "@njit(**INLINE)\n"
"""What stands before a function that others of a compiled text call."""
_SIGNATURES: Final = {
    "advance": """(
    int64,
    types.Tuple((boolean, int64, int64)),
    types.Tuple((UniTuple(float64, 6), UniTuple(float64, 9), UniTuple(float64, {settings}), boolean)),
    types.Tuple((LINE, LINE, LINE, ROW)),
    types.Tuple((ROW, int64, ROW, int64, ROW, int64, int64)),
    types.Tuple((int64[::1], ROW, ROW, ROW, ROW, ROW)),
)""",
    "wind": "(ROW, int64, int64, int64, UniTuple(float64, {settings}))",
    "sweep": """(
    types.UniTuple(int64, 3),
    types.UniTuple(LINE, 3),
    ROW,
    UniTuple(float64, 9),
    UniTuple(float64, {settings}),
    types.Tuple((ROW, boolean, int64, int64)),
)""",
}


@cache
def plain_text(rule: Rule) -> str:
    """Return the text for float64 on Python's own floats, where rounding is nothing to do."""
    text = _SINGLE + _PLAIN + bare(numbers.power) + _body(rule)
    return re.sub(r"\b(real|wide)\(", "(", text)


@cache
def scalar_text(rule: Rule, number: NumberType) -> str:
    """Return the text on NumPy's scalars: any number type, and no division raises."""
    return _SINGLE + _SCALARS.format(number=number) + bare(numbers.power) + _body(rule)


def compiled_text(rule: Rule, number: NumberType, *, num_settings: int) -> str:
    """Return the text of a module that numba compiles when it is imported."""

    def decorate(function: Callable[..., Any]) -> str:
        signature = _SIGNATURES.get(function.__name__)
        if signature is None:
            return INLINE
        return f"@njit([{signature.format(settings=num_settings)}], **ENTRY)\n"

    return header(number) + _body(rule, decorate)


def header(number: NumberType) -> str:
    """Return the words that a compiled text begins with."""
    return _COMPILED.format(number=number)


def passes_text() -> str:
    """Return the text of a module that has the passes over the points compiled."""
    parts = [header("float64"), "import numpy as np\n"]
    for function, takes in (
        (moments_pass.sum_pass, "(ROW, ROW, float64, float64)"),
        (moments_pass.residual_pass, "(ROW, ROW, UniTuple(float64, 5))"),
    ):
        parts.append(f"@njit([{takes}], **ENTRY)\n{bare(function)}")
    return "\n".join(parts)


def series_text() -> str:
    """Return the text of a module that has the exact lines of many series compiled."""
    parts = [header("float64"), "import math\n"]
    parts += [
        INLINE + bare(function)
        for function in (
            series_pass.two_sum,
            series_pass.two_product,
            series_pass.plus,
            series_pass.minus,
            series_pass.times,
            series_pass.over,
            series_pass.divided,
            series_pass.added,
            series_pass.centred_sums,
            series_pass.residual_sum,
            series_pass.solve_series,
        )
    ]
    entry = f"@njit([(ROW, ROW, int64[::1], ROW)], **ENTRY)\n{bare(series_pass.series_pass)}"
    return "\n".join([*parts, entry])


def _body(rule: Rule, decorate: Callable[[Callable[..., Any]], str] = lambda _: "") -> str:
    """Return the functions in the order of use, the rule's own bound to the loop's names."""
    parts = ["import math\n", *bind(rule, decorate)]
    parts += [decorate(function) + bare(function) for function in _LOOPS]
    return "\n".join(parts)


def bind(rule: Rule, decorate: Callable[[Callable[..., Any]], str]) -> list[str]:
    """Return a rule's own functions, and lines that give them the loop's names."""
    bound: dict[str, Callable[..., Any]] = {
        "factors": rule.factors,
        "update": rule.update,
        "load": _sized("load", rule.remembers),
        "store": _sized("store", rule.remembers),
        "tell": _sized("load", rule.num_factors),
        "set_to": _sized("store", rule.num_factors),
    }
    own: dict[Callable[..., Any], None] = dict.fromkeys((numbers.lerp, *bound.values()))
    parts = [decorate(function) + bare(function) for function in own]
    return [*parts, *(f"{word} = {function.__name__}" for word, function in bound.items())]


def _sized(verb: str, count: int) -> Callable[..., Any]:
    """Return the function of memory.py for so many numbers."""
    function: Callable[..., Any] = getattr(memory, f"{verb}_{count}")
    return function


@cache  # the rules share most of their functions, and every worker asks for all of the texts
def bare(function: Callable[..., Any]) -> str:
    """Return a function's source without its annotations, whose names the text does not have."""
    tree = ast.parse(inspect.getsource(function))
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef):
            node.returns = None
        elif isinstance(node, ast.arg):
            node.annotation = None
    return f"{ast.unparse(tree)}\n"
