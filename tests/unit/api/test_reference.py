"""The problem pages, the OpenAPI document and the reference made from it."""

import re
from typing import Any

import httpx
import pytest
from starlette.requests import Request

from app.api.errors import PROBLEMS, STATUSES, example
from app.api.html import prefers_html
from app.api.security import OPEN_PATHS
from app.api.spec_schema import spec_body, spec_components
from app.domain.spec import ComparisonSpec, FitSpec

BROWSER = {"Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"}


@pytest.fixture
async def document(client: httpx.AsyncClient) -> dict[str, Any]:
    return dict((await client.get("/openapi.json")).json())


async def test_problems_are_listed(client: httpx.AsyncClient) -> None:
    items = (await client.get("/problems")).json()["items"]

    assert {item["type"] for item in items} == {f"/problems/{slug}" for slug in PROBLEMS}
    assert {item["status"] for item in items} - {None} == set(STATUSES.values())


@pytest.mark.parametrize("slug", list(PROBLEMS))
async def test_problem_has_a_page_in_both_forms(client: httpx.AsyncClient, slug: str) -> None:
    answer = (await client.get(f"/problems/{slug}")).json()
    html = await client.get(f"/problems/{slug}", headers=BROWSER)

    assert answer["type"] == answer["example"]["answer"]["type"] == f"/problems/{slug}"
    assert all(answer[part] for part in ("title", "meaning", "cause", "fix"))
    assert "{base}" not in answer["example"]["request"]
    assert html.headers["content-type"].startswith("text/html")
    assert "default-src 'none'" in html.headers["content-security-policy"]
    assert f"({slug})" in html.text


async def test_list_of_problems_is_a_page_for_browsers(client: httpx.AsyncClient) -> None:
    html = await client.get("/problems", headers=BROWSER)

    assert '<a href="/problems/validation">' in html.text


async def test_unknown_problem_is_not_found(client: httpx.AsyncClient) -> None:
    assert (await client.get("/problems/none")).status_code == 404


@pytest.mark.parametrize(
    ("slug", "method", "path", "body"),
    [
        ("malformed-json", "POST", "/v1/jobs", b'{"steps": 100,}'),
        ("invalid-parameter", "GET", "/version?prety", b""),
        ("validation", "POST", "/v1/jobs", b'{"optimiser": "adam", "steps": -1}'),
        ("method-not-allowed", "DELETE", "/version", b""),
        ("not-found", "GET", "/v1/job", b""),
        ("invalid-cursor", "GET", "/v1/jobs?cursor=nonsense", b""),
        ("job-not-found", "GET", "/v1/jobs/job_unknown", b""),
    ],
)
async def test_example_of_a_problem_is_real(
    client: httpx.AsyncClient, slug: str, method: str, path: str, body: bytes
) -> None:
    shown = (await client.get(f"/problems/{slug}")).json()["example"]
    answer = await client.request(
        method, path, content=body, headers={"Content-Type": "application/x-www-form-urlencoded"}
    )

    assert path in shown["request"]
    assert without_names(answer.json()) == without_names(shown["answer"])


async def test_example_of_a_conflict_is_real(client: httpx.AsyncClient) -> None:
    async def put(seed: int) -> httpx.Response:
        return await client.put("/v1/jobs/mine", json={"seed": seed})

    async def post(seed: int) -> httpx.Response:
        return await client.post("/v1/jobs", json={"seed": seed}, headers={"Idempotency-Key": "k1"})

    await put(1)
    await post(1)
    refused = {"id-conflict": await put(2), "idempotency-key-reused": await post(2)}

    for slug, answer in refused.items():
        assert without_names(answer.json()) == without_names(example(slug))


async def test_example_of_a_refused_body_is_real(client: httpx.AsyncClient) -> None:
    async def post(content: bytes, **headers: str) -> httpx.Response:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return await client.post("/v1/jobs", content=content, headers=named)

    refused = {
        "payload-too-large": await post(bytes(9_000_000)),
        "unsupported-media-type": await post(b"adam", content_type="text/plain"),
        "cross-site-request": await post(b"steps=10", origin="https://example.org"),
        "device-unavailable": await post(b'{"device": "cuda"}'),
    }

    for slug, answer in refused.items():
        assert without_names(answer.json()) == without_names(example(slug))


