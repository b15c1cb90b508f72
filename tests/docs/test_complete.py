"""Nothing that users can meet is missing from the pages: endpoints, words, statuses, codes."""

import ast
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from app.api.errors import STATUSES
from app.api.problem_texts import TEXTS
from app.api.reference import document_of
from app.domain.batch import BatchSpec
from app.domain.catalogue import OPTIMIZERS, SCHEDULERS
from app.domain.data import Columns, Generator
from app.domain.events import EventType
from app.domain.job import Progress, Status
from app.domain.presets import COMPARISON_PRESETS, DATA_PRESETS
from app.domain.result import Exact, Problem, RunResult, StopReason
from app.domain.series import SeriesGenerator
from app.domain.spec import ComparisonSpec, FitSpec, Start, Stop
from app.domain.summary import (
    BatchSummary,
    OptimizerSweep,
    RateRange,
    RunPoint,
    Spread,
    SweepSummary,
)
from app.domain.sweep import Grid, SweepSpec
from app.main import create_app
from app.settings import Settings
from tests.docs.pages import ROOT, everything

API: Final = (ROOT / "docs" / "api.md").read_text(encoding="utf-8")
NUMBERS: Final = (ROOT / "docs" / "numbers.md").read_text(encoding="utf-8")
WHY: Final = (ROOT / "docs" / "why-not-converged.md").read_text(encoding="utf-8")
SNAPSHOT: Final = ROOT / "docs" / "openapi.json"


@pytest.fixture(scope="session")
def document() -> dict[str, Any]:
    """The OpenAPI document of this version."""
    return document_of(create_app(Settings.model_construct()))


def codes_in(path: Path, *, calls: str) -> Iterator[str]:
    """Yield the literal `code=` of every call of a class in a source file."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Name)):
            continue
        if node.func.id == calls:
            for keyword in node.keywords:
                if keyword.arg == "code" and isinstance(keyword.value, ast.Constant):
                    yield str(keyword.value.value)


def missing(words: Iterator[str] | Any, text: str) -> list[str]:
    """Return the words that a text does not write as code."""
    told = set(re.findall(r"`([^`\n]+)`", text))
    return [word for word in words if word not in told]


def test_every_endpoint_stands_in_the_api_page(document: dict[str, Any]) -> None:
    shown = [
        f"{method.upper()} {path}"
        for path, operations in document["paths"].items()
        for method in operations
    ]

    assert missing(shown, API) == []


def test_every_query_parameter_and_header_stands_in_the_api_page(document: dict[str, Any]) -> None:
    names = {
        parameter["name"]
        for operations in document["paths"].values()
        for operation in operations.values()
        for parameter in operation.get("parameters", ())
        if parameter["in"] != "path"
    }

    assert [name for name in sorted(names) if f"`{name}" not in API and f"?{name}" not in API] == []


def test_api_page_names_no_endpoint_that_is_not_there(document: dict[str, Any]) -> None:
    served = {
        f"{method.upper()} {path}"
        for path, operations in document["paths"].items()
        for method in operations
    }
    aliases = {"GET /latest"}
    table, _, rest = API.partition("## Not served yet")
    assert rest
    named = set(re.findall(r"`((?:GET|POST|PUT|PATCH|DELETE) /[^`?\s]*)`", table))

    assert named - served - aliases == set()


@pytest.mark.parametrize(
    "words",
    [
        pytest.param(Status, id="statuses"),
        pytest.param(EventType, id="events"),
        pytest.param(TEXTS, id="problems"),
        pytest.param(DATA_PRESETS, id="presets"),
        pytest.param(COMPARISON_PRESETS, id="comparisons"),
        pytest.param(OPTIMIZERS, id="optimizers"),
        pytest.param(SCHEDULERS, id="schedulers"),
        pytest.param(FitSpec.model_fields, id="fit"),
        pytest.param(ComparisonSpec.model_fields, id="comparison"),
        pytest.param(SweepSpec.model_fields, id="sweep"),
        pytest.param(Grid.model_fields, id="grid"),
        pytest.param(BatchSpec.model_fields, id="batch"),
        pytest.param(SeriesGenerator.model_fields, id="series"),
        pytest.param(Stop.model_fields, id="stop"),
        pytest.param(Start.model_fields, id="start"),
        pytest.param(Generator.model_fields, id="generator"),
        pytest.param(Columns.model_fields, id="columns"),
    ],
)
def test_every_word_of_the_contract_stands_in_the_api_page(words: Any) -> None:
    assert missing(map(str, words), API) == []


@pytest.mark.parametrize(
    "model",
    [
        *(RunResult, Exact, Problem, Progress, RunPoint, RateRange, OptimizerSweep, SweepSummary),
        *(BatchSummary, Spread),
    ],
    ids=lambda model: model.__name__,
)
def test_every_number_of_a_result_is_explained(model: Any) -> None:
    assert missing(model.model_fields, NUMBERS) == []


def test_every_stop_reason_is_explained() -> None:
    assert missing(map(str, StopReason), NUMBERS) == []


def test_every_diagnosis_is_explained() -> None:
    files = (ROOT / "app" / "domain" / "diagnosis").glob("*.py")
    codes = {code for path in files for code in codes_in(path, calls="Diagnosis")}

    assert len(codes) == 15
    assert missing(sorted(codes), NUMBERS) == []
    assert missing(sorted(codes), WHY) == []


def test_every_warning_is_told() -> None:
    files = [*(ROOT / "app" / "domain").rglob("*.py"), ROOT / "app" / "service.py"]
    codes = {code for path in files for code in codes_in(path, calls="Warn")}

    assert {
        "batch-is-everything",
        "device-fell-back",
        "stop-rules-off",
        "rates-change-little",
    } <= codes
    assert missing(sorted(codes), API) == []


def test_status_of_every_problem_is_told() -> None:
    told = dict(re.findall(r"^\| (\d{3}) \| (.+?) \|", API, re.MULTILINE))

    for slug, status in STATUSES.items():
        assert f"`{slug}`" in told.get(str(status), ""), f"{slug} is a {status}"


def test_snapshot_of_openapi_is_what_the_service_serves(document: dict[str, Any]) -> None:
    is_same = json.loads(SNAPSHOT.read_text(encoding="utf-8")) == json.loads(json.dumps(document))

    assert is_same, "the contract has changed: `make openapi` rewrites docs/openapi.json"


def test_no_page_promises_what_the_words_forbid() -> None:
    for word in ("epoch", "blazing", "seamless", "state-of-the-art", "canceled"):
        assert word not in everything().lower()
