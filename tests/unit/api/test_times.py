"""Moments on the wire."""

import pytest

from app.api.times import from_text, to_iso, to_ms
from app.domain.errors import InvalidParameter


def test_time_is_utc_with_milliseconds_and_z() -> None:
    assert to_iso(1_770_000_000_123) == "2026-02-02T02:40:00.123Z"
    assert to_iso(0) == "1970-01-01T00:00:00.000Z"
    assert to_iso(None) is None


@pytest.mark.parametrize(
    ("typed", "at_ms"),
    [
        ("1970-01-01T00:00:01Z", 1000),
        ("1970-01-01T00:00:01", 1000),
        ("1970-01-01T01:00:01+01:00", 1000),
        ("1970-01-01T01:00:01 01:00", 1000),
        ("1970-01-02", 86_400_000),
        ("1.5", 1500),
        (2, 2000),
        (2.25, 2250),
    ],
)
def test_time_is_read_in_every_form(typed: str | float, at_ms: int) -> None:
    assert to_ms(typed) == at_ms


@pytest.mark.parametrize("typed", ["", "soon", "nan", "inf", "-1", "1e300", "1969-12-31", "1e12"])
def test_time_that_is_none_is_refused(typed: str) -> None:
    assert to_ms(typed) is None
    with pytest.raises(InvalidParameter, match="created_after must be a time"):
        from_text(typed, name="created_after")
