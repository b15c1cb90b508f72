"""What surrounds every route: ids, HEAD, bodies on the wire, keys, foreign pages, the query."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager

import httpx
import pytest
from fastapi import FastAPI
from starlette.requests import Request
from starlette.types import Message

from app.api.body import read_body
from app.domain.errors import PayloadTooLarge, RequestTimeout
from app.settings import Settings

Ask = Callable[..., AbstractAsyncContextManager[httpx.AsyncClient]]

FORM = {"Content-Type": "application/x-www-form-urlencoded"}


def make_scope(method: str, path: str, **headers: str) -> dict[str, object]:
    raw = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.4"},
        "http_version": "1.1",
        "method": method,
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "headers": raw,
        "server": ("localhost", 8000),
        "client": ("127.0.0.1", 5),
        "scheme": "http",
        "root_path": "",
    }


async def never() -> Message:
    await asyncio.Event().wait()
    raise AssertionError("unreachable")


# Request ids and the log


@pytest.mark.parametrize("given", ["a", "A-1_b.c:d", "x" * 64])
async def test_request_id_of_the_client_is_kept(client: httpx.AsyncClient, given: str) -> None:
    answer = await client.get("/livez", headers={"X-Request-Id": given})

    assert answer.headers["x-request-id"] == given


@pytest.mark.parametrize("given", ["", "x" * 65, "a b", "a=b", "ä"])
async def test_request_id_that_could_forge_a_line_is_replaced(
    client: httpx.AsyncClient, given: str
) -> None:
    answer = await client.get("/livez", headers={b"X-Request-Id": given.encode()})

    assert answer.headers["x-request-id"].startswith("req_")


async def test_two_requests_have_two_ids(client: httpx.AsyncClient) -> None:
    first, second = await client.get("/livez"), await client.get("/livez")

    assert first.headers["x-request-id"] != second.headers["x-request-id"]


async def test_log_has_one_line_a_request(
    client: httpx.AsyncClient, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, logger="app.api.middleware"):
        await client.get("/version?pretty", headers={"traceparent": f"00-{'a' * 32}-{'b' * 16}-01"})
        await client.get("/livez")
    lines = [record for record in caplog.records if record.name == "app.api.middleware"]

    assert [line.getMessage() for line in lines] == ["request.served"]
    assert lines[0].fields["path"] == "/version"
    assert lines[0].fields["status"] == 200


async def test_sniffing_is_forbidden(client: httpx.AsyncClient) -> None:
    assert (await client.get("/version")).headers["x-content-type-options"] == "nosniff"


async def test_answer_torn_by_a_defect_is_cut(application: FastAPI) -> None:
    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    with pytest.raises(RuntimeError, match="torn"):
        await application(make_scope("GET", "/probe/torn"), never, send)

    assert sent[0]["status"] == 200
    assert not any(message.get("more_body") is False for message in sent[1:])


async def test_client_that_leaves_is_no_defect(
    application: FastAPI, caplog: pytest.LogCaptureFixture
) -> None:
    async def send(message: Message) -> None:
        if message["type"] == "http.response.body":
            raise OSError("gone")

    await application(make_scope("GET", "/probe/endless"), never, send)

    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


# HEAD


async def test_head_has_the_headers_of_get(client: httpx.AsyncClient) -> None:
    head, get = await client.head("/version"), await client.get("/version")

    assert head.status_code == 200
    assert head.content == b""
    assert head.headers["content-length"] == get.headers["content-length"]


async def test_head_of_an_unknown_path_is_404(client: httpx.AsyncClient) -> None:
    assert (await client.head("/nowhere")).status_code == 404


async def test_head_of_an_endless_stream_ends(client: httpx.AsyncClient) -> None:
    async with asyncio.timeout(5):
        head = await client.head("/probe/endless")

    assert (head.status_code, head.content) == (200, b"")


# Bodies on the wire


@pytest.mark.parametrize(
    ("content", "headers", "spec"),
    [
        (b"", {}, {}),
        (b'{"steps": 5}', FORM, {"steps": 5}),
        (b"optimizer=adam&lr=0.1", FORM, {"optimizer": "adam", "lr": 0.1}),
        (
            b"0,1\n1,3",
            {"Content-Type": "text/csv; charset=utf-8"},
            {"data": {"x": [0, 1], "y": [1, 3]}},
        ),
        (b'"text"', {"Content-Type": "application/json"}, "text"),
    ],
)
async def test_body_becomes_a_spec(
    client: httpx.AsyncClient, content: bytes, headers: dict[str, str], spec: object
) -> None:
    answer = await client.post("/probe/echo", content=content, headers=headers)

    assert answer.status_code == 200
    assert answer.json() == {"spec": spec}


async def test_csv_takes_the_query_and_leaves_what_the_path_declares(
    client: httpx.AsyncClient,
) -> None:
    answer = await client.post(
        "/probe/echo?pretty&steps=5", content=b"0,1", headers={"Content-Type": "text/csv"}
    )

    assert answer.json() == {"spec": {"steps": 5, "data": {"x": [0.0], "y": [1.0]}}}


async def test_large_body_is_parsed_off_the_loop(client: httpx.AsyncClient) -> None:
    pairs = [[i, i] for i in range(40_000)]
    answer = await client.post("/probe/echo", json=pairs)

    assert answer.json() == {"spec": pairs}


async def test_compressed_body_is_refused(client: httpx.AsyncClient) -> None:
    answer = await client.post(
        "/probe/echo", content=b"\x1f\x8b", headers={"Content-Encoding": "gzip"}
    )

    assert answer.status_code == 415
    assert "gzip" in answer.json()["detail"]


@pytest.mark.parametrize("is_announced", [True, False])
async def test_body_beyond_the_limit_is_refused(ask: Ask, *, is_announced: bool) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(100):
            yield b"[" * 100

    async with ask(max_body_bytes=1024) as client:
        content = b"[" * 10_000 if is_announced else chunks()
        answer = await client.post("/probe/echo", content=content)

    assert answer.status_code == 413
    assert answer.headers["connection"] == "close"
    assert answer.json()["detail"] == "The body has more than 1024 bytes"


async def test_body_at_the_limit_is_accepted(ask: Ask) -> None:
    async with ask(max_body_bytes=1024) as client:
        answer = await client.post("/probe/echo", content=b" " * 1022 + b"{}")

    assert answer.status_code == 200


async def test_announced_size_is_refused_before_the_body_is_asked_for() -> None:
    scope = make_scope("POST", "/", content_length="9" * 5_000, expect="100-continue")

    with pytest.raises(PayloadTooLarge):
        await read_body(Request(scope, never), Settings.model_construct(max_body_bytes=1024))


async def test_refusal_stops_reading_after_a_while() -> None:
    async def receive() -> Message:
        return {"type": "http.request", "body": b"x" * 2**20, "more_body": True}

    with pytest.raises(PayloadTooLarge):
        await read_body(
            Request(make_scope("POST", "/"), receive), Settings.model_construct(max_body_bytes=1024)
        )


async def test_client_that_leaves_while_it_is_refused_is_let_go() -> None:
    messages: list[Message] = [
        {"type": "http.request", "body": b"x" * 2048, "more_body": True},
        {"type": "http.disconnect"},
    ]

    async def receive() -> Message:
        return messages.pop(0)

    with pytest.raises(PayloadTooLarge):
        await read_body(
            Request(make_scope("POST", "/"), receive), Settings.model_construct(max_body_bytes=1024)
        )


async def test_body_that_does_not_come_is_a_408() -> None:
    with pytest.raises(RequestTimeout, match=r"within 0\.01 seconds"):
        await read_body(
            Request(make_scope("POST", "/"), never), Settings.model_construct(), seconds=0.01
        )


async def test_client_that_leaves_in_its_body_is_no_defect(
    application: FastAPI, caplog: pytest.LogCaptureFixture
) -> None:
    async def receive() -> Message:
        return {"type": "http.disconnect"}

    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    await application(make_scope("POST", "/probe/echo"), receive, send)

    assert sent[0]["status"] == 408
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


# Keys


OPEN = (
    "/livez",
    "/readyz",
    "/version",
    "/problems",
    "/problems/validation",
    "/openapi.json",
    "/docs",
)
KEYS = "first-key, zweiter-schlüssel ,,"


@pytest.mark.parametrize("path", OPEN)
async def test_open_paths_need_no_key(ask: Ask, path: str) -> None:
    async with ask(api_keys=KEYS) as client:
        assert (await client.get(path)).status_code in {200, 503}


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        "Bearer",
        "Bearer ",
        "Bearer wrong",
        "Basic first-key",
        "first-key",
        "Bearer first-key, zweiter-schlüssel",
    ],
)
async def test_request_without_a_known_key_is_refused(ask: Ask, header: str | None) -> None:
    headers = {} if header is None else {b"Authorization": header.encode()}
    async with ask(api_keys=KEYS) as client:
        answer = await client.get("/v1/workers", headers=headers)

    assert answer.status_code == 401
    assert answer.headers["www-authenticate"].startswith("Bearer")
    assert answer.json()["type"] == "/problems/unauthorized"


@pytest.mark.parametrize("header", ["Bearer first-key", "bearer zweiter-schlüssel"])
async def test_each_key_opens(ask: Ask, header: str) -> None:
    async with ask(api_keys=KEYS) as client:
        answer = await client.get("/v1/workers", headers={b"Authorization": header.encode()})

    assert answer.status_code == 200


@pytest.mark.parametrize("keys", ["", " ", ",", " , "])
async def test_no_keys_let_everyone_in(ask: Ask, keys: str) -> None:
    async with ask(api_keys=keys) as client:
        assert (await client.get("/v1/workers")).status_code == 200


# Foreign pages


@pytest.mark.parametrize(
    "headers",
    [
        {"Sec-Fetch-Site": "cross-site"},
        {"Origin": "https://example.org"},
        {"Origin": "null"},
        {"Origin": "http://[::1"},
        {"Origin": "http://localhost:3000"},
        {"Origin": "http://localhost:8000", "Sec-Fetch-Site": "cross-site"},
    ],
)
@pytest.mark.parametrize("content_type", ["text/plain", FORM["Content-Type"], "text/json", ""])
async def test_form_of_a_foreign_page_is_refused(
    client: httpx.AsyncClient, headers: dict[str, str], content_type: str
) -> None:
    answer = await client.post(
        "/probe/echo", content=b"{}", headers={**headers, "Content-Type": content_type}
    )

    assert answer.status_code == 403
    assert answer.json()["type"] == "/problems/cross-site-request"


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Sec-Fetch-Site": "same-origin", "Origin": "http://localhost:8000"},
        {"Origin": "https://LOCALHOST:8000"},
        {"Sec-Fetch-Site": "none"},
        {"Origin": "https://example.org", "Content-Type": "application/json; charset=utf-8"},
    ],
)
async def test_own_page_and_programs_may_send(
    client: httpx.AsyncClient, headers: dict[str, str]
) -> None:
    answer = await client.post("/probe/echo", content=b"{}", headers=headers)

    assert answer.status_code == 200


async def test_foreign_page_may_link_here(client: httpx.AsyncClient) -> None:
    assert (await client.get("/", headers={"Sec-Fetch-Site": "cross-site"})).status_code == 200


# The query


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("prety", 'did you mean "pretty"?'),
        ("zzz=1", "it has pretty"),
        ("a%00b=1", "it has pretty"),
        ("%ED%A0%80=1", "it has pretty"),
    ],
)
async def test_unknown_parameter_is_refused(
    client: httpx.AsyncClient, query: str, words: str
) -> None:
    answer = await client.get(f"/version?{query}")

    assert answer.status_code == 400
    assert answer.json()["type"] == "/problems/invalid-parameter"
    assert words in answer.json()["detail"]


async def test_pretty_belongs_to_every_path(client: httpx.AsyncClient) -> None:
    assert (await client.get("/version?pretty=1")).status_code == 200
