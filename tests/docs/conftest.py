"""One house for all pages, started as a reader starts it."""

from collections.abc import Iterator

import pytest

from tests.acceptance.houses import House


@pytest.fixture(scope="session")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """A house that answers the commands of the pages."""
    house = House(tmp_path_factory.mktemp("docs") / "data").wait_until_ready()
    yield house
    house.stop()
