"""A fresh interpreter proves what the import contracts promise: the API is light."""

import json
import subprocess
import sys
from typing import Final

import pytest

HEAVY: Final = ("torch", "numpy", "worker", "vl_convert", "numba", "typer")
_PROBE: Final = "import json, sys, {0}; print(json.dumps(sorted(sys.modules)))"


def modules_after(target: str) -> list[str]:
    probe = subprocess.run(
        [sys.executable, "-W", "error", "-c", _PROBE.format(target)],
        capture_output=True,
        check=True,
    )
    loaded: list[str] = json.loads(probe.stdout)
    return loaded


def test_service_loads_neither_torch_nor_numpy_nor_worker() -> None:
    loaded = modules_after("app.main")

    assert "fastapi" in loaded
    assert [name for name in HEAVY if name in loaded] == []


def test_command_line_loads_nothing_of_the_server() -> None:
    loaded = modules_after("app.client.cli")

    assert [name for name in loaded if name.split(".")[0] in {"fastapi", "redis", "celery"}] == []
    assert [name for name in loaded if name.startswith("app.") and "client" not in name] == []


@pytest.mark.parametrize("target", ["app.embedded.watchdog"])
def test_watchdog_is_standard_library_only(target: str) -> None:
    loaded = modules_after(target)

    assert [name for name in loaded if name.split(".")[0] in {"pydantic", "redis", "celery"}] == []
