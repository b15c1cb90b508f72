"""Compiled rules on the disk: built once, loaded without a compiler, and no harm where there are none."""

import logging
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numba.core.compiler
import pytest
import torch

from app.domain.spec import FitSpec
from app.settings import Settings
from tests.numerics.fitted import drain
from tests.waiting import wait_until
from worker import compile as compile_module
from worker.builder import Builder
from worker.engine.moments_pass import install, installed
from worker.engine.problem import load
from worker.engine.rules import kernels as kernels_module
from worker.engine.rules.executors import Compiled, Interpreted
from worker.engine.rules.kernels import Kernels
from worker.engine.rules.rule import RULES
from worker.engine.tiers import TieredRun

NUM_KERNELS = 2 * len({rule.name for rule in RULES.values()})
NUM_TEXTS = 2 * NUM_KERNELS + 2
"""With the loops of many runs, the passes over points and those over series."""
SOME = ("sgd_float32", "sgd_float64")
TWO_OF_THEM = f"""
import sys
from pathlib import Path
from worker.engine.rules import kernels
texts = [text for text in kernels._texts() if text[0] in {SOME}]
kernels._texts = lambda: iter(texts)
print("ready", flush=True)
sys.stdin.readline()
kernels.Kernels(Path(sys.argv[1])).build(lambda stem, _left: print(stem, flush=True))
"""


@pytest.fixture(autouse=True)
def _passes_as_they_were() -> Iterator[None]:
    yield
    install(None)


