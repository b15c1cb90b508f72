"""GET /v1/workers: who computes, on what, and how much waits."""

from fastapi import APIRouter

from app.api.answer import Answer
from app.api.deps import StoreDep
from app.api.errors import responses
from app.api.times import to_iso
from app.domain.errors import StoreUnavailable, Unauthorized

router = APIRouter(tags=["catalogue"])


@router.get(
    "/v1/workers",
    summary="List live workers and queue depths",
    responses=responses(Unauthorized, StoreUnavailable),
)
async def list_workers(store: StoreDep) -> Answer:
    """Return the workers that have been heard of within their lease, and what waits for them."""
    workers, depth = await store.workers(), await store.depth()
    items = [
        {
            "name": worker.name,
            "queue": worker.queue,
            "devices": worker.devices,
            "torch": worker.torch,
            "started_at": to_iso(worker.started_at_ms),
            "job": worker.job,
        }
        for worker in workers
    ]
    queues = [
        {
            "name": name,
            "waiting": waiting,
            "workers": sum(worker.queue == name for worker in workers),
            "busy": sum(worker.queue == name and worker.job is not None for worker in workers),
        }
        for name, waiting in depth.items()
    ]
    return Answer({"object": "list", "items": items, "queues": queues})
