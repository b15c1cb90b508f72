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


def test_no_request_gets_an_answer_that_the_reference_does_not_name(
    house: House, tmp_path: Path
) -> None:
    command = [
        *(str(Path(sys.executable).with_name("schemathesis")), "run", f"{house.url}/openapi.json"),
        *("--phases", "fuzzing", "--checks", ",".join(_CHECKS)),
        *("--max-examples", "12", "--generation-deterministic"),
        # What waits for a job takes as long as the job.
        *("--exclude-path-regex", "^/(fit|compare)$|/cancel$|/rerun$", "--continue-on-failure"),
    ]

    ended = subprocess.run(
        command, capture_output=True, text=True, timeout=_SECONDS, check=False, cwd=tmp_path
    )

    assert ended.returncode == 0, ended.stdout[-8000:]
