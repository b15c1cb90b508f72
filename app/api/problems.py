"""GET /problems: a page for every problem type, the one that the `type` of a refusal names."""

from html import escape
from typing import Annotated, Any, Final

from fastapi import APIRouter, Path, Request, Response
from starlette.responses import HTMLResponse

from app.api.address import base_of
from app.api.answer import Answer, render
from app.api.errors import PROBLEMS, Problem, example, responses
from app.api.html import HTML_HEADERS, page, prefers_html
from app.domain.errors import NotFound

router = APIRouter(tags=["problems"])

_COLUMNS: Final = ("meaning", "cause", "fix")


def title_of(slug: str) -> str:
    """Return the title of a problem type."""
    return PROBLEMS[slug].text.title


@router.get("/problems", summary="List every problem type")
async def list_problems(request: Request) -> Response:
    """Return every way in which a request or a job can fail."""
    if prefers_html(request):
        rows = "".join(
            f'<tr><td>{problem.status or "job"}</td><td><a href="/problems/{slug}">{slug}</a></td>'
            f"<td>{escape(problem.text.title)}</td></tr>"
            for slug, problem in PROBLEMS.items()
        )
        return HTMLResponse(page("Problems", f"<table>{rows}</table>"), headers=HTML_HEADERS)
    items = [
        {"type": f"/problems/{slug}", "title": problem.text.title, "status": problem.status}
        for slug, problem in PROBLEMS.items()
    ]
    return Answer({"object": "list", "items": items})


@router.get("/problems/{slug}", summary="Explain a problem type", responses=responses("not-found"))
async def read_problem(
    request: Request, slug: Annotated[str, Path(description="Last part of the problem's type")]
) -> Response:
    """Return what a problem means, where it comes from, how to mend it, and an example."""
    problem = PROBLEMS.get(slug)
    if problem is None:
        raise NotFound("No problem has this name: GET /problems lists them all")
    described = describe(problem, base=base_of(request))
    if not prefers_html(request):
        return Answer(described)
    paragraphs = "".join(
        f"<h2>{name.capitalize()}</h2><p>{escape(described[name])}</p>" for name in _COLUMNS
    )
    shown = described["example"]
    sample = f"$ {shown['request']}\n" if shown["request"] else ""
    text = escape(sample) + escape(render(shown["answer"], pretty=True).decode())
    status = f"<p>HTTP status {problem.status}</p>" if problem.status else ""
    body = f"{status}{paragraphs}<h2>Example</h2><pre>{text}</pre>"
    return HTMLResponse(page(f"{described['title']} ({slug})", body), headers=HTML_HEADERS)


def describe(problem: Problem, *, base: str) -> dict[str, Any]:
    """Return a problem's page as JSON.

    Args:
        problem: One of PROBLEMS.
        base: The service's address, for the example command.
    """
    text = problem.text
    return {
        "type": f"/problems/{problem.slug}",
        "title": text.title,
        "status": problem.status,
        "meaning": text.meaning,
        "cause": text.cause,
        "fix": text.fix,
        "example": {
            "request": text.request.replace("{base}", base),
            "answer": example(problem.slug),
        },
    }
