"""Versions of a job on the wire: the ETag is the seq of its last change."""

from typing import Annotated

from fastapi import Header
from starlette.responses import Response

from app.domain.errors import PreconditionFailed
from app.domain.job import JobRecord

IfNoneMatch = Annotated[
    str | None,
    Header(
        alias="If-None-Match",
        description="The ETag of an earlier answer: 304 while nothing has changed. With `?wait` "
        "the answer is held until something has.",
    ),
]
IfMatch = Annotated[
    str | None,
    Header(alias="If-Match", description="Change nothing unless the job is still this version."),
]


def to_etag(*versions: int) -> str:
    """Return an ETag from the numbers that together name a version."""
    return '"' + "-".join(map(str, versions)) + '"'


def matches(header: str | None, etag: str) -> bool:
    """Tell whether a list of ETags names this one; weak ones count (RFC 9110, 13.1.2)."""
    if header is None:
        return False
    given = {part.strip().removeprefix("W/").strip('"') for part in header.split(",")}
    return "*" in given or etag.strip('"') in given


def not_modified(etag: str, headers: dict[str, str]) -> Response:
    """Return the 304 that stands for an answer that the client already has."""
    return Response(status_code=304, headers={**headers, "ETag": etag})


def check_match(record: JobRecord, if_match: str | None) -> int | None:
    """Return the seq that a change must find; None when any will do.

    Raises:
        PreconditionFailed: The job is not the version that If-Match names.
    """
    if if_match is None or if_match.strip() == "*":
        return None
    etag = to_etag(record.seq)
    if not matches(if_match, etag):
        raise PreconditionFailed(
            f"The job is at version {etag}, not {if_match[:80]}: read it again, then repeat"
        )
    return record.seq
