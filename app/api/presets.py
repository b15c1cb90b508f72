"""GET /v1/presets: the named problems and the named comparisons."""

from fastapi import APIRouter

from app.api.answer import Answer
from app.api.errors import responses
from app.domain.errors import Unauthorized
from app.domain.presets import COMPARISON_PRESETS, DATA_PRESET_POINTS, DATA_PRESETS

router = APIRouter(tags=["catalogue"])


@router.get("/v1/presets", summary="List the presets", responses=responses(Unauthorized))
async def list_presets() -> Answer:
    """Return each preset's name, what it shows, and the body that asks for it."""
    data = [
        {
            "name": name,
            "about": about,
            "points": DATA_PRESET_POINTS[name],
            "body": {"data": {"preset": name}},
        }
        for name, about in DATA_PRESETS.items()
    ]
    comparisons = [
        {
            "name": name,
            "about": about,
            "body": {"kind": "comparison", "preset": name},
            "stands_for": spec,
        }
        for name, (about, spec) in COMPARISON_PRESETS.items()
    ]
    return Answer({"object": "presets", "data": data, "comparisons": comparisons})
