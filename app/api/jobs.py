"""Routes of one job: read it, wait for it, cancel, patch and delete it."""

import time
from collections.abc import Mapping
from typing import Any, Final, cast

from fastapi import APIRouter, Request
from pydantic import Field, ValidationError
from starlette.responses import Response

from app.api.asked import AskedDep, JobId
from app.api.body import RawSpec
from app.api.deps import RoomsDep, StoreDep
from app.api.errors import responses
from app.api.etag import IfMatch, IfNoneMatch, check_match, matches, not_modified, to_etag
from app.api.plan import PlannedRoute
from app.api.show import WishDep, answer_job, job_headers
from app.api.times import to_ms
from app.api.view import JOB_PATH
from app.api.wait import WaitDep, is_done, wait_until
from app.domain.errors import (
    Flaw,
    InvalidParameter,
    InvalidSpec,
    JobExpired,
    JobNotFinished,
    JobNotFound,
    MalformedJson,
    NotAcceptable,
    PreconditionFailed,
    StoreUnavailable,
)
from app.domain.flaws import nearest, to_flaws
from app.domain.frozen import Frozen
from app.domain.job import JobRecord
from app.domain.spec import TagName, TagText
from app.store.jobs import UNSET

router = APIRouter(prefix=JOB_PATH, tags=["jobs"], route_class=PlannedRoute)

LONGEST_KEPT_SECONDS: Final = 366 * 86_400
"""As far ahead as expires_at may lie: the retention setting's own bound."""

_LOST: Final = (JobNotFound, JobExpired, StoreUnavailable)


@router.get(
    "",
    responses={
        304: {"description": "Still the version that If-None-Match names"},
        **responses(InvalidParameter, NotAcceptable, *_LOST),
    },
)
async def read_job(
    asked: AskedDep,
    *,
    wait: WaitDep,
    wish: WishDep,
    rooms: RoomsDep,
    request: Request,
    if_none_match: IfNoneMatch = None,
) -> Response:
    """Read a job; `latest` is the newest. With `?wait` the answer comes when it is done.

    With `?wait` and If-None-Match it comes when the job has moved past that version.
    """

    def is_news(record: JobRecord) -> bool:
        return not matches(if_none_match, to_etag(record.seq))

    def is_settled(record: JobRecord) -> bool:
        return is_done(record) or (if_none_match is not None and is_news(record))

    record = await rooms.store.get(asked.id)
    record = await wait_until(record, is_settled, wait=wait, rooms=rooms, request=request)
    headers = {**asked.headers(), **wait.headers()}
    if not is_news(record):
        return not_modified(to_etag(record.seq), {**job_headers(record), **headers})
    return await answer_job(record, wish=wish, rooms=rooms, headers=headers)


@router.post(
    "/cancel",
    status_code=202,
    responses={
        200: {"description": "The job has ended"},
        202: {"description": "Asked for; the job stops within a second"},
        **responses(InvalidParameter, *_LOST),
    },
)
async def cancel_job(
    job_id: JobId, wait: WaitDep, wish: WishDep, rooms: RoomsDep, request: Request
) -> Response:
    """Ask a job to stop; what it has recorded is kept. Repeat freely."""
    record = await rooms.service.cancel(job_id)
    record = await wait_until(record, is_done, wait=wait, rooms=rooms, request=request)
    status = 200 if record.status.is_terminal else 202
    return await answer_job(record, wish=wish, rooms=rooms, status=status, headers=wait.headers())


class Changes(Frozen):
    """What PATCH may change; a field that is left out stays as it is.

    Attributes:
        name: Free text; null takes it away.
        tags: Replace all tags.
        expires_at: When a finished job is forgotten: ISO 8601, or seconds since 1970.
    """

    name: TagText | None = None
    tags: dict[TagName, TagText] = Field(default_factory=dict, max_length=16)
    expires_at: str | float | None = None


@router.patch(
    "",
    responses=responses(
        MalformedJson, InvalidSpec, JobNotFinished, PreconditionFailed, InvalidParameter, *_LOST
    ),
    openapi_extra={
        "requestBody": {
            "content": {
                "application/json": {
                    "schema": Changes.model_json_schema(),
                    "examples": {
                        "name": {
                            "summary": "Name a job",
                            "value": {"name": "first try", "tags": {"team": "a"}},
                        }
                    },
                }
            }
        }
    },
)
async def patch_job(
    job_id: JobId, raw: RawSpec, wish: WishDep, rooms: RoomsDep, if_match: IfMatch = None
) -> Response:
    """Change a job's name, tags or time of expiry."""
    changes = parse_changes(raw, now_ms=time.time_ns() // 1_000_000)
    if_seq = check_match(await rooms.store.get(job_id), if_match)
    record = await rooms.store.patch(job_id, **changes, if_seq=if_seq)
    return await answer_job(record, wish=wish, rooms=rooms)


@router.delete(
    "",
    status_code=204,
    response_class=Response,
    responses=responses(JobNotFinished, PreconditionFailed, *_LOST),
)
async def delete_job(job_id: JobId, store: StoreDep, if_match: IfMatch = None) -> Response:
    """Forget a finished job and everything that belongs to it."""
    if if_match is not None:
        check_match(await store.get(job_id), if_match)
    await store.delete(job_id)
    return Response(status_code=204)


def parse_changes(raw: object, *, now_ms: int) -> dict[str, Any]:
    """Return the arguments of JobStore.patch that a body stands for.

    Args:
        raw: Parsed JSON.
        now_ms: The time, to which expires_at is compared.

    Raises:
        InvalidSpec: Not an object, a field that cannot be changed, or a wrong value.
    """
    if not isinstance(raw, Mapping):
        raise _flawed("", "wrong-type", 'Give an object, e.g. {"name": "first try"}')
    given = cast("Mapping[str, Any]", raw)
    allowed = tuple(Changes.model_fields)
    unknown = next((name for name in given if name not in allowed), None)
    if unknown is not None:
        detail = f"Only {', '.join(allowed)} can be changed; a rerun takes any field of the spec"
        guess = nearest(unknown, allowed)
        raise _flawed(f"/{unknown[:60]}", "unknown-field", detail, did_you_mean=guess)
    try:
        changes = Changes.model_validate(dict(given))
    except ValidationError as error:
        raise InvalidSpec(to_flaws(error, given, kind="fit", moved={})) from error
    values: dict[str, Any] = {
        name: getattr(changes, name) if name in given else UNSET for name in ("name", "tags")
    }
    values["expires_at_ms"] = (
        _expiry(changes.expires_at, now_ms=now_ms) if "expires_at" in given else UNSET
    )
    return values


def _expiry(given: str | float | None, *, now_ms: int) -> int:
    at_ms = to_ms(given) if isinstance(given, str | float | int) else None
    if at_ms is None:
        detail = "Give a time such as 2026-02-01T12:00:00Z, or seconds since 1970"
        raise _flawed("/expires_at", "not-a-time", detail)
    if not now_ms < at_ms <= now_ms + LONGEST_KEPT_SECONDS * 1000:
        detail = "Give a time within the next 366 days; DELETE forgets a job at once"
        raise _flawed("/expires_at", "out-of-range", detail)
    return at_ms


def _flawed(
    pointer: str, code: str, detail: str, *, did_you_mean: str | None = None
) -> InvalidSpec:
    return InvalidSpec(
        (Flaw(pointer=pointer, code=code, detail=detail, did_you_mean=did_you_mean),)
    )
