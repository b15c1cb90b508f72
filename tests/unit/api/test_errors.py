"""Every refusal is a small problem document."""

import importlib
import pkgutil

import httpx
import orjson
import pytest

import app.domain.errors as tree
from app.api.answer import render
from app.api.errors import EXAMPLE_MISTAKE, PROBLEMS, STATUSES, problem_document, responses
from app.api.problem_texts import JOB_PROBLEMS, TEXTS
from app.domain.errors import FitjobsError, Flaw, InvalidSpec, JobErrorType
from app.domain.parse import parse_spec


def errors_of(parent: type[FitjobsError]) -> list[type[FitjobsError]]:
    return [parent, *(below for child in parent.__subclasses__() for below in errors_of(child))]


def test_every_error_has_a_status_and_a_page() -> None:
    for module in pkgutil.walk_packages(tree.__path__ if hasattr(tree, "__path__") else []):
        importlib.import_module(module.name)
    slugs = {error.slug for error in errors_of(FitjobsError)}

    assert slugs <= set(STATUSES)
    assert set(STATUSES) <= set(TEXTS)


def test_every_job_error_has_a_page_without_a_status() -> None:
    assert {error.value for error in JobErrorType} <= set(TEXTS)
    assert all(PROBLEMS[slug].status is None for slug in JOB_PROBLEMS)


def test_slugs_are_a_promise() -> None:
    assert set(STATUSES) == {
        "malformed-json",
        "invalid-parameter",
        "invalid-cursor",
        "unauthorized",
        "cross-site-request",
        "not-found",
        "job-not-found",
        "method-not-allowed",
        "not-acceptable",
        "request-timeout",
        "job-not-finished",
        "id-conflict",
        "job-expired",
        "precondition-failed",
        "payload-too-large",
        "unsupported-media-type",
        "validation",
        "idempotency-key-reused",
        "internal",
        "queue-full",
        "too-many-requests",
        "device-unavailable",
        "store-unavailable",
        "chart-unavailable",
        "not-ready",
    }


def test_document_has_what_the_contract_lists() -> None:
    flaw = Flaw(
        pointer="/optimiser",
        code="unknown-field",
        detail="This field does not exist",
        did_you_mean="optimizer",
        got=7,
        allowed=("a", "b"),
    )
    document = problem_document(
        "validation", "Wrong", instance="/v1/jobs", request_id="r", flaws=(flaw,)
    )

    assert document == {
        "type": "/problems/validation",
        "title": "The spec cannot run",
        "status": 422,
        "detail": "Wrong",
        "instance": "/v1/jobs",
        "request_id": "r",
        "errors": [
            {
                "pointer": "/optimiser",
                "code": "unknown-field",
                "detail": "This field does not exist",
                "did_you_mean": "optimizer",
                "got": 7,
                "allowed": ["a", "b"],
            }
        ],
    }


@pytest.mark.parametrize("letter", ["x", '"', "\x00", "\u20ac", "\ud800"])
def test_document_stays_small_whatever_the_flaws_hold(letter: str) -> None:
    flaw = Flaw(
        pointer="/" + letter * 10_000,
        code="unknown-field",
        detail=letter * 10_000,
        did_you_mean=letter * 10_000,
        got=letter * 10_000,
        allowed=tuple(letter * 10_000 for _ in range(50)),
    )
    document = problem_document(
        "validation",
        letter * 10_000,
        instance="/" + "a" * 10_000,
        request_id="r",
        flaws=(flaw,) * 50,
    )

    assert len(render(document, pretty=True)) < 16_000
    assert 1 <= len(document["errors"]) <= 20
    assert orjson.loads(render(document, pretty=False))["status"] == 422


def test_scalar_that_was_sent_is_cut_at_80_characters() -> None:
    flaw = Flaw(pointer="/name", code="c", detail="d", got="x" * 200)
    document = problem_document("validation", "d", instance="/", request_id=None, flaws=(flaw,))

    assert len(document["errors"][0]["got"]) == 80


def test_responses_gather_problems_by_status() -> None:
    documented = responses(tree.JobNotFound, tree.NotFound, "store-unavailable")

    assert set(documented) == {404, 503}
    examples = documented[404]["content"]["application/problem+json"]["examples"]
    assert set(examples) == {"job-not-found", "not-found"}


