"""Straight lines say what the calls said; what a loop writes is worked out in every round."""

import ast
from typing import Any

import pytest

from worker.engine.rules.rule import RULES
from worker.engine.rules.text import plain_text, scalar_text
from worker.engine.straight.line import straighten

NESTED = """
def half(value):
    return value * 0.5

def sign(value, pair):
    low, high = pair
    if value < low:
        return low, -1.0
    if value > high:
        return high, 1.0
    return half(value), 0.0

def main(count, start, to):
    total, has_begun, pair = start, False, (-2.0, 2.0)
    for place in range(count):
        if has_begun:
            total, side = sign(total + start, pair)
            pair = (pair[0] - 1.0, pair[1] + half(side))
        has_begun = True
        to[place] = (half(total), total) if total > 0.0 else (total, half(3.0))
    return total, pair
"""
SWAPPED = """
def turn(x, y):
    return y, x

def main(count, start, to):
    x, y = start, 1.0
    for place in range(count):
        x, y = turn(x, y)
        x = x + y
        to[place] = x
    return x, y
"""
KEPT = """
def grow(value, limit):
    if value < limit:
        value = value + 1.0
    return value

def main(count, start, to):
    value, before = 0.0, 0.0
    for place in range(count):
        before = value
        value = grow(value, start)
        to[place] = value - before
        if value >= start:
            break
    return value, before
"""
DANGEROUS = """
def share(value, parts):
    return value / parts

def main(count, start, to):
    result = 0.0
    for place in range(count):
        if start != 0.0:
            result = share(1.0, start)
        to[place] = result
    return result
"""


def run(text: str, count: int, start: float) -> tuple[Any, list[Any]]:
    words: dict[str, Any] = {}
    exec(text, words)  # noqa: S102  # texts of this file
    to = [None] * count
    return words["main"](count, start, to), to


@pytest.mark.parametrize("start", [0.0, -3.0, 0.7, 2.5, 5.0])
@pytest.mark.parametrize("count", [0, 1, 2, 7])
@pytest.mark.parametrize("text", [NESTED, SWAPPED, KEPT, DANGEROUS])
def test_straight_lines_say_what_the_calls_said(text: str, count: int, start: float) -> None:
    assert run(straighten(text, "main"), count, start) == run(text, count, start)


def calls_within_loops(text: str, entry: str) -> set[str]:
    functions = [node for node in ast.parse(text).body if isinstance(node, ast.FunctionDef)]
    (function,) = [node for node in functions if node.name == entry]
    loops = [node for node in function.body if isinstance(node, ast.For)]
    return {
        node.func.id
        for loop in loops
        for part in loop.body
        for node in ast.walk(part)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
    }


@pytest.mark.parametrize("name", RULES)
def test_a_step_of_a_rule_calls_no_function_of_the_text(name: str) -> None:
    rule = RULES[name]
    texts = (plain_text(rule), scalar_text(rule, "float32"), scalar_text(rule, "float64"))
    # The one is a word of the executor, the other has a way out of its own for what overflows.
    words = {"single", "power"}

    for text in texts:
        own = {node.name for node in ast.parse(text).body if isinstance(node, ast.FunctionDef)}
        assert len(calls_within_loops(text, "advance") & own) > len(words)
        assert calls_within_loops(straighten(text, "advance"), "advance") & own <= words


def test_a_tuple_that_is_asked_for_a_changing_place_is_refused() -> None:
    text = "def main(count):\n    pair = (1.0, 2.0)\n    for at in range(count):\n        x = pair[at]\n    return x"

    with pytest.raises(TypeError, match="pair"):
        straighten(text, "main")
