"""Which form of a resource is chosen."""

import pytest

from app.api.formats import choose_format
from app.domain.errors import InvalidParameter, NotAcceptable

OFFERED = ("json", "csv", "ndjson")


@pytest.mark.parametrize(
    ("asked", "accept", "form"),
    [
        (None, None, "json"),
        (None, "*/*", "json"),
        (None, "text/csv", "csv"),
        (None, "TEXT/CSV", "csv"),
        (None, "text/*", "csv"),
        (None, "application/json;q=0.5, application/x-ndjson", "ndjson"),
        (None, "text/html, application/xhtml+xml, */*;q=0.8", "json"),
        (None, "application/json;q=0, */*", "csv"),
        (None, "application/json;q=broken, text/csv;q=0.1", "csv"),
        ("csv", "application/json", "csv"),
        ("JSONL", None, "ndjson"),
    ],
)
def test_format_is_what_was_asked_for(asked: str | None, accept: str | None, form: str) -> None:
    assert choose_format(asked, accept, offered=OFFERED) == form


def test_text_has_a_short_name() -> None:
    assert choose_format("txt", None, offered=("json", "text")) == "text"


def test_unknown_format_is_refused_with_a_hint() -> None:
    with pytest.raises(InvalidParameter, match='did you mean "csv"'):
        choose_format("cvs", None, offered=OFFERED)
    with pytest.raises(InvalidParameter, match=r"one of json, csv, ndjson$"):
        choose_format("x", None, offered=OFFERED)


def test_accept_that_excludes_everything_is_refused() -> None:
    with pytest.raises(NotAcceptable, match="application/json, text/csv"):
        choose_format(None, "image/png", offered=OFFERED)
