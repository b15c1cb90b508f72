"""How long a request asks to be held."""

import pytest

from app.api.wait import Wait, parse_wait
from app.domain.errors import InvalidParameter


@pytest.mark.parametrize(
    ("asked", "prefer", "seconds", "applied"),
    [
        (None, None, 0.0, None),
        ("", None, 30.0, None),
        ("true", None, 30.0, None),
        ("false", None, 0.0, None),
        ("10", None, 10.0, None),
        ("0.5", None, 0.5, None),
        ("1000", None, 55.0, None),
        ("inf", None, 55.0, None),
        (None, "wait=10", 10.0, "wait=10"),
        (None, 'respond-async, wait="7"', 0.0, "wait=0"),
        (None, "Wait = 7; x=1, respond-async", 7.0, "wait=7"),
        (None, "wait", 30.0, "wait=30"),
        (None, "wait=900", 55.0, "wait=55"),
        (None, "return=minimal", 0.0, None),
        (None, "wait=soon", 0.0, None),
        ("3", "wait=10", 3.0, None),
    ],
)
def test_wait_is_read_from_query_and_header(
    asked: str | None, prefer: str | None, seconds: float, applied: str | None
) -> None:
    wait = parse_wait(asked, prefer, default=0.0, cap=55.0)

    assert wait == Wait(seconds=seconds, applied=applied)
    assert wait.headers() == ({"Preference-Applied": applied} if applied else {})


def test_default_holds_when_nothing_is_said() -> None:
    assert parse_wait(None, None, default=30.0, cap=55.0).seconds == 30.0
    assert parse_wait(None, None, default=30.0, cap=5.0).seconds == 5.0
    assert parse_wait("0", None, default=30.0, cap=55.0).seconds == 0.0


@pytest.mark.parametrize("asked", ["soon", "-1", "nan", "1s"])
def test_wait_that_is_no_number_is_refused(asked: str) -> None:
    with pytest.raises(InvalidParameter, match="wait must be a number of seconds up to 55"):
        parse_wait(asked, None, default=0.0, cap=55.0)
