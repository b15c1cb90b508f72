"""A stranger's fuzzer holds the served OpenAPI document against what the service answers."""

import subprocess
import sys
from pathlib import Path

from tests.acceptance.houses import House

_CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
)
_SECONDS = 120
"""It takes about 10."""


def fuzz(house: House, *paths: str, directory: Path) -> subprocess.CompletedProcess[str]:
    command = [
        *(str(Path(sys.executable).with_name("schemathesis")), "run", f"{house.url}/openapi.json"),
        *("--phases", "fuzzing", "--checks", ",".join(_CHECKS)),
        *("--max-examples", "12", "--generation-deterministic", "--continue-on-failure"),
        *paths,
    ]
    return subprocess.run(
        command, capture_output=True, text=True, timeout=_SECONDS, check=False, cwd=directory
    )


def test_no_request_gets_an_answer_that_the_reference_does_not_name(
    house: House, tmp_path: Path
) -> None:
    # What waits for a job takes as long as the job.
    paths = ("--exclude-path-regex", "^/(fit|compare)$|/cancel$|/rerun$|/extend$|/stream$")
    ended = fuzz(house, *paths, directory=tmp_path)

    assert ended.returncode == 0, ended.stdout[-8000:]


def test_stream_is_what_the_reference_says(house: House, tmp_path: Path) -> None:
    # The stream of the newest job ends, because it has ended.
    assert house.ask("/fit", {"steps": 10})["done"]
    ended = fuzz(house, "--include-path-regex", "/stream$", directory=tmp_path)

    assert ended.returncode == 0, ended.stdout[-8000:]
