"""The compiler, without which Redis cannot be given a disk or a clock that fails."""

import os

import pytest

from tests.power.shim import find_compiler


@pytest.fixture
def compiler() -> str:
    """The machine's C compiler; CI has one."""
    found = find_compiler()
    if found is None and "CI" not in os.environ:
        pytest.skip("this machine has no C compiler")
    assert found is not None, "CI has no C compiler"
    return found
