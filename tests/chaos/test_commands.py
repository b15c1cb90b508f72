"""The two commands for people: their targets, and what they leave behind."""

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

from tests.acceptance.houses import processes_of
from tests.chaos.rows.sheet import BEGIN, END, NOT_MEASURED
from tests.waiting import wait_until

ROOT: Final = Path(__file__).resolve().parents[2]
MAKEFILE: Final = (ROOT / "Makefile").read_text(encoding="utf-8")


def test_chaos_is_a_make_target() -> None:
    assert "$(PY) -m tests.chaos $(if $(SECONDS),--seconds $(SECONDS))" in MAKEFILE
    assert "$(PY) -m tests.chaos.faults $(ROWS)" in MAKEFILE


@pytest.mark.acceptance
@pytest.mark.timeout(300)
def test_row_is_measured_and_written_down(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"before\n{BEGIN}\n{END}\nafter\n")

    ended = subprocess.run(
        [sys.executable, "-m", "tests.chaos.faults", "keys", "--page", str(page)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    lines = page.read_text().splitlines()

    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert [lines[0], lines[1], lines[-2], lines[-1]] == ["before", BEGIN, END, "after"]
    assert (
        "| one key, two posts / eight at once | 2 jobs / 8 jobs | 2 / 8 "
        "| 0 lost, 0 doubled, 0 stuck; 1 job / 1 job |"
    ) in lines
    assert sum(NOT_MEASURED in line for line in lines) > 10


@pytest.mark.acceptance
@pytest.mark.timeout(300)
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_chaos_that_is_stopped_leaves_nothing_behind(how: signal.Signals, tmp_path: Path) -> None:
    running = subprocess.Popen(
        [sys.executable, "-m", "tests.chaos", "--seconds", "60", "--keep", str(tmp_path)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )
    logs = tmp_path / "data" / "logs" / "api.log"
    wait_until(lambda: logs.exists() and "POST" in logs.read_text(), "jobs run", seconds=120)
    os.kill(running.pid, how)
    printed, _ = running.communicate(timeout=120)

    assert running.returncode == 130, printed
    assert "nothing is left running" in printed
    assert processes_of(tmp_path / "data") == {}
    assert processes_of(tmp_path / "redis") == {}
