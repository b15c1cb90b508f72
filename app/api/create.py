"""Routes that make jobs: POST, PUT, the short aliases /fit and /compare, rerun and extend."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Final, cast

from fastapi import APIRouter, Depends, Header, Query, Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from app.api.answer import Answer
from app.api.asked import IdText, JobId
from app.api.body import RawSpec
from app.api.deps import Rooms, RoomsDep
from app.api.errors import responses
from app.api.plan import PlannedRoute
from app.api.preview import preview_object
from app.api.security import client_of
from app.api.show import Wish, WishDep, answer_job
from app.api.spec_schema import spec_body
from app.api.view import JOB_PATH, JOBS_PATH
from app.api.wait import PatientWaitDep, Wait, WaitDep, is_done, wait_until
from app.domain.errors import (
    CrossSiteRequest,
    DeviceUnavailable,
    IdConflict,
    IdempotencyKeyReused,
    InvalidParameter,
    InvalidSpec,
    JobExpired,
    JobNotFinished,
    JobNotFound,
    MalformedJson,
    NotAcceptable,
    PayloadTooLarge,
    QueueFull,
    ShareFull,
    StoreUnavailable,
    UnsupportedMediaType,
)
from app.domain.extension import extend_spec
from app.domain.parse import ParsedSpec, parse_spec
from app.domain.rerun import merge_spec
from app.store.submission import Created

router = APIRouter(tags=["jobs"], route_class=PlannedRoute)

MAX_KEY_LENGTH: Final = 255
_MANY_ROWS: Final = 10_000
_NESTED: Final = (list, dict)
_OFF: Final = frozenset({"0", "false", "no"})

REFUSALS: Final[dict[int | str, dict[str, Any]]] = responses(
    MalformedJson,
    InvalidParameter,
    CrossSiteRequest,
    NotAcceptable,
    JobExpired,
    PayloadTooLarge,
    UnsupportedMediaType,
    InvalidSpec,
    IdempotencyKeyReused,
    ShareFull,
    QueueFull,
    DeviceUnavailable,
    StoreUnavailable,
)
_ANSWERS: Final[dict[int | str, dict[str, Any]]] = {
    200: {"description": "The job that this key or id had made before, or a dry run"},
    201: {"description": "Created and done"},
    202: {"description": "Created, not done: see Location and Retry-After"},
    **REFUSALS,
}

KeyText = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        description="Repeating a request with the same key finds the same job; remembered until "
        "24 hours after its end.",
    ),
]
DryRunText = Annotated[
    str | None,
    Query(
        alias="dry_run",
        description="Check and resolve the spec, tell what will come of it, run nothing.",
    ),
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Posted:
    """Everything that the routes of this file read from a request but the wait.

    Attributes:
        raw: The body, parsed but not checked.
        key: The Idempotency-Key.
        is_dry_run: Check only.
        wish: How to show the job.
        rooms: Where things happen.
        request: For the client's hanging up.
    """

    raw: object
    key: str | None
    is_dry_run: bool
    wish: Wish
    rooms: Rooms
    request: Request

    async def create(
        self, wait: Wait, *, kind: str | None = None, job_id: str | None = None
    ) -> Response:
        """Submit the body and answer with the job, or preview it."""
        parsed = await _parse(self.raw, kind=kind)
        if self.is_dry_run:
            return await self.preview(parsed)
        created = await self.rooms.service.submit(
            parsed, job_id=job_id, idempotency_key=self.key, client=client_of(self.request)
        )
        return await self.answer(created, wait)

    async def rerun(self, wait: Wait, *, job_id: str) -> Response:
        """Submit an old spec with the body's fields in place of its own, or preview it."""
        if self.is_dry_run:
            record = await self.rooms.store.get(job_id)
            body = merge_spec(record, self.raw)
            return await self.preview(await _parse(body, kind=record.spec.kind))
        created = await self.rooms.service.rerun(
            job_id, self.raw, idempotency_key=self.key, client=client_of(self.request)
        )
        return await self.answer(created, wait)

    async def extend(self, wait: Wait, *, job_id: str) -> Response:
        """Submit a job that goes on where a fit has ended, or preview it."""
        if self.is_dry_run:
            return await self.preview(extend_spec(await self.rooms.store.get(job_id), self.raw))
        created = await self.rooms.service.extend(
            job_id, self.raw, idempotency_key=self.key, client=client_of(self.request)
        )
        return await self.answer(created, wait)

    async def preview(self, parsed: ParsedSpec) -> Response:
        """Answer with what a submit would do."""
        preview = await self.rooms.service.preview(parsed)
        shown = await run_in_threadpool(preview_object, preview, points=self.wish.points)
        return Answer(shown)

    async def answer(self, created: Created, wait: Wait) -> Response:
        """Hold the answer as long as is wished; the status code then tells the truth."""
        record = await wait_until(
            created.record, is_done, wait=wait, rooms=self.rooms, request=self.request
        )
        headers = {"Location": f"{JOBS_PATH}/{record.id}", **wait.headers()}
        status = 201 if record.status.is_terminal else 202
        if not created.is_new:
            status = 200
            headers["Idempotent-Replayed"] = "true"
        return await answer_job(
            record,
            wish=self.wish,
            rooms=self.rooms,
            status=status,
            headers=headers,
            # What was waited for may stand elsewhere by now.
            standing=created.standing if record is created.record else None,
        )


