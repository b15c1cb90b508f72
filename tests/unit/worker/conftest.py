"""A worker's desk on the private Redis."""

from collections.abc import Iterator

import pytest

from app.settings import Settings
from tests.unit.worker.desk import TestDesk


@pytest.fixture
def desk(redis_url: str, settings: Settings) -> Iterator[TestDesk]:
    with TestDesk(redis_url, settings) as opened:
        yield opened
