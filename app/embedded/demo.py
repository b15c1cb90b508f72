"""Asks the API as a client would: is it ready, and what does the classic job answer?"""

import json
import urllib.error
import urllib.request
from typing import Any, Final

READY_SECONDS: Final = 2.0
"""Longer than the API waits for Redis before it answers 503 by itself."""
JOB_SECONDS: Final = 60.0


def is_ready(url: str) -> bool:
    """Tell whether a job can run: /readyz answers 200.

    Args:
        url: Address of the API.
    """
    try:
        with _open(f"{url}/readyz", timeout=READY_SECONDS):
            return True
    except (OSError, urllib.error.HTTPError):
        return False


def run_classic_job(url: str, *, key: str | None = None) -> str:
    """Run the classic job as `curl -d '{}' URL/fit` does; return its report and its curve.

    Args:
        url: Address of the API.
        key: One of its API keys, when it asks for one.

    Raises:
        OSError: The API went away or refused.
    """
    with _open(f"{url}/fit", body=b"{}", key=key, timeout=JOB_SECONDS) as answer:
        job = json.load(answer)["id"]
    with _open(f"{url}/v1/jobs/{job}?format=text&wait", key=key, timeout=JOB_SECONDS) as answer:
        return str(answer.read().decode())


def _open(url: str, *, timeout: float, body: bytes | None = None, key: str | None = None) -> Any:  # noqa: ANN401 - urllib's own answer has no narrower type
    headers = {"Content-Type": "application/json"}
    if key is not None:
        headers["Authorization"] = f"Bearer {key}"
    request = urllib.request.Request(url, data=body, headers=headers)  # noqa: S310 - http, ours
    return urllib.request.urlopen(request, timeout=timeout)  # noqa: S310
