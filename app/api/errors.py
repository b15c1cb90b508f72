"""Every refusal as a problem document (RFC 9457); the only place that knows HTTP statuses.

It knows no route and no job: an error's slug chooses status and text.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from app.api.answer import Answer, render
from app.api.paths import Paths
from app.api.problem_texts import TEXTS, ProblemText
from app.domain.errors import FitjobsError, Flaw, InvalidSpec, Unavailable
from app.domain.parse import parse_spec

STATUSES: Final[Mapping[str, int]] = {
    "malformed-json": 400,
    "invalid-parameter": 400,
    "invalid-cursor": 400,
    "unauthorized": 401,
    "cross-site-request": 403,
    "not-found": 404,
    "job-not-found": 404,
    "method-not-allowed": 405,
    "not-acceptable": 406,
    "request-timeout": 408,
    "job-not-finished": 409,
    "id-conflict": 409,
    "job-expired": 410,
    "precondition-failed": 412,
    "payload-too-large": 413,
    "unsupported-media-type": 415,
    "validation": 422,
    "idempotency-key-reused": 422,
    "too-many-requests": 429,
    "internal": 500,
    "queue-full": 503,
    "device-unavailable": 503,
    "store-unavailable": 503,
    "chart-unavailable": 503,
    "not-ready": 503,
}
"""HTTP status of every problem that a request can meet; job.error alone has the others."""

_BY_STATUS: Final[Mapping[int, str]] = {
    404: "not-found",
    405: "method-not-allowed",
    406: "not-acceptable",
    413: "payload-too-large",
    415: "unsupported-media-type",
}
_BASE_HEADERS: Final[Mapping[str, Mapping[str, str]]] = {
    "unauthorized": {"WWW-Authenticate": 'Bearer realm="fitjobs"'},
    # The rest of the body is not read: the connection cannot serve another request.
    "payload-too-large": {"Connection": "close"},
    "request-timeout": {"Connection": "close"},
}
_MAX_ERRORS: Final = 20
_MAX_BYTES: Final = 15_000
"""A refusal must not amplify: whole answers stay under 16 kB, this leaves room for the rest."""
_MAX_TEXT: Final = 400
_MAX_WORD: Final = 80

EXAMPLE_MISTAKE: Final = {"optimiser": "adam", "steps": -1}
"""A spec whose refusal the page of "validation" shows."""

_LOG: Final = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """A problem type: its page's text and the status that it travels under.

    Attributes:
        slug: Last part of its URL.
        status: None for those that stand in job.error only.
        text: Title, meaning, cause, fix, example.
    """

    slug: str
    status: int | None
    text: ProblemText


PROBLEMS: Final[Mapping[str, Problem]] = {
    slug: Problem(slug=slug, status=STATUSES.get(slug), text=text) for slug, text in TEXTS.items()
}
"""Every problem type of this service."""


class ProblemAnswer(Answer):
    """An answer of type application/problem+json."""

    media_type = "application/problem+json"


def problem_document(
    slug: str,
    detail: str,
    *,
    instance: str,
    request_id: str | None,
    flaws: tuple[Flaw, ...] = (),
) -> dict[str, Any]:
    """Return an RFC 9457 document that stays small whatever the client sent.

    Args:
        slug: One of PROBLEMS.
        detail: What happened, for a person.
        instance: Path of the request.
        request_id: Name under which the log has it.
        flaws: What is wrong with the spec.
    """
    problem = PROBLEMS[slug]
    document: dict[str, Any] = {
        "type": f"/problems/{slug}",
        "title": problem.text.title,
        "status": problem.status,
        "detail": _cut(detail, _MAX_TEXT),
        "instance": _cut(instance, _MAX_TEXT),
        "request_id": request_id,
    }
    if flaws:
        document["errors"] = [_flaw_document(flaw) for flaw in flaws[:_MAX_ERRORS]]
        _shrink(document)
    return document


def _flaw_document(flaw: Flaw) -> dict[str, Any]:
    document: dict[str, Any] = {
        "pointer": _cut(flaw.pointer, _MAX_TEXT),
        "code": flaw.code,
        "detail": _cut(flaw.detail, _MAX_TEXT),
    }
    if flaw.did_you_mean is not None:
        document["did_you_mean"] = _cut(flaw.did_you_mean, _MAX_WORD)
    if flaw.got is not None:
        document["got"] = _cut(flaw.got, _MAX_WORD) if isinstance(flaw.got, str) else flaw.got
    if flaw.allowed is not None:
        document["allowed"] = [_cut(word, _MAX_WORD) for word in flaw.allowed[:_MAX_ERRORS]]
    return document


def _shrink(document: dict[str, Any]) -> None:
    """Drop the lists of allowed values, then the last errors, until the answer is small."""
    errors: list[dict[str, Any]] = document["errors"]
    if len(render(document, pretty=True)) > _MAX_BYTES:
        for error in errors[1:]:
            error.pop("allowed", None)
    while len(errors) > 1 and len(render(document, pretty=True)) > _MAX_BYTES:
        errors.pop()


def _cut(text: str, length: int) -> str:
    """Return at most so many characters, none of which JSON would write as six."""
    text = text if len(text) <= length else text[: length - 1] + "…"
    return "".join(letter if letter.isprintable() else "\ufffd" for letter in text)


def problem_answer(
    request: Request,
    slug: str,
    detail: str,
    *,
    flaws: tuple[Flaw, ...] = (),
    headers: Mapping[str, str] | None = None,
) -> ProblemAnswer:
    """Return the answer that refuses a request.

    Args:
        request: What is refused.
        slug: One of STATUSES.
        detail: What happened, for a person.
        flaws: What is wrong with the spec.
        headers: Further headers.
    """
    return ProblemAnswer(
        problem_document(
            slug,
            detail,
            instance=path_of(request),
            request_id=getattr(request.state, "request_id", None),
            flaws=flaws,
        ),
        status_code=STATUSES[slug],
        headers={**_BASE_HEADERS.get(slug, {}), **(headers or {})},
    )


def path_of(request: Request) -> str:
    """Return the path as it was sent, still percent-encoded: safe to echo and to log."""
    raw: bytes | None = request.scope.get("raw_path")
    return raw.decode("ascii", "replace") if raw else request.url.path


async def refuse(request: Request, error: Exception) -> Response:
    """Answer for an error of our own tree."""
    if not isinstance(error, FitjobsError) or error.slug == "internal":
        return fail(request, error)
    headers: dict[str, str] = {}
    if error.retry_after_seconds is not None or isinstance(error, Unavailable):
        headers["Retry-After"] = str(max(1, error.retry_after_seconds or 1))
    flaws = error.flaws if isinstance(error, InvalidSpec) else ()
    return problem_answer(request, error.slug, error.detail, flaws=flaws, headers=headers)


def fail(request: Request, error: Exception) -> Response:
    """Answer for a defect: the client learns the request id only, the log learns the rest."""
    _LOG.error("request.failed", exc_info=error)
    return problem_answer(request, "internal", TEXTS["internal"].detail)


async def refuse_parameters(request: Request, error: Exception) -> Response:
    """Answer for query parameters and headers that FastAPI could not use."""
    found: Sequence[Any] = error.errors() if isinstance(error, RequestValidationError) else ()
    sentences = [f"{found_in['loc'][-1]}: {found_in['msg']}" for found_in in found[:_MAX_ERRORS]]
    return problem_answer(request, "invalid-parameter", "; ".join(sentences))


async def refuse_http(request: Request, error: Exception) -> Response:
    """Answer for what the router refuses: unknown paths and wrong methods."""
    status = error.status_code if isinstance(error, HTTPException) else 500
    path, paths = request.url.path, request.app.state.paths
    if not isinstance(paths, Paths) or status not in _BY_STATUS:
        return fail(request, error)
    if status == HTTPStatus.METHOD_NOT_ALLOWED:
        allow = ", ".join(paths.methods_at(path))
        if request.method == "OPTIONS":
            return Response(status_code=HTTPStatus.NO_CONTENT, headers={"Allow": allow})
        detail = f"{path_of(request)} does not take {_cut(request.method, _MAX_WORD)}: it takes "
        return problem_answer(
            request, "method-not-allowed", detail + allow, headers={"Allow": allow}
        )
    if status == HTTPStatus.NOT_FOUND:
        near = paths.nearest(path)
        ending = f": did you mean {_cut(near, _MAX_TEXT // 2)}?" if near else ""
        detail = f"No resource has the path {_cut(path_of(request), _MAX_TEXT // 3)}{ending}"
        return problem_answer(request, "not-found", detail)
    slug = _BY_STATUS[status]
    return problem_answer(request, slug, TEXTS[slug].meaning)


def add_error_handlers(app: FastAPI) -> None:
    """Make every refusal of this application a problem document."""
    app.add_exception_handler(FitjobsError, refuse)
    app.add_exception_handler(RequestValidationError, refuse_parameters)
    app.add_exception_handler(HTTPException, refuse_http)


_SCHEMA: Final[Mapping[str, Any]] = {
    "type": "object",
    "required": ["type", "title", "status", "detail", "instance", "request_id"],
    "properties": {
        "type": {"type": "string", "description": "/problems/<slug>, a page of this service"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "instance": {"type": "string", "description": "Path of the request"},
        "request_id": {"type": ["string", "null"]},
        "errors": {
            "type": "array",
            "maxItems": _MAX_ERRORS,
            "items": {
                "type": "object",
                "required": ["pointer", "code", "detail"],
                "properties": {
                    "pointer": {"type": "string", "description": "RFC 6901 pointer into the body"},
                    "code": {"type": "string"},
                    "detail": {"type": "string"},
                    "did_you_mean": {"type": "string"},
                    "got": {"type": ["string", "number", "boolean"]},
                    "allowed": {"type": "array", "items": {"type": "string"}},
                },
            },
        },
    },
}
PROBLEM_SCHEMA: Final[Mapping[str, Any]] = {"title": "Problem", **_SCHEMA}
"""JSON Schema of every refusal."""


def responses(*errors: type[FitjobsError] | str) -> dict[int | str, dict[str, Any]]:
    """Return what a route's `responses=` says about the ways in which it refuses.

    Args:
        errors: Classes of the error tree, or slugs.
    """
    slugs = [error if isinstance(error, str) else error.slug for error in errors]
    documented: dict[int | str, dict[str, Any]] = {}
    for slug in slugs:
        problem = PROBLEMS[slug]
        entry = documented.setdefault(
            STATUSES[slug],
            {
                "description": "",
                "content": {
                    "application/problem+json": {
                        "schema": {"$ref": "#/components/schemas/Problem"},
                        "examples": {},
                    }
                },
            },
        )
        entry["description"] = "; ".join(filter(None, (entry["description"], problem.text.title)))
        entry["content"]["application/problem+json"]["examples"][slug] = {
            "summary": problem.text.title,
            "value": example(slug),
        }
    return documented


def example(slug: str) -> dict[str, Any]:
    """Return the document that the example request of a problem's page is answered with."""
    detail: str = PROBLEMS[slug].text.detail
    flaws: tuple[Flaw, ...] = ()
    if slug == InvalidSpec.slug:
        try:
            parse_spec(EXAMPLE_MISTAKE)
        except InvalidSpec as error:
            detail, flaws = error.detail, error.flaws
    document = problem_document(
        slug,
        detail,
        instance="/v1/jobs",
        request_id="req_5b1f0c7a9e3d4826b0c1d2e3",
        flaws=flaws,
    )
    if document["status"] is None:
        return {key: document[key] for key in ("type", "title", "detail")}
    return document
