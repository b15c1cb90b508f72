"""A `fitjobs up` as a test drives it: its terminal, its children, its signals, its HTTP."""

import json
import os
import re
import signal
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from tests.waiting import wait_until

START_SECONDS: Final = 90.0
_COMMAND: Final = (str(Path(sys.executable).with_name("fitjobs")), "up")


class House:
    """One `fitjobs up` on a free port, and everything that it has printed.

    Args:
        data_dir: Its data directory.
        options: More words of the command line.
        environment: More of the environment.
    """

    def __init__(
        self, data_dir: Path, *options: str, environment: Mapping[str, str] | None = None
    ) -> None:
        self.data_dir = data_dir
        self.printed = ""
        self.process = subprocess.Popen(
            [*_COMMAND, *options],
            env={**house_environment(data_dir), **(environment or {})},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    @property
    def url(self) -> str:
        found = re.search(r"^fitjobs serves (\S+)", self.printed, re.MULTILINE)
        assert found, self.printed
        return found[1]

    def wait_until_ready(self) -> "House":
        wait_until(
            lambda: "fitjobs serves" in self.printed or self.process.poll() is not None,
            "fitjobs up serves",
            seconds=START_SECONDS,
        )
        assert self.process.poll() is None, self.printed
        return self

    def wait_until_printed(self, text: str, *, times: int = 1) -> None:
        wait_until(
            lambda: self.printed.count(text) >= times, f"{text!r} printed", seconds=START_SECONDS
        )

    def stop(self, *signals: signal.Signals) -> int:
        """Send signals, the default a Ctrl-C, and return the exit status."""
        for name in signals or (signal.SIGINT,):
            self.process.send_signal(name)
        return self.end()

    def end(self) -> int:
        status = self.process.wait(timeout=60)
        self._reader.join()
        assert self.process.stdout is not None
        self.process.stdout.close()
        return status

    def ask(
        self,
        path: str,
        body: object = None,
        *,
        timeout: float = 60,
        method: str | None = None,
    ) -> Any:
        data = None if body is None else json.dumps(body).encode()
        headers = {"Content-Type": "application/json"}
        request = urllib.request.Request(self.url + path, data=data, headers=headers, method=method)
        with urllib.request.urlopen(request, timeout=timeout) as answer:
            return json.load(answer)

    def pid_of(self, words: str) -> int:
        """Return the process whose command has the words, the parent where children have them too."""
        found = [pid for pid, words_of in processes_of(self.data_dir).items() if words in words_of]
        # By parenthood, not by number: the kernel begins again with small ones.
        return next(pid for pid in found if parent_of(pid) not in found)

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.printed += line


def parent_of(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("PPid:")[2].split()[0])


def house_environment(data_dir: Path) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("FITJOBS_")}
    return {
        **kept,
        "FITJOBS_PORT": "0",
        "FITJOBS_DATA_DIR": str(data_dir),
        "FITJOBS_CPU_WORKERS": "1",
    }


def processes_of(data_dir: Path) -> dict[int, str]:
    """Return every living process that was started for a data directory, with its command."""
    marker = f"FITJOBS_DATA_DIR={data_dir}".encode()
    found: dict[int, str] = {}
    for directory in Path("/proc").glob("[0-9]*"):
        try:
            environment = (directory / "environ").read_bytes().split(b"\0")
            command = (directory / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            works_at = (directory / "cwd").readlink()
        except OSError:
            continue
        # Redis writes its title over its environment, but works in its directory.
        if marker in environment or works_at.is_relative_to(data_dir):
            found[int(directory.name)] = command
    return found
