"""Versions on the wire."""

import pytest

from app.api.etag import check_match, matches, not_modified, to_etag
from app.domain.errors import PreconditionFailed
from app.domain.job import JobRecord, Status
from app.domain.result import DeviceUsed
from app.domain.spec import FitSpec

RECORD = JobRecord(
    id="job_1",
    spec=FitSpec(),
    status=Status.QUEUED,
    seq=7,
    created_at_ms=0,
    queued_at_ms=0,
    device=DeviceUsed(requested="auto", queue="cpu", reason="few points"),
)


@pytest.mark.parametrize("header", ['"7"', 'W/"7"', "7", '"6", "7"', "*"])
def test_etag_is_found_in_every_spelling(header: str) -> None:
    assert matches(header, to_etag(7))
    assert check_match(RECORD, header) == (None if header == "*" else 7)


@pytest.mark.parametrize("header", ['"8"', '"77"', "", "nonsense"])
def test_other_etags_do_not_match(header: str) -> None:
    assert not matches(header, to_etag(7))
    with pytest.raises(PreconditionFailed, match='The job is at version "7"'):
        check_match(RECORD, header)


def test_no_header_asks_for_nothing() -> None:
    assert not matches(None, to_etag(7))
    assert check_match(RECORD, None) is None


def test_not_modified_has_no_body_but_the_version() -> None:
    answer = not_modified(to_etag(7, 100), {"Retry-After": "1"})

    assert (answer.status_code, answer.body) == (304, b"")
    assert answer.headers["etag"] == '"7-100"'
    assert answer.headers["retry-after"] == "1"
