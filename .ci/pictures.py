"""Draws the pictures of the docs by asking a running service for them, as any client would.

`fitjobs up` in one terminal, then `make pictures` in another; FITJOBS_URL names another service,
and words on the command line choose some of the pictures.
"""

import json
import os
import sys
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any, Final

DIRECTORY: Final = Path(__file__).resolve().parent.parent / "docs" / "img"
SPECS: Final[dict[str, dict[str, Any]]] = {
    "classic": {},
    "weak-optimizers": {"preset": "weak-optimizers"},
    "weak-optimizers-20000": {"preset": "weak-optimizers-20000"},
    "weak-optimizers-fixed": {"preset": "weak-optimizers-fixed"},
}
"""File name -> the body that asks for what it shows."""


def draw(name: str, *, url: str, directory: Path) -> Path:
    """Run what a picture shows, and write its loss curve as SVG.

    Args:
        name: One of SPECS.
        url: The service.
        directory: Where to write NAME.svg.

    Raises:
        OSError: The service is away, or refuses.
        SystemExit: The job did not succeed.
    """
    job = json.loads(_ask(f"{url}/v1/jobs?history=none", body=SPECS[name]))
    own = f"{url}/v1/jobs/{job['id']}"
    while not job["done"]:
        job = json.loads(_ask(f"{own}?wait=55&history=none"))
    if job["status"] != "succeeded":
        raise SystemExit(f"{name}: {job['message']}")
    path = directory / f"{name}.svg"
    path.write_bytes(_ask(f"{own}/chart.svg"))
    return path


def _ask(url: str, *, body: object = None) -> bytes:
    data = None if body is None else json.dumps(body).encode()
    headers = {"Content-Type": "application/json"}
    request = urllib.request.Request(url, data=data, headers=headers)  # noqa: S310 - http, ours
    with urllib.request.urlopen(request, timeout=120) as answer:  # noqa: S310
        content: bytes = answer.read()
    return content


def main(names: list[str]) -> None:
    """Draw the named pictures, all when none is named."""
    url = os.environ.get("FITJOBS_URL", "http://localhost:8000")
    for name in names or SPECS:
        try:
            path = draw(name, url=url, directory=DIRECTORY)
        except urllib.error.URLError as error:
            raise SystemExit(
                f"{url} does not answer ({error.reason}): start `fitjobs up`"
            ) from None
        sys.stdout.write(f"{path.name}: {path.stat().st_size // 1000} kB\n")


if __name__ == "__main__":
    main(sys.argv[1:])
