"""What a house of one worker process weighs: the API, and a worker's child beyond its parent."""

from pathlib import Path
from typing import Final

from benchmarks.house import House, open_house
from benchmarks.table import Row
from benchmarks.verdict import below, missing

_MEGABYTE: Final = 1e6
_MOST_API: Final = 120.0
_MOST_CHILD: Final = 60.0
_JOBS: Final = 5
"""A first job loads what is loaded late; the rest show that nothing piles up."""


def measure(*, quick: bool) -> list[Row]:
    """Return the rows of both, after a few jobs."""
    goals = {"API, resident": _MOST_API, "worker child beyond its parent": _MOST_CHILD}
    if not Path("/proc/self/smaps_rollup").exists():
        return [
            missing(case, f"at most {most:g} MB", "no /proc here") for case, most in goals.items()
        ]
    with open_house() as house:
        for _ in range(1 if quick else _JOBS):
            _run_job(house)
        children = _descendants(house.pid)
        api = next(child for child, words in children.items() if "app.main:" in words)
        child = next(iter(workers_below(house.pid)))
        resident = _kilobytes(api, "Rss")
        private = _kilobytes(child, "Private_Clean") + _kilobytes(child, "Private_Dirty")
        whole = _kilobytes(child, "Rss")
    found = {
        "API, resident": (resident, ""),
        "worker child beyond its parent": (private, f" private of {whole * 1e3 / _MEGABYTE:.0f}"),
    }
    return [
        below(
            case,
            found[case][0] * 1e3 / _MEGABYTE,
            most=most,
            shown=f"{most:g} MB",
            measured=f"{found[case][0] * 1e3 / _MEGABYTE:.0f} MB{found[case][1]}",
        )
        for case, most in goals.items()
    ]


def _run_job(house: House) -> None:
    """Run the classic job for as many steps as the question's, and read its history."""
    job = house.ask("/v1/jobs?wait=60", {"steps": 20_000, "stop": {"loss_below": None}})
    house.ask(f"/v1/jobs/{job['id']}/history")


def workers_below(pid: int) -> list[int]:
    """Return the worker processes that compute, below the process of a house."""
    found = [child for child, words in _descendants(pid).items() if "worker.main" in words]
    return [worker for worker in found if _parent_of(worker) in found]


def _descendants(pid: int) -> dict[int, str]:
    """Return every living process below one, with its command."""
    parents = dict[int, int]()
    for directory in Path("/proc").glob("[0-9]*"):
        try:
            parents[int(directory.name)] = _parent_of(int(directory.name))
        except OSError:
            continue
    below_it = {pid}
    while grown := {child for child, parent in parents.items() if parent in below_it} - below_it:
        below_it |= grown
    return {child: _command_of(child) for child in below_it}


def _parent_of(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
    return int(status.partition("PPid:")[2].split()[0])


def _command_of(pid: int) -> str:
    return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()


def _kilobytes(pid: int, field: str) -> int:
    rollup = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="utf-8")
    return int(rollup.partition(f"\n{field}:")[2].split()[0])
