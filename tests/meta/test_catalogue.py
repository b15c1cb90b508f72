"""app/domain/catalogue.json is what the installed torch says."""

import subprocess
import sys

import pytest


@pytest.mark.slow
def test_catalogue_has_not_drifted_from_torch() -> None:
    check = subprocess.run(
        [sys.executable, "-m", "worker.catalogue", "--check"], capture_output=True, check=False
    )

    assert check.stderr.decode() == ""
    assert check.returncode == 0