@pytest.fixture(name="two_kernels")
def _two_kernels(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave two kernels to build: all of them take a minute."""
    texts = [text for text in kernels_module._texts() if text[0] in SOME]
    monkeypatch.setattr(kernels_module, "_texts", lambda: iter(texts))


@pytest.fixture(name="copied")
def _copied(kernels: Kernels, tmp_path: Path) -> Path:
    """A directory with all compiled kernels."""
    shutil.copytree(kernels._place, tmp_path / "copied" / kernels._place.name)
    return tmp_path / "copied"


def forbid_compiling(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_given: Any, **_named: Any) -> None:
        raise AssertionError("this would have compiled something")

    monkeypatch.setattr(numba.core.compiler, "compile_extra", refuse)


def executor_with(kernels: Kernels | None) -> object:
    spec = FitSpec.model_validate({"steps": 30, "stop": {"loss_below": None}, "optimizer": "SGD"})
    task = load(spec, columns=None, device=torch.device("cpu"))
    run = TieredRun(spec, task=task, index=0, label="run", queue="cpu", kernels=kernels)
    assert drain(run)[1].steps == 30
    return run._run._executor  # type: ignore[attr-defined]


def test_without_kernels_plain_python_runs_the_rules(tmp_path: Path) -> None:
    kernels = Kernels(tmp_path / "none")

    assert kernels.load(RULES["Adam"], "float64") is None
    assert kernels.load_all() == 0
    assert len(kernels.missing) == NUM_TEXTS
    assert isinstance(executor_with(kernels), Interpreted)
    assert isinstance(executor_with(None), Interpreted)
    assert not (tmp_path / "none").exists()


@pytest.mark.usefixtures("two_kernels")
def test_what_is_built_is_loaded(tmp_path: Path) -> None:
    told = list[tuple[str, int]]()
    kernels = Kernels(tmp_path / "deep" / "down")
    assert kernels.missing == SOME
    kernels.build(lambda stem, left: told.append((stem, left)))

    assert told == [(SOME[0], 2), (SOME[1], 1)]
    assert kernels.missing == ()
    assert kernels.load_all() == 2
    assert isinstance(executor_with(Kernels(tmp_path / "deep" / "down")), Compiled)
    kernels.build(lambda stem, _left: pytest.fail(f"{stem} is built again"))


@pytest.mark.usefixtures("two_kernels")
def test_a_kernel_that_is_half_built_is_built_again(tmp_path: Path) -> None:
    kernels = Kernels(tmp_path)
    kernels._place.mkdir()
    (kernels._place / f"{SOME[0]}.py").write_text("what a killed process left")

    assert kernels.missing == SOME
    assert kernels.load(RULES["SGD"], "float32") is None
    kernels.build()
    assert kernels.load(RULES["SGD"], "float32") is not None


def test_loading_compiles_nothing(kernels: Kernels, monkeypatch: pytest.MonkeyPatch) -> None:
    forbid_compiling(monkeypatch)
    fresh = Kernels(Settings().kernel_dir)

    assert fresh.missing == kernels.missing == ()
    assert fresh.load_all() == NUM_KERNELS
    assert installed() is not None
    assert isinstance(executor_with(fresh), Compiled)


@pytest.mark.usefixtures("two_kernels")
def test_compiling_would_have_been_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    forbid_compiling(monkeypatch)

    with pytest.raises(AssertionError, match="would have compiled"):
        Kernels(tmp_path).build()


def test_a_directory_that_is_only_readable_will_do(
    copied: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = {path: path.stat().st_mtime_ns for path in copied.rglob("*")}
    forbid_compiling(monkeypatch)
    # Permissions would not stop a test that runs as root.
    monkeypatch.setattr(os, "access", lambda _path, _mode: False)
    kernels = Kernels(copied)

    assert kernels.load_all() == NUM_KERNELS
    assert isinstance(executor_with(kernels), Compiled)
    assert not kernels._place.is_relative_to(copied)
    assert {path: path.stat().st_mtime_ns for path in copied.rglob("*")} == before
    shutil.rmtree(kernels._place.parent)


def test_another_text_has_another_place(copied: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kernels = Kernels(copied)
    assert kernels.missing == ()
    texts = [(stem, f"{text}\n# one word more") for stem, text in kernels_module._texts()]
    monkeypatch.setattr(kernels_module, "_texts", lambda: iter(texts))
    other = Kernels(copied)

    assert other._place != kernels._place
    assert len(other.missing) == NUM_TEXTS
    assert other.load(RULES["Adam"], "float64") is None


def test_two_builders_at_once_compile_each_kernel_once(tmp_path: Path) -> None:
    builders = [
        subprocess.Popen(
            [sys.executable, "-c", TWO_OF_THEM, str(tmp_path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    for process in builders:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in builders:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    said = [process.communicate()[0].split() for process in builders]

    assert [process.returncode for process in builders] == [0, 0]
    assert sorted(said[0] + said[1]) == list(SOME)


def test_a_directory_that_cannot_be_written_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "file"
    file.touch()
    monkeypatch.setenv("FITJOBS_KERNEL_DIR", str(file / "kernels"))
    # This process goes on at its own priority.
    monkeypatch.setattr(os, "nice", lambda _more: 0)

    assert compile_module.main() == 1
    assert capsys.readouterr().err == (
        f"kernels: {file / 'kernels'} cannot be written (Not a directory): plain Python runs the "
        "rules, about 25 times slower; FITJOBS_KERNEL_DIR names another directory\n"
    )


def test_what_is_there_is_said_to_be(
    kernels: Kernels, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert kernels.missing == ()
    monkeypatch.setattr(os, "nice", lambda _more: 0)

    assert compile_module.main() == 0
    assert capsys.readouterr().out == f"kernels: all there, in {Settings().kernel_dir}\n"


def run_builder(directory: Path) -> None:
    builder = Builder(directory)
    builder.start()
    wait_until(lambda: not builder.is_alive, "the compiler has ended", seconds=100)


def test_builder_logs_what_it_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / "file"
    file.touch()
    monkeypatch.setenv("FITJOBS_KERNEL_DIR", str(file / "kernels"))
    with caplog.at_level(logging.INFO):
        run_builder(file / "kernels")

    (record,) = caplog.records
    assert (record.levelname, record.message) == ("WARNING", "kernels.missing")
    assert "cannot be written (Not a directory): plain Python runs the rules" in str(vars(record))


def test_builder_logs_what_it_built(kernels: Kernels, caplog: pytest.LogCaptureFixture) -> None:
    assert kernels.missing == ()
    with caplog.at_level(logging.INFO):
        run_builder(Settings().kernel_dir)

    assert [record.message for record in caplog.records] == ["kernels.built"]


def test_builder_that_is_ended_says_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("FITJOBS_KERNEL_DIR", str(tmp_path))
    builder = Builder(tmp_path)
    with caplog.at_level(logging.INFO):
        builder.start()
        wait_until(lambda: list(tmp_path.glob("*/lock")), "it compiles", seconds=100)
        builder.end()
        wait_until(lambda: not builder.is_alive, "the compiler has ended")

    assert caplog.records == []
    assert Kernels(tmp_path).missing
