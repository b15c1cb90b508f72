"""Liveness, readiness and version: what supervisors and load balancers ask."""

from typing import Any, Final

from fastapi import APIRouter, Request
from starlette.responses import Response

from app.api.answer import Answer
from app.api.deps import StoreDep
from app.api.errors import ProblemAnswer, problem_document, responses
from app.api.version import VERSION
from app.domain.catalogue import TORCH_VERSION
from app.domain.errors import StoreUnavailable
from app.store.jobs import JobStore

router = APIRouter(tags=["operations"])

_RETRY_SECONDS: Final = 1


@router.get("/livez", summary="Is this process alive?")
async def live() -> Answer:
    """Return 200 as long as this process answers; Redis and workers do not matter."""
    return Answer({"live": True})


@router.get("/readyz", summary="Can a job run now?", responses=responses("not-ready"))
async def ready(request: Request, store: StoreDep) -> Response:
    """Return 200 once Redis answers and a worker lives; 503 says what is missing."""
    state = await look(store)
    if not state["missing"]:
        return Answer(state)
    document = problem_document(
        "not-ready",
        f"No job can run yet: {'; '.join(state['missing'])}",
        instance=request.url.path,
        request_id=getattr(request.state, "request_id", None),
    )
    return ProblemAnswer(
        {**document, **state}, status_code=503, headers={"Retry-After": str(_RETRY_SECONDS)}
    )


async def look(store: JobStore) -> dict[str, Any]:
    """Return what a job needs and whether it is there.

    Args:
        store: Asked once for each need.
    """
    workers: dict[str, int] = {}
    redis: dict[str, str] = {}
    missing: list[str] = []
    try:
        redis = await store.durability()
        for worker in await store.workers():
            workers[worker.queue] = workers.get(worker.queue, 0) + 1
        if not workers:
            missing.append("no worker is live")
    except StoreUnavailable as error:
        missing.append(f"Redis: {error.detail}")
    return {
        "ready": not missing,
        "missing": missing,
        "workers": workers,
        "durability": durability_of(redis),
        "redis": redis,
    }


def durability_of(redis: dict[str, str]) -> str:
    """Return "durable" when an accepted job outlives a power cut, "degraded" when it may not.

    Args:
        redis: What Redis says of itself; "unknown" where it does not let us ask.
    """
    if redis.get("appendonly", "unknown") == "unknown":
        return "unknown"
    is_durable = redis["appendonly"] == "yes" and redis.get("appendfsync") == "always"
    return "durable" if is_durable else "degraded"


@router.get("/version", summary="Which version is this?")
async def read_version() -> Answer:
    """Return the version of the service and of the torch whose optimizers it validates."""
    return Answer({"service": "fitjobs", "version": VERSION, "api": "v1", "torch": TORCH_VERSION})
