"""The pictures of the docs come from the service, by the script behind `make pictures`."""

import runpy
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any, Final

import pytest

from tests.acceptance.houses import House
from tests.docs.pages import ROOT

SCRIPT: Final = ROOT / ".ci" / "pictures.py"
LARGEST_BYTES: Final = 150_000


@pytest.fixture
def script() -> dict[str, Any]:
    return runpy.run_path(str(SCRIPT))


@pytest.mark.acceptance
def test_picture_is_drawn_by_the_service(
    script: dict[str, Any], served: House, tmp_path: Path
) -> None:
    drawn = script["draw"]("weak-optimizers", url=served.url, directory=tmp_path)

    shown = "".join(ET.fromstring(drawn.read_text(encoding="utf-8")).itertext())  # noqa: S314 - ours
    assert all(name in shown for name in ("Adam", "SGD", "Adagrad", "ASGD", "excess loss"))


def test_every_picture_is_there_and_small(script: dict[str, Any]) -> None:
    for name in script["SPECS"]:
        picture = script["DIRECTORY"] / f"{name}.svg"

        assert 1_000 < picture.stat().st_size < LARGEST_BYTES


def test_no_picture_is_left_over(script: dict[str, Any]) -> None:
    assert {path.stem for path in script["DIRECTORY"].iterdir()} == set(script["SPECS"])


def test_makefile_draws_the_pictures() -> None:
    assert "$(PY) .ci/pictures.py" in (ROOT / "Makefile").read_text(encoding="utf-8")
