"""What the acceptance tests share: one house that serves, and houses of their own."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.acceptance.houses import House


@pytest.fixture(scope="session")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """A house that serves for the whole run, started as `make run` starts it."""
    serving = House(tmp_path_factory.mktemp("house") / "data", "--demo").wait_until_ready()
    # Whichever test comes first may stop the API, and the classic job's answer would be lost.
    serving.wait_until_printed("/reproduce.py")
    yield serving
    if serving.process.poll() is None:
        serving.stop()


@pytest.fixture
def open_house(tmp_path: Path) -> Iterator[Callable[..., House]]:
    """Start houses that this test alone uses; none outlives it."""
    opened: list[House] = []

    def start(*options: str, environment: dict[str, str] | None = None) -> House:
        opened.append(House(tmp_path / "data", *options, environment=environment))
        return opened[-1]

    yield start
    for house in opened:
        if house.process.poll() is None:
            house.stop()