async def read_posted(
    request: Request,
    rooms: RoomsDep,
    wish: WishDep,
    raw: RawSpec,
    *,
    key: KeyText = None,
    dry_run: DryRunText = None,
) -> Posted:
    """Read what the routes of this file share.

    Raises:
        InvalidParameter: The Idempotency-Key is empty or too long.
    """
    if key is not None and not 1 <= len(key) <= MAX_KEY_LENGTH:
        raise InvalidParameter(f"Idempotency-Key must have 1 to {MAX_KEY_LENGTH} characters")
    is_dry_run = dry_run is not None and dry_run.lower() not in _OFF
    return Posted(raw=raw, key=key, is_dry_run=is_dry_run, wish=wish, rooms=rooms, request=request)


PostedDep = Annotated[Posted, Depends(read_posted)]


@router.post(JOBS_PATH, status_code=202, responses=_ANSWERS, openapi_extra=spec_body("any"))
async def create_job(posted: PostedDep, wait: WaitDep) -> Response:
    """Create a job; `{}` or no body at all runs the classic example."""
    return await posted.create(wait)


@router.put(
    JOB_PATH,
    status_code=202,
    responses={**_ANSWERS, **responses(IdConflict)},
    openapi_extra=spec_body("any"),
)
async def create_named_job(job_id: IdText, posted: PostedDep, wait: WaitDep) -> Response:
    """Create a job under your own id; repeat freely, the same spec finds the same job."""
    return await posted.create(wait, job_id=job_id)


@router.post("/fit", status_code=201, responses=_ANSWERS, openapi_extra=spec_body("fit"))
async def fit(posted: PostedDep, wait: PatientWaitDep) -> Response:
    """Fit a line and wait up to 30 s for the answer."""
    return await posted.create(wait, kind="fit")


@router.post("/compare", status_code=201, responses=_ANSWERS, openapi_extra=spec_body("comparison"))
async def compare(posted: PostedDep, wait: PatientWaitDep) -> Response:
    """Compare optimizers on the same points and wait up to 30 s for the answer."""
    return await posted.create(wait, kind="comparison")


@router.post("/sweep", status_code=201, responses=_ANSWERS, openapi_extra=spec_body("sweep"))
async def sweep(posted: PostedDep, wait: PatientWaitDep) -> Response:
    """Try optimizers at many learning rates and wait up to 30 s for what is usable."""
    return await posted.create(wait, kind="sweep")


@router.post("/batch", status_code=201, responses=_ANSWERS, openapi_extra=spec_body("batch"))
async def batch(posted: PostedDep, wait: PatientWaitDep) -> Response:
    """Fit a line to each of many series and wait up to 30 s for the answers."""
    return await posted.create(wait, kind="batch")


@router.post(
    f"{JOB_PATH}/rerun",
    status_code=202,
    responses={**_ANSWERS, **responses(JobNotFound, JobExpired)},
    openapi_extra=spec_body("overrides"),
)
async def rerun_job(job_id: JobId, posted: PostedDep, wait: WaitDep) -> Response:
    """Run a job's spec again as a new job, with the body's fields in place of the old ones."""
    return await posted.rerun(wait, job_id=job_id)


@router.post(
    f"{JOB_PATH}/extend",
    status_code=202,
    responses={**_ANSWERS, **responses(JobNotFound, JobExpired, JobNotFinished)},
    openapi_extra=spec_body("extension"),
)
async def extend_job(job_id: JobId, posted: PostedDep, wait: WaitDep) -> Response:
    """Go on where a fit has ended, for `steps` more, as a new job with the whole history."""
    return await posted.extend(wait, job_id=job_id)


async def _parse(raw: object, *, kind: str | None) -> ParsedSpec:
    """Parse a spec; many points off the event loop, where a third of a second would hold up all."""
    if _count_rows(raw) < _MANY_ROWS:
        return parse_spec(raw, kind=kind)
    return await run_in_threadpool(parse_spec, raw, kind=kind)


def _count_rows(raw: object) -> int:
    """Return how many points or series a body carries, about: it has not been checked."""
    data = cast("Mapping[str, object]", raw).get("data") if isinstance(raw, Mapping) else raw
    column = cast("Mapping[str, object]", data).get("x") if isinstance(data, Mapping) else data
    if not isinstance(column, list):
        return 0
    rows = cast("list[object]", column)
    if len(rows) >= _MANY_ROWS:
        return len(rows)
    # Series count by their points, pairs as two.
    return sum(
        max(1, _count_rows({"data": cast("object", row)})) if isinstance(row, _NESTED) else 1
        for row in rows
    )