def test_example_of_a_bad_spec_is_what_the_parser_says() -> None:
    with pytest.raises(InvalidSpec) as refused:
        parse_spec(EXAMPLE_MISTAKE)
    example = responses(InvalidSpec)[422]["content"]["application/problem+json"]["examples"]

    assert example["validation"]["value"]["detail"] == refused.value.detail
    assert len(example["validation"]["value"]["errors"]) == len(refused.value.flaws)


async def test_unknown_path_is_a_problem_that_names_a_near_one(client: httpx.AsyncClient) -> None:
    answer = await client.get("/v1/optimizer", headers={"X-Request-Id": "mine-1"})

    assert answer.status_code == 404
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json() == {
        "type": "/problems/not-found",
        "title": "No such path",
        "status": 404,
        "detail": "No resource has the path /v1/optimizer: did you mean /v1/optimizers?",
        "instance": "/v1/optimizer",
        "request_id": "mine-1",
    }


@pytest.mark.parametrize(
    ("path", "near"),
    [
        ("/v1/workers/", "/v1/workers"),
        ("//v1//workers", "/v1/workers"),
        ("/v1/optimizer/adam", "/v1/optimizers/adam"),
        ("/zzzzzz", None),
    ],
)
async def test_nearest_path_is_offered(
    client: httpx.AsyncClient, path: str, near: str | None
) -> None:
    answer = await client.get(httpx.URL("http://localhost").copy_with(raw_path=path.encode()))

    assert answer.status_code == 404
    assert answer.json()["detail"].endswith(f"did you mean {near}?" if near else path)


async def test_long_path_is_cut(client: httpx.AsyncClient) -> None:
    answer = await client.get("/" + "a" * 20_000)

    assert answer.status_code == 404
    assert len(answer.content) < 2_000


@pytest.mark.parametrize("path", ["/%ED%A0%80", "/a%00b", "/%0d%0aX-Evil:1", "/%ff"])
async def test_odd_bytes_in_a_path_come_back_encoded(client: httpx.AsyncClient, path: str) -> None:
    answer = await client.get(httpx.URL("http://localhost").copy_with(raw_path=path.encode()))

    assert answer.status_code == 404
    assert answer.json()["instance"] == path


async def test_wrong_method_names_the_right_ones(client: httpx.AsyncClient) -> None:
    answer = await client.delete("/version")

    assert answer.status_code == 405
    assert answer.headers["allow"] == "GET, HEAD, OPTIONS"
    assert answer.json()["type"] == "/problems/method-not-allowed"


async def test_allow_gathers_every_route_of_a_path(client: httpx.AsyncClient) -> None:
    answer = await client.delete("/probe/echo")

    assert answer.headers["allow"] == "OPTIONS, POST, PUT"


async def test_options_names_the_methods_without_a_body(client: httpx.AsyncClient) -> None:
    answer = await client.options("/")

    assert (answer.status_code, answer.content) == (204, b"")
    assert answer.headers["allow"] == "GET, HEAD, OPTIONS"
    assert (await client.options("/nowhere")).status_code == 404


async def test_defect_tells_the_request_id_only(
    client: httpx.AsyncClient, caplog: pytest.LogCaptureFixture
) -> None:
    answer = await client.get("/probe/defect", headers={"X-Request-Id": "broken-7"})

    assert answer.status_code == 500
    assert answer.json()["request_id"] == "broken-7"
    assert answer.json()["type"] == "/problems/internal"
    assert "secret" not in answer.text
    assert "secret-in-the-log-only" in caplog.text


async def test_numbers_and_text_that_json_lacks_are_mended(client: httpx.AsyncClient) -> None:
    answer = await client.get("/probe/text")

    assert answer.json() == {"text": "half ? a pair", "inf": None, "nan": None}


async def test_bad_spec_lists_its_flaws(client: httpx.AsyncClient) -> None:
    answer = await client.post("/probe/echo", content=b"a=1&a=2", headers=FORM)

    assert answer.status_code == 422
    assert answer.json()["errors"][0]["pointer"] == "/a"


async def test_other_refusals_of_a_framework_are_problems(client: httpx.AsyncClient) -> None:
    unreadable, teapot = (
        await client.get("/probe/refused/406"),
        await client.get("/probe/refused/418"),
    )

    assert (unreadable.status_code, unreadable.json()["type"]) == (406, "/problems/not-acceptable")
    assert (teapot.status_code, teapot.json()["type"]) == (500, "/problems/internal")


FORM = {"Content-Type": "application/x-www-form-urlencoded"}
