"""Writes requirements.lock from a fresh resolution: exact versions, no hashes, no indexes.

It knows pip and pyproject.toml and nothing of the service. `python .ci/lock.py` in any Python
that the project supports; the resolution itself is pip's.
"""

import json
import re
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parent.parent
LOCK: Final = ROOT / "requirements.lock"

HELD: Final = ("torch==2.13.0",)
"""Versions that docs and tests quote numbers of: moving one is a change of its own."""

UNLISTED: Final = re.compile(r"^(fitjobs|nvidia-.*|cuda-.*|triton.*)$")
"""The project itself, and what only some builds of torch need: torch pins those by itself."""

HEADER: Final = """\
# Every package at the version that was tested; written by `make lock`, not by hand.
# pip install -r requirements.lock && pip install --no-deps -e .
"""


def resolve() -> list[tuple[str, str]]:
    """Return name and version of everything that a fresh installation would bring, sorted."""
    with tempfile.TemporaryDirectory() as directory:
        held = Path(directory, "held.txt")
        held.write_text("\n".join(HELD))
        report = Path(directory, "report.json")
        command = [sys.executable, "-m", "pip", "install", "--dry-run", "--ignore-installed"]
        command += ["--quiet", "--constraint", str(held), "--report", str(report)]
        subprocess.run([*command, f"{ROOT}[worker,embedded,dev]"], check=True)  # noqa: S603 - our own words
        installed = json.loads(report.read_text())["install"]
    pairs = [(entry["metadata"]["name"], entry["metadata"]["version"]) for entry in installed]
    return sorted((_normalise(name), _public(version)) for name, version in pairs)


def markers() -> dict[str, str]:
    """Return the environment markers of our own dependencies, e.g. of a wheel for some Pythons."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    groups = project["optional-dependencies"].values()
    requirements = [*project["dependencies"], *(text for group in groups for text in group)]
    split = (text.partition(";") for text in requirements)
    return {_name(text): marker.strip() for text, _, marker in split if marker}


def make_lock() -> str:
    """Return the text of requirements.lock."""
    marked = markers()
    lines = [
        f"{name}=={version}" + (f" ; {marked[name]}" if name in marked else "")
        for name, version in resolve()
        if not UNLISTED.match(name)
    ]
    return HEADER + "\n".join(lines) + "\n"


def _name(requirement: str) -> str:
    found = re.match(r"[A-Za-z0-9._-]+", requirement)
    if found is None:
        raise ValueError(f"not a requirement: {requirement!r}")
    return _normalise(found.group())


def _normalise(name: str) -> str:
    """Return the name as PEP 503 spells it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def _public(version: str) -> str:
    """Return the version without the local part, which names one build of it (+cpu, +cu130)."""
    return version.partition("+")[0]


if __name__ == "__main__":
    LOCK.write_text(make_lock())
