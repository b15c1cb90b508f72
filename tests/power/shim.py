"""Builds a C file that is preloaded into redis-server, and starts Redis with it."""

import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from app.store import server

_SOURCES: Final = Path(__file__).parent
_OPTIONS: Final = ("-O2", "-Wall", "-Werror", "-shared", "-fPIC")


def find_compiler() -> str | None:
    """Return the machine's C compiler."""
    return shutil.which("cc")


def build(name: str, *, into: Path, compiler: str) -> Path:
    """Compile one of the C files beside this one.

    Args:
        name: Of the file, without its ending.
        into: Directory of the library.
        compiler: Path of a C compiler.
    """
    library = into / f"{name}.so"
    source = _SOURCES / f"{name}.c"
    subprocess.run([compiler, *_OPTIONS, "-o", str(library), str(source), "-ldl"], check=True)
    return library


def start(
    directory: Path, library: Path, *, fsync: server.Fsync, environment: Mapping[str, str]
) -> server.RedisServer:
    """Start Redis with a library and what that asks the environment for."""
    given = {**environment, "LD_PRELOAD": str(library)}
    os.environ.update(given)
    try:
        return server.start(directory, fsync=fsync)
    finally:
        for name in given:
            del os.environ[name]
