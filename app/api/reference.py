"""GET /openapi.json and /docs: the reference, made from the routes; nothing comes from elsewhere."""

from collections.abc import Mapping
from typing import Any, Final, cast

from fastapi import APIRouter, FastAPI, Request
from fastapi.openapi.utils import get_openapi
from starlette.responses import HTMLResponse

from app.api.answer import Answer
from app.api.errors import PROBLEM_SCHEMA, PROBLEMS, responses
from app.api.formats import MEDIA_TYPES
from app.api.html import HTML_HEADERS
from app.api.reference_page import make_page
from app.api.security import OPEN_PATHS
from app.api.spec_schema import spec_components
from app.api.version import VERSION
from app.domain.events import EventType

router = APIRouter(tags=["operations"])

_ABOUT: Final = (
    "Fits a line y = a*x + b by gradient descent with any torch optimizer, as jobs, and sets every "
    "fit beside the exact answer. Every refusal is a problem document (RFC 9457) whose type is a "
    "page of this service. Every path takes ?pretty and X-Request-Id; every GET answers HEAD."
)
_ONLY_FORMS: Final[Mapping[str, str]] = {
    "/chart.svg": "image/svg+xml",
    "/chart.png": "image/png",
    "/chart.txt": "text/plain",
    "/reproduce.py": "text/x-python",
    "/docs": "text/html",
}
"""End of a path -> the one media type that it answers in, where that is not JSON."""

_STREAMS: Final[Mapping[str, Any]] = {
    "/stream": {
        "type": "object",
        "required": ["id", "event", "data"],
        "properties": {
            "id": {"type": "string", "pattern": "^[0-9]+$"},
            "event": {"enum": ["snapshot", *EventType]},
            "data": {"type": "string", "contentMediaType": "application/json"},
        },
    },
}
"""End of a path -> the schema of each event that it sends, under OpenAPI 3.2's own keyword."""

_FURTHER_FORMS: Final[Mapping[str, tuple[str, ...]]] = {
    "/history": ("csv", "ndjson"),
    "/runs": ("csv",),
    "/data": ("csv",),
}
"""End of a path with ?format= -> what it takes beside JSON; the others take text."""

_EVERYWHERE: Final = ("invalid-parameter", "internal")


@router.get("/openapi.json", summary="The OpenAPI document")
async def read_openapi(request: Request) -> Answer:
    """Return every path, parameter, body and problem of this service."""
    return Answer(document_of(request.app))


@router.get("/docs", summary="The reference as a page")
async def read_docs(request: Request) -> HTMLResponse:
    """Return the OpenAPI document as one page that loads nothing."""
    return HTMLResponse(make_page(document_of(request.app)), headers=HTML_HEADERS)


def document_of(app: FastAPI) -> dict[str, Any]:
    """Return the OpenAPI document of an application; it is made once.

    Args:
        app: With all its routes.
    """
    if app.openapi_schema is None:
        app.openapi_schema = make_document(app)
    return app.openapi_schema


def make_document(app: FastAPI) -> dict[str, Any]:
    """Return the OpenAPI document of an application.

    Args:
        app: With all its routes.
    """
    document = get_openapi(
        title="fitjobs",
        version=VERSION,
        description=_ABOUT,
        license_info={"name": "Apache-2.0", "identifier": "Apache-2.0"},
        routes=app.routes,
    )
    schemas = document.setdefault("components", {}).setdefault("schemas", {})
    # Bodies and parameters are refused in our own way.
    for name in ("HTTPValidationError", "ValidationError"):
        schemas.pop(name, None)
    schemas |= spec_components()
    schemas["Problem"] = _problem_schema()
    document["components"]["securitySchemes"] = {
        "bearer": {"type": "http", "scheme": "bearer", "description": "Where keys are set"}
    }
    for path, operations in document["paths"].items():
        for operation in operations.values():
            _complete(operation, path=path)
    return document


def _complete(operation: dict[str, Any], *, path: str) -> None:
    """Add to an operation what every operation of this service has."""
    answers = cast("dict[str, Any]", operation.setdefault("responses", {}))
    if "HTTPValidationError" in str(answers.get("422", "")):
        answers.pop("422")
    _name_forms(operation, path=path)
    slugs: list[str] = list(_EVERYWHERE)
    if path not in OPEN_PATHS:
        # An empty requirement: keys are asked for only where the operator has set some.
        operation["security"] = [{}, {"bearer": []}]
        slugs.append("unauthorized")
    for status, response in responses(*slugs).items():
        present = answers.setdefault(str(status), response)
        examples = present["content"]["application/problem+json"]["examples"]
        examples |= response["content"]["application/problem+json"]["examples"]
    operation["responses"] = dict(sorted(answers.items()))


def _name_forms(operation: dict[str, Any], *, path: str) -> None:
    """Say in which media types an operation answers: FastAPI takes JSON for granted, once."""
    end = path[path.rindex("/") :]
    is_chosen = any(known["name"] == "format" for known in operation.get("parameters", ()))
    further = _FURTHER_FORMS.get(end, ("text",)) if is_chosen else ()
    for status, answer in operation["responses"].items():
        if not status.startswith("2") or status == "204":
            continue
        content = {"application/json": {"schema": {}}} | answer.get("content", {})
        if end in _ONLY_FORMS:
            content = {_ONLY_FORMS[end]: {"schema": {"type": "string"}}}
        if end in _STREAMS:
            content = {MEDIA_TYPES["sse"]: {"itemSchema": _STREAMS[end]}}
        content |= {MEDIA_TYPES[form]: {"schema": {"type": "string"}} for form in further}
        answer["content"] = content


def _problem_schema() -> dict[str, Any]:
    properties = {**PROBLEM_SCHEMA["properties"]}
    properties["type"] = {
        **properties["type"],
        "examples": [f"/problems/{slug}" for slug in PROBLEMS],
    }
    return {**PROBLEM_SCHEMA, "properties": properties}
