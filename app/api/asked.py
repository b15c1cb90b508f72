"""Which job a path names: an id, or "latest" for the newest where a job is only read."""

from dataclasses import dataclass
from typing import Annotated, Final

from fastapi import Depends, Path, Request
from starlette.types import ASGIApp, Receive, Scope, Send

from app.api.deps import StoreDep
from app.domain.errors import JobNotFound
from app.domain.ids import ID_RULE, is_job_id

LATEST: Final = "latest"
_JOBS: Final = "/v1/jobs"
_SHORT: Final = "/latest"


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """The job that a GET is about.

    Attributes:
        id: Its id.
        location: Path under which the answer stays the same; None when it is the path itself.
    """

    id: str
    location: str | None = None

    def headers(self) -> dict[str, str]:
        """Return what the answer says about where it really is."""
        return {} if self.location is None else {"Content-Location": self.location}


IdText = Annotated[
    str, Path(alias="id", description="A job's id.", examples=["job_01k6m2v8q4d0c3h5n7r9t1w2xz"])
]
ReadableText = Annotated[
    str,
    Path(alias="id", description="A job's id, or `latest`.", examples=["latest"]),
]


async def read_id(job_id: IdText) -> str:
    """Return the id of a job that is to be changed.

    Raises:
        JobNotFound: The text is no id, or is "latest": what changes a job must name it.
    """
    if job_id == LATEST:
        raise JobNotFound(
            '"latest" can only be read: GET /v1/jobs/latest tells the id of the newest job'
        )
    return _checked(job_id)


async def find_asked(job_id: ReadableText, request: Request, store: StoreDep) -> Asked:
    """Return the job that is to be read.

    Raises:
        JobNotFound: The text is no id, or there is no job at all yet.
    """
    if job_id != LATEST:
        return Asked(id=_checked(job_id))
    newest = await store.latest_id()
    if newest is None:
        raise JobNotFound("There is no job yet: POST /v1/jobs makes one")
    path = request.url.path.replace(f"/{LATEST}", f"/{newest}", 1)
    query = f"?{request.url.query}" if request.url.query else ""
    return Asked(id=newest, location=path + query)


def _checked(job_id: str) -> str:
    if not is_job_id(job_id):
        raise JobNotFound(f"There is no job with this id: an id is {ID_RULE}")
    return job_id


JobId = Annotated[str, Depends(read_id)]
AskedDep = Annotated[Asked, Depends(find_asked)]


class LatestAlias:
    """Middleware that reads /latest and everything below it as /v1/jobs/latest."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve the request under its long name."""
        path = scope.get("path", "")
        if scope["type"] == "http" and (path == _SHORT or path.startswith(f"{_SHORT}/")):
            scope = {**scope, "path": _JOBS + path, "raw_path": (_JOBS + path).encode()}
        await self._app(scope, receive, send)
