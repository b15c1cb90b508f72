"""The type of the builders in conftest.py: keywords replace their defaults."""

from collections.abc import Callable
from typing import TypeVar

Built = TypeVar("Built")
Make = Callable[..., Built]
