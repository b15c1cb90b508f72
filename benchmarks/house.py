"""One `fitjobs up` in a directory of its own, with one worker process or more, spoken to by HTTP."""

import json
import re
import signal
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO, Any, Final

from benchmarks.machine import unpinned

_SERVES: Final = re.compile(r"^fitjobs serves (\S+)")
_ASK_SECONDS: Final = 300.0
_STOP_SECONDS: Final = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class House:
    """A house that serves.

    Attributes:
        pid: The process that watches over the others.
        url: Address of its API.
    """

    pid: int
    url: str

    def ask(self, path: str, body: object = None) -> Any:  # noqa: ANN401 - an answer is JSON
        """Return what the API answers: POST with a body, GET without."""
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(  # noqa: S310 - http, ours
            f"{self.url}{path}", data=data, headers={"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=_ASK_SECONDS) as answer:  # noqa: S310
            return json.load(answer)


@contextmanager
def open_house(*, workers: int = 1) -> Generator[House]:
    """Start everything as `fitjobs up` does, and stop it.

    Args:
        workers: Worker processes for cpu.

    Raises:
        RuntimeError: It ended before it served.
    """
    with tempfile.TemporaryDirectory(prefix="fitjobs-bench-") as directory:
        kept = {
            name: value for name, value in unpinned().items() if not name.startswith("FITJOBS_")
        }
        own = {
            "FITJOBS_PORT": "0",
            "FITJOBS_DATA_DIR": directory,
            "FITJOBS_CPU_WORKERS": f"{workers}",
        }
        with subprocess.Popen(
            [sys.executable, "-m", "app.embedded"],
            env={**kept, **own},
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        ) as process:
            try:
                yield House(pid=process.pid, url=_address(process.stdout))
            finally:
                process.send_signal(signal.SIGINT)
                # Read to the end: a full pipe would hold it up.
                process.communicate(timeout=_STOP_SECONDS)


def _address(printed: IO[str] | None) -> str:
    for line in printed or ():
        found = _SERVES.match(line)
        if found:
            return found[1]
    raise RuntimeError("`python -m app.embedded` ended before it served")
