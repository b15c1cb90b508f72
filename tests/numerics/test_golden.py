"""Histories do not drift: not with a new torch, not with a new idea of ours."""

import pytest

from tests.numerics.golden import CASES, FOLDER, run, to_text


def numbers(text: str) -> list[float]:
    return [float(word) for line in text.splitlines()[1:] for word in line.split()]


@pytest.mark.parametrize("name", CASES)
def test_history_is_golden(name: str) -> None:
    golden = numbers((FOLDER / f"{name}.txt").read_text())
    now = numbers(to_text(run(name)))

    # Another processor may add in another order; a change of ours moves more than that.
    tolerance = 1e-4 if "float32" in str(CASES[name]) else 1e-9
    assert now == pytest.approx(golden, rel=tolerance, abs=tolerance * 1e-3)


def test_every_golden_file_has_a_case() -> None:
    assert sorted(path.stem for path in FOLDER.iterdir()) == sorted(CASES)
