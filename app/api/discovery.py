"""GET /: what this service does, commands to paste, its limits and the ways on."""

from typing import Any

from fastapi import APIRouter, Request

from app.api.address import base_of
from app.api.answer import Answer
from app.api.deps import SettingsDep
from app.api.version import VERSION
from app.domain.data import MAX_POINTS
from app.domain.parse import KINDS
from app.domain.series_form import MAX_SERIES
from app.domain.spec import MAX_CONTENDERS, MAX_STEPS
from app.domain.sweep import MAX_RUNS
from app.settings import Settings

router = APIRouter(tags=["discovery"])


@router.get("/", summary="Say what can be done here")
async def discover(request: Request, settings: SettingsDep) -> Answer:
    """Return commands to paste, limits and links; the same for people and programs."""
    return Answer(
        {
            "service": "fitjobs",
            "version": VERSION,
            "about": "Fits a line y = a*x + b by gradient descent with any torch optimizer, as "
            "jobs, and sets every fit beside the exact answer.",
            "try": commands(base_of(request), needs_key=bool(settings.api_keys.strip(", "))),
            "kinds": list(KINDS),
            "limits": limits(settings),
            "links": {
                "jobs": "/v1/jobs",
                "optimizers": "/v1/optimizers",
                "schedulers": "/v1/schedulers",
                "presets": "/v1/presets",
                "workers": "/v1/workers",
                "problems": "/problems",
                "openapi": "/openapi.json",
                "docs": "/docs",
                "ready": "/readyz",
                "version": "/version",
            },
        }
    )


def commands(base: str, *, needs_key: bool) -> dict[str, str]:
    """Return what to try first, as commands of curl.

    Args:
        base: The service's address.
        needs_key: Whether each command must carry a key.
    """
    curl = 'curl -H "Authorization: Bearer $FITJOBS_API_KEY"' if needs_key else "curl"
    return {
        "the classic fit": f"{curl} -d '{{}}' {base}/fit",
        "another optimizer": f"{curl} -d optimizer=sgd -d lr=0.1 {base}/fit",
        "your own points": f"{curl} -d '[[0,1],[1,3],[2,5]]' {base}/fit",
        "a CSV file": f"{curl} -H 'Content-Type: text/csv' --data-binary @points.csv "
        f"'{base}/fit?optimizer=lbfgs'",
        "the question's experiment": f"{curl} -d preset=weak-optimizers {base}/compare",
        "which learning rates work": f"{curl} -d '{{}}' '{base}/sweep?format=text'",
        "many series of points": f"{curl} -d '[[[0,1],[1,3]], [[0,2],[1,1],[2,0]]]' {base}/batch",
        "without waiting": f"{curl} -i -d '{{}}' {base}/v1/jobs",
        "the newest job as it runs": f"{curl} -N {base}/latest/stream",
        "the newest job as text": f"{curl} '{base}/latest?format=text'",
        "its loss curve": f"{curl} {base}/latest/chart.txt",
    }


def limits(settings: Settings) -> dict[str, Any]:
    """Return every bound that a client can meet."""
    return {
        "body_bytes": settings.max_body_bytes,
        "inline_points": MAX_POINTS,
        "batch_points": settings.max_batch_points,
        "steps": MAX_STEPS,
        "optimizers_a_comparison": MAX_CONTENDERS,
        "runs_a_sweep": MAX_RUNS,
        "series_a_batch": MAX_SERIES,
        "wait_seconds": settings.max_wait_seconds,
        "queued_jobs": settings.max_queued_jobs,
        "queue_seconds": settings.queue_timeout_seconds,
        "retention_seconds": settings.retention_seconds,
        "idempotency_seconds": settings.idempotency_seconds,
    }
