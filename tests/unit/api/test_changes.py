"""What PATCH accepts."""

from typing import Any

import pytest

from app.api.jobs import parse_changes
from app.domain.errors import Flaw, InvalidSpec
from app.store.jobs import UNSET

NOW_MS = 1_770_000_000_000


def flaw_of(body: object) -> Flaw:
    with pytest.raises(InvalidSpec) as refusal:
        parse_changes(body, now_ms=NOW_MS)
    return refusal.value.flaws[0]


def test_field_that_is_left_out_stays() -> None:
    assert parse_changes({}, now_ms=NOW_MS) == {
        "name": UNSET,
        "tags": UNSET,
        "expires_at_ms": UNSET,
    }


def test_name_can_be_set_and_taken_away() -> None:
    assert parse_changes({"name": "n"}, now_ms=NOW_MS)["name"] == "n"
    assert parse_changes({"name": None}, now_ms=NOW_MS)["name"] is None


def test_tags_are_replaced() -> None:
    assert parse_changes({"tags": {"a": "1"}}, now_ms=NOW_MS)["tags"] == {"a": "1"}


@pytest.mark.parametrize(
    ("given", "at_ms"), [("2026-02-03T00:00:00Z", 1_770_076_800_000), (1.7701e9, 1_770_100_000_000)]
)
def test_expiry_is_a_time_to_come(given: object, at_ms: int) -> None:
    assert parse_changes({"expires_at": given}, now_ms=NOW_MS)["expires_at_ms"] == at_ms


@pytest.mark.parametrize(
    ("body", "pointer", "code"),
    [
        ([], "", "wrong-type"),
        ("x", "", "wrong-type"),
        ({"name": 3}, "/name", "string-type"),
        ({"tags": {"a": 1}}, "/tags/a", "string-type"),
        ({"tags": None}, "/tags", "dict-type"),
        ({"tags": {str(i): "" for i in range(17)}}, "/tags", "too-long"),
        ({"expires_at": None}, "/expires_at", "not-a-time"),
        ({"expires_at": "soon"}, "/expires_at", "not-a-time"),
        ({"expires_at": 1}, "/expires_at", "out-of-range"),
        ({"expires_at": "2100-01-01"}, "/expires_at", "out-of-range"),
        ({"steps": 5}, "/steps", "unknown-field"),
    ],
)
def test_everything_else_is_refused_where_it_stands(body: Any, pointer: str, code: str) -> None:
    flaw = flaw_of(body)

    assert (flaw.pointer, flaw.code) == (pointer, code)


def test_unknown_field_hints_at_the_nearest() -> None:
    assert flaw_of({"nmae": "x"}).did_you_mean == "name"
