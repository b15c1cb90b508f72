"""GET /v1/jobs: what a client may filter by, and the page that it gets."""

from collections.abc import Sequence
from typing import Annotated, Final
from urllib.parse import urlencode

from fastapi import APIRouter, Depends, Query, Request
from starlette.responses import Response

from app.api.answer import Answer
from app.api.deps import StoreDep
from app.api.errors import responses
from app.api.query import reads_query
from app.api.times import from_text
from app.api.view import JOBS_PATH, job_object
from app.domain.catalogue import OPTIMIZERS, canonical_name
from app.domain.errors import InvalidCursor, InvalidParameter, StoreUnavailable
from app.domain.flaws import nearest
from app.domain.job import Status
from app.domain.parse import KINDS
from app.queue import QUEUES
from app.store.listing import JobFilter

router = APIRouter(tags=["jobs"])

DEFAULT_LIMIT: Final = 20
MAX_LIMIT: Final = 100
_TAG: Final = "tag."


async def read_filter(
    request: Request,
    *,
    status: Annotated[
        list[str], Query(description="One or more, repeated or with commas.", examples=["failed"])
    ] = [],  # noqa: B006  # FastAPI copies it
    kind: Annotated[list[str], Query(description="`fit`, `comparison`, `sweep` or `batch`.")] = [],  # noqa: B006
    optimizer: Annotated[list[str], Query(description="In any case, e.g. `adam`.")] = [],  # noqa: B006
    device: Annotated[list[str], Query(description="`cpu` or `cuda`.")] = [],  # noqa: B006
    created_after: Annotated[
        str | None, Query(description="ISO 8601, or seconds since 1970; included.")
    ] = None,
    created_before: Annotated[
        str | None, Query(description="ISO 8601, or seconds since 1970; excluded.")
    ] = None,
) -> JobFilter:
    """Read every filter; `tag.NAME=value` filters by a tag.

    Raises:
        InvalidParameter: A value that no job can have.
    """
    tags = {
        name.removeprefix(_TAG): value
        for name, value in request.query_params.items()
        if name.startswith(_TAG)
    }
    return JobFilter(
        statuses=frozenset(
            Status(word) for word in _choose("status", status, allowed=tuple(Status))
        ),
        kinds=frozenset(_choose("kind", kind, allowed=tuple(KINDS))),
        optimizers=frozenset(_optimizers(optimizer)),
        queues=frozenset(_choose("device", device, allowed=QUEUES)),
        tags=tags,
        created_after_ms=_moment(created_after, "created_after"),
        created_before_ms=_moment(created_before, "created_before"),
    )


FilterDep = Annotated[JobFilter, Depends(read_filter)]


def _choose(name: str, given: Sequence[str], *, allowed: Sequence[str]) -> list[str]:
    words = _split(given)
    for word in words:
        if word not in allowed:
            raise _refuse(name, word, allowed)
    return words


def _optimizers(given: Sequence[str]) -> list[str]:
    names: list[str] = []
    for word in _split(given):
        name = canonical_name(word, "optimizers")
        if name is None:
            raise _refuse("optimizer", word, tuple(OPTIMIZERS))
        names.append(name)
    return names


def _split(given: Sequence[str]) -> list[str]:
    return [word.strip() for text in given for word in text.split(",") if word.strip()]


def _refuse(name: str, word: str, allowed: Sequence[str]) -> InvalidParameter:
    guess = nearest(word, allowed)
    hint = f': did you mean "{guess}"?' if guess else f", it is one of {', '.join(allowed)}"
    return InvalidParameter(f'{name} cannot be "{word[:60]}"{hint}')


def _moment(text: str | None, name: str) -> int | None:
    return None if text is None else from_text(text, name=name)


@router.get(
    JOBS_PATH,
    dependencies=[reads_query(_TAG)],
    responses=responses(InvalidParameter, InvalidCursor, StoreUnavailable),
)
async def list_jobs(
    request: Request,
    store: StoreDep,
    wanted: FilterDep,
    limit: Annotated[int, Query(ge=1, le=MAX_LIMIT)] = DEFAULT_LIMIT,
    cursor: Annotated[str | None, Query(description="From `next_cursor` of a page.")] = None,
) -> Response:
    """List jobs, newest first, without their histories."""
    page = await store.find(wanted, cursor=cursor, limit=limit)
    following = next_page(request, JOBS_PATH, cursor=page.next_cursor)
    content = {
        "object": "list",
        "data": [job_object(record) for record in page.records],
        "next_cursor": page.next_cursor,
        "next": following,
    }
    return Answer(content, headers=link_header(following))


def next_page(request: Request, path: str, **changes: object) -> str | None:
    """Return the same request's address with some query parameters changed.

    Args:
        request: Whose other parameters are kept.
        path: Of the resource, under its lasting name.
        changes: New values; a single None means that there is no next page.
    """
    if None in changes.values():
        return None
    kept = [pair for pair in request.query_params.multi_items() if pair[0] not in changes]
    return f"{path}?{urlencode([*kept, *changes.items()])}"


def link_header(following: str | None) -> dict[str, str]:
    """Return the Link header that leads to the next page, or nothing."""
    return {} if following is None else {"Link": f'<{following}>; rel="next"'}