def without_names(document: dict[str, object]) -> dict[str, object]:
    return {k: v for k, v in document.items() if k not in {"instance", "request_id"}}


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        (None, False),
        ("*/*", False),
        ("application/json", False),
        ("text/html", True),
        ("text/html;q=0.5, application/json", False),
        ("text/html;q=bad, */*", False),
        ("application/xhtml+xml;v=1;q=0.9,application/json;q=0.8", True),
    ],
)
def test_html_is_for_those_who_prefer_it(accept: str | None, *, expected: bool) -> None:
    headers = [] if accept is None else [(b"accept", accept.encode())]

    assert prefers_html(Request({"type": "http", "headers": headers})) is expected


def test_document_names_every_path_and_problem(document: dict[str, object]) -> None:
    text = str(document)

    assert document["openapi"] == "3.1.0"
    assert {"/", "/v1/optimizers", "/problems/{slug}", "/readyz", "/docs"} <= set(document["paths"])
    assert all(f"/problems/{slug}" in text for slug in PROBLEMS)
    assert "HTTPValidationError" not in text


def test_every_reference_of_the_document_leads_somewhere(document: dict[str, object]) -> None:
    named = set(re.findall(r"#/components/schemas/(\w+)", str(document)))

    assert named
    assert named <= set(document["components"]["schemas"])


def test_every_operation_documents_its_refusals(document: dict[str, object]) -> None:
    for path, operations in document["paths"].items():
        for operation in operations.values():
            assert {"400", "500"} <= set(operation["responses"]), path
            assert ("401" in operation["responses"]) is (path not in OPEN_PATHS), path
            assert operation["summary"], path


def test_operations_have_names_of_their_own(document: dict[str, object]) -> None:
    names = [
        operation["operationId"]
        for operations in document["paths"].values()
        for operation in operations.values()
    ]

    assert len(names) == len(set(names))


async def test_reference_page_loads_nothing(client: httpx.AsyncClient) -> None:
    html = (await client.get("/docs")).text

    assert "<script" not in html
    assert not re.search(r'(src|href)="(https?:)?//', html)
    assert "/v1/optimizers/{name}" in html
    assert "zero_grad" in html


def test_schema_of_a_spec_describes_every_field() -> None:
    schemas = spec_components()

    for spec in (FitSpec, ComparisonSpec):
        properties = schemas[spec.__name__]["properties"]
        assert set(spec.model_fields) <= set(properties)
        undescribed = [name for name, entry in properties.items() if "description" not in entry]
        assert undescribed == []
    assert "StoredColumns" not in schemas


@pytest.mark.parametrize("body", ["fit", "comparison", "sweep", "batch", "any", "overrides"])
def test_body_of_a_route_has_examples(body: str) -> None:
    content = spec_body(body)["requestBody"]["content"]

    assert content["application/json"]["examples"]
    assert set(content) == {
        "application/json",
        "application/x-www-form-urlencoded",
        "text/csv",
        "application/x-ndjson",
    }


@pytest.mark.parametrize(
    ("method", "path", "status", "media_types"),
    [
        ("get", "/v1/jobs/{id}/chart.svg", "200", {"image/svg+xml"}),
        ("get", "/v1/jobs/{id}/reproduce.py", "200", {"text/x-python"}),
        ("get", "/docs", "200", {"text/html"}),
        ("get", "/v1/jobs", "200", {"application/json"}),
        ("get", "/v1/jobs/{id}/data", "200", {"application/json", "text/csv"}),
        (
            "get",
            "/v1/jobs/{id}/history",
            "200",
            {"application/json", "text/csv", "application/x-ndjson"},
        ),
        ("get", "/v1/jobs/{id}", "200", {"application/json", "text/plain"}),
        ("post", "/v1/jobs", "201", {"application/json", "text/plain"}),
    ],
)
async def test_every_form_of_an_answer_is_named(
    document: dict[str, Any], method: str, path: str, status: str, media_types: set[str]
) -> None:
    assert document["paths"][path][method]["responses"][status]["content"].keys() == media_types
