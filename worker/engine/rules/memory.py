"""Where a rule's memory lies in one long row of numbers: one after the other, `width` apart."""

from collections.abc import MutableSequence

from worker.engine.rules.numbers import State


def load_1(memory: MutableSequence[float], at: int, width: int) -> State:
    """Return one remembered number."""
    return (memory[at],)


def store_1(memory: MutableSequence[float], at: int, width: int, state: State) -> None:
    """Put it back."""
    memory[at] = state[0]


def load_2(memory: MutableSequence[float], at: int, width: int) -> State:
    """Return two remembered numbers."""
    return memory[at], memory[at + width]


def store_2(memory: MutableSequence[float], at: int, width: int, state: State) -> None:
    """Put them back."""
    memory[at] = state[0]
    memory[at + width] = state[1]


def load_3(memory: MutableSequence[float], at: int, width: int) -> State:
    """Return three remembered numbers."""
    return memory[at], memory[at + width], memory[at + 2 * width]


def store_3(memory: MutableSequence[float], at: int, width: int, state: State) -> None:
    """Put them back."""
    memory[at] = state[0]
    memory[at + width] = state[1]
    memory[at + 2 * width] = state[2]


def load_4(memory: MutableSequence[float], at: int, width: int) -> State:
    """Return four remembered numbers."""
    return memory[at], memory[at + width], memory[at + 2 * width], memory[at + 3 * width]


def store_4(memory: MutableSequence[float], at: int, width: int, state: State) -> None:
    """Put them back."""
    memory[at] = state[0]
    memory[at + width] = state[1]
    memory[at + 2 * width] = state[2]
    memory[at + 3 * width] = state[3]
