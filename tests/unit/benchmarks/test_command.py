"""The command for people: its target, its parts, and what it leaves behind."""

import json
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Final

import pytest

from benchmarks.__main__ import PARTS, collect, main
from benchmarks.page import BEGIN, END
from benchmarks.table import Row

ROOT: Final = Path(__file__).resolve().parents[3]
PAGE: Final = ROOT / "docs" / "performance.md"


def test_bench_is_a_make_target() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")

    assert "PYTHONPATH=$(PEERS) $(PY) -m benchmarks" in makefile


def test_peers_are_no_part_of_the_service() -> None:
    locks = [ROOT / "requirements.lock", ROOT / "benchmarks" / "requirements.lock"]
    service, peers = (
        {line.partition("==")[0] for line in lock.read_text().splitlines() if "==" in line}
        for lock in locks
    )

    assert {"jax", "optax", "scipy", "scikit-learn"} <= peers
    assert service & peers == set()


@pytest.mark.parametrize("part", [part for part in PARTS if part != "service"])
def test_part_is_a_file_and_a_line_of_the_page(part: str) -> None:
    assert find_spec(f"benchmarks.{part}")
    assert f"| `{part}` |" in PAGE.read_text(encoding="utf-8")


def test_unknown_part_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["sweep"])

    assert "no part sweep: choose from engine, one_run, sweeps" in capsys.readouterr().err


def test_part_that_breaks_off_takes_no_other_with_it(capsys: pytest.CaptureFixture[str]) -> None:
    def measure(part: str, *, quick: bool) -> list[Row]:
        if part == "broken":
            raise RuntimeError("no disk")
        return [Row(case=part, goal="fast", measured=str(quick), ratio=1.0, passed=True)]

    rows, status = collect(["first", "broken", "last"], quick=True, measure=measure)

    assert status == 1
    assert [(row.case, row.passed) for row in rows] == [
        ("first", True),
        ("broken", False),
        ("last", True),
    ]
    assert rows[1].measured == "RuntimeError: no disk"
    assert "RuntimeError: no disk" in capsys.readouterr().err


@pytest.mark.slow
def test_run_prints_and_writes_its_rows(tmp_path: Path) -> None:
    written, page = tmp_path / "rows.json", tmp_path / "page.md"
    page.write_text(f"{BEGIN}\n{END}\n", encoding="utf-8")
    words = ["histories", "--quick", "--json", str(written), "--page", str(page)]
    ended = subprocess.run(
        [sys.executable, "-m", "benchmarks", *words],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )

    assert ended.returncode == 0, ended.stderr
    rows = [Row(**row) for row in json.loads(written.read_text())["rows"]]
    assert {row.goal for row in rows} == {"at most 1 ms", "at most 16 bytes"}
    for row in rows:
        assert row.case in ended.stdout
        assert row.case in page.read_text(encoding="utf-8")
    assert "one thread a library" in ended.stdout
