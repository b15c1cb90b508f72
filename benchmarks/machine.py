"""Pins the number of threads, and describes the machine in one line without naming it."""

import importlib.metadata
import os
import platform
import subprocess
from pathlib import Path
from typing import Final

PINNED: Final = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "JAX_PLATFORMS": "cpu",
    "JAX_ENABLE_X64": "1",
    "XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1",
}
"""Read once by each library, when it is loaded."""

_SHOWN: Final = ("torch", "numpy", "numba", "jax", "optax", "scipy", "scikit-learn")


def pin() -> None:
    """Give every library one thread; call it before the first of them is imported."""
    os.environ.update(PINNED)


def unpinned() -> dict[str, str]:
    """Return the environment of a process that runs as its user would start it."""
    return {name: value for name, value in os.environ.items() if name not in PINNED}


def describe() -> str:
    """Return processor, cores, load, versions and threads."""
    versions = [f"{name} {version}" for name in _SHOWN if (version := _version(name))]
    load = ", ".join(f"{value:.1f}" for value in os.getloadavg())
    parts = [
        f"{_processor()}, {os.cpu_count()} cores",
        f"load {load}",
        f"Python {platform.python_version()}",
        *versions,
        _compiler() or "no C compiler",
        "one thread a library unless a row says two",
    ]
    return "; ".join(parts)


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return f"{names[0]} ({platform.machine()})" if names else platform.machine()


def _compiler() -> str | None:
    from benchmarks.peers.c_loop import find_compiler  # noqa: PLC0415 - loads numpy: after pin()

    path = find_compiler()
    if path is None:
        return None
    said = subprocess.run([path, "--version"], capture_output=True, text=True, check=False)  # noqa: S603 - the system's compiler
    return said.stdout.partition("\n")[0] or None
