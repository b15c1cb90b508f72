"""A line is written as people write it; what an earlier release stored is read."""

import json

import pytest

from app.domain.outcome import Outcome
from app.domain.result import EngineUsed, format_equation
from tests.store.samples import ENGINE, make_outcome


@pytest.mark.parametrize(
    ("a", "b", "text"),
    [
        (0.99994, 0.0, "y = 0.9999\u00b7x + 0.0000"),
        (1.0, -0.5, "y = 1.0000\u00b7x - 0.5000"),
        (-2.0, 1.0, "y = -2.0000\u00b7x + 1.0000"),
        (1e-5, -1e-9, "y = 1e-05\u00b7x - 1e-09"),
        (1234567.0, 2e7, "y = 1.235e+06\u00b7x + 2e+07"),
        (-0.0, -0.0, "y = 0.0000\u00b7x + 0.0000"),
    ],
)
def test_equation_shows_four_digits_that_count(a: float, b: float, text: str) -> None:
    assert format_equation(a, b) == text


def test_engine_of_an_earlier_release_was_held_against_nothing() -> None:
    stored = '{"name": "torch", "reason": "asked for", "version": "2.13.0"}'

    assert EngineUsed.model_validate_json(stored).verified is None
    assert EngineUsed.model_validate_json(ENGINE.model_dump_json()) == ENGINE


def test_run_of_an_earlier_release_was_made_by_the_plain_loop() -> None:
    stored = json.loads(make_outcome().model_dump_json())
    del stored["runs"][0]["engine"]

    assert Outcome.model_validate_json(json.dumps(stored)).runs[0].engine == "torch"
