"""Measures the service around the engine against the template, in turns, each with its own Redis.

`python -m benchmarks.service [--quick] [--json FILE] [--connections N]` prints rows and details.
"""

import argparse
import asyncio
import json
import os
import platform
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Final

from benchmarks.first import First, measure_first
from benchmarks.load import Load, post, quantile
from benchmarks.outside import Outside, measure_outside
from benchmarks.sides import Side, make_house, make_template
from benchmarks.table import Row, to_text, write_json

STEPS: Final = 10
_CONNECTIONS: Final = 32
"""Enough to fill both APIs: the template's has 40 threads."""
_LOOK_SECONDS: Final = 0.01
_WARM_JOBS: Final = 20

_ACCEPTED: Final = 3.0
_COMPLETED: Final = 2.0
_MEDIAN: Final = 1.0
_TAIL: Final = 2.0
_OUTSIDE_MS: Final = 5.0
_FIRST_MS: Final = 100.0
"""The goals."""

_HOUSE_BODY: Final = {"steps": STEPS}
_TEMPLATE_BODY: Final = {"steps": STEPS}


@dataclass(slots=True)
class Tally:
    """What one side did, a value a round; CPU in milliseconds a request or job, by process."""

    accepted: list[float] = field(default_factory=list[float])
    completed: list[float] = field(default_factory=list[float])
    medians: list[float] = field(default_factory=list[float])
    tails: list[float] = field(default_factory=list[float])
    accept_cpu: list[dict[str, float]] = field(default_factory=list[dict[str, float]])
    complete_cpu: list[dict[str, float]] = field(default_factory=list[dict[str, float]])
    wait_cpu: list[dict[str, float]] = field(default_factory=list[dict[str, float]])

    def summary(self) -> dict[str, object]:
        """Return medians over the rounds."""
        return {
            "accepted_a_second": round(median(self.accepted)),
            "completed_a_second": round(median(self.completed)),
            "latency_median_ms": round(median(self.medians) * 1000, 2),
            "latency_p99_ms": round(median(self.tails) * 1000, 2),
            "accept_cpu_ms": _medians(self.accept_cpu),
            "complete_cpu_ms": _medians(self.complete_cpu),
            "wait_cpu_ms": _medians(self.wait_cpu),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """How much is measured.

    Attributes:
        rounds: Turns of each side.
        accepts: Jobs accepted in a turn, and then completed.
        waits: Jobs waited for in a turn, one after the other.
        connections: Submits under way at once.
    """

    rounds: int
    accepts: int
    waits: int
    connections: int = _CONNECTIONS


def measure(*, quick: bool) -> list[Row]:
    """Return the rows of the goal table that speak of the service.

    Args:
        quick: Fewer rounds: the ratios then hold within a fifth or so.
    """
    return _rows(*_measure_sides(_size(quick=quick)), quick=quick)


def _size(*, quick: bool) -> Size:
    return (
        Size(rounds=3, accepts=300, waits=60) if quick else Size(rounds=7, accepts=1000, waits=300)
    )


def _measure_sides(size: Size) -> tuple[Tally, Tally]:
    with (
        tempfile.TemporaryDirectory(prefix="bench-") as directory,
        make_house(Path(directory)) as house,
        make_template(Path(directory)) as template,
    ):
        ours, theirs = Tally(), Tally()
        sides = (
            (house, ours, "/v1/jobs", "/fit", _HOUSE_BODY),
            (template, theirs, "/jobs", "/fit", _TEMPLATE_BODY),
        )
        for side, _, _, wait_path, body in sides:
            asyncio.run(post(side.port, wait_path, body, count=_WARM_JOBS, connections=1))
        for _ in range(size.rounds):
            for side, tally, path, _, body in sides:
                _accept(side, tally, size, path=path, body=body)
            for side, tally, _, wait_path, body in sides:
                _wait(side, tally, size, path=wait_path, body=body)
    return ours, theirs


def _accept(side: Side, tally: Tally, size: Size, *, path: str, body: object) -> None:
    """Accept jobs while no worker takes any, then let the workers end them all."""
    before = side.count_done()
    side.pause()
    try:
        load, cpu = _with_cpu(
            side,
            lambda: asyncio.run(
                post(side.port, path, body, count=size.accepts, connections=size.connections)
            ),
            count=size.accepts,
        )
    finally:
        side.resume()
    tally.accepted.append(load.rate)
    tally.accept_cpu.append(cpu)
    load, cpu = _with_cpu(side, lambda: _drain(side, before, size.accepts), count=size.accepts)
    tally.completed.append(load.rate)
    tally.complete_cpu.append(cpu)


def _drain(side: Side, before: int, count: int) -> Load:

    began = time.perf_counter()
    side.wait_until(
        lambda: side.count_done() >= before + count, "end its jobs", pause=_LOOK_SECONDS
    )
    return Load(seconds=time.perf_counter() - began, latencies=(0.0,) * count)


def _wait(side: Side, tally: Tally, size: Size, *, path: str, body: object) -> None:
    """Ask for a fit and wait for its answer, one at a time."""
    load, cpu = _with_cpu(
        side,
        lambda: asyncio.run(post(side.port, path, body, count=size.waits, connections=1)),
        count=size.waits,
    )
    tally.medians.append(quantile(load.latencies, 0.5))
    tally.tails.append(quantile(load.latencies, 0.99))
    tally.wait_cpu.append(cpu)


def _with_cpu(side: Side, work: Callable[[], Load], *, count: int) -> tuple[Load, dict[str, float]]:
    before = side.cpu_seconds()
    load = work()
    after = side.cpu_seconds()
    return load, {part: (after[part] - before[part]) * 1000 / count for part in after}


def _medians(rounds: list[dict[str, float]]) -> dict[str, float]:
    return {part: round(median(each[part] for each in rounds), 2) for part in rounds[0]}


def _rows(ours: Tally, theirs: Tally, *, quick: bool) -> list[Row]:
    waited = median(theirs.medians)
    return [
        _more(
            "accepted jobs a second, fsync always, against the template",
            ours.accepted,
            theirs.accepted,
            fewest=_ACCEPTED,
        ),
        _more(
            "completed 10-step jobs a second, 2 workers, against the template",
            ours.completed,
            theirs.completed,
            fewest=_COMPLETED,
        ),
        _less(
            "10-step job, POST to finished answer, median against the template's",
            median(ours.medians),
            waited,
            most=_MEDIAN,
        ),
        _less(
            "10-step job, POST to finished answer, p99 against the template's median",
            median(ours.tails),
            waited,
            most=_TAIL,
        ),
        _outside(measure_outside(jobs=5 if quick else 20)),
        *_first(measure_first(starts=1 if quick else 5)),
    ]


def _more(case: str, ours: list[float], theirs: list[float], *, fewest: float) -> Row:
    ratio = median(ours) / median(theirs)
    return Row(
        case=case,
        goal=f"at least {fewest:g}x",
        measured=f"{median(ours):.0f} against {median(theirs):.0f}",
        ratio=ratio,
        passed=ratio >= fewest,
    )


def _less(case: str, ours: float, theirs: float, *, most: float) -> Row:
    ratio = ours / theirs
    return Row(
        case=case,
        goal=f"at most {most:g}x",
        measured=f"{ours * 1000:.1f} ms against {theirs * 1000:.1f} ms",
        ratio=ratio,
        passed=ratio <= most,
    )


def _outside(found: Outside) -> Row:
    return Row(
        case="worker time outside the engine, 1,500-step job",
        goal=f"under {_OUTSIDE_MS:g} ms",
        measured=f"{found.cpu_ms:.2f} ms CPU, {found.wall_ms:.2f} ms with Redis and its disk",
        ratio=None,
        passed=found.wall_ms < _OUTSIDE_MS,
    )


def _first(found: First) -> list[Row]:
    name, seconds = found.slowest
    goal = f"under {_FIRST_MS:g} ms"
    return [
        Row(
            case="cold start: first job after /readyz, POST to finished answer",
            goal=goal,
            measured=f"{found.job * 1000:.0f} ms; later ones {found.later * 1000:.0f} ms",
            ratio=None,
            passed=found.job * 1000 < _FIRST_MS,
        ),
        Row(
            case="cold start: the slowest first job of an optimizer",
            goal=goal,
            measured=f"{seconds * 1000:.0f} ms ({name})",
            ratio=None,
            passed=seconds * 1000 < _FIRST_MS,
        ),
    ]


def main(words: list[str]) -> int:
    """Print the rows and what is behind them."""
    parser = argparse.ArgumentParser(description="Measure the service against the template.")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--json", type=Path)
    given = parser.parse_args(words)
    size = _size(quick=given.quick)
    load = os.getloadavg()[0]
    ours, theirs = _measure_sides(size)
    rows = _rows(ours, theirs, quick=given.quick)
    details = {"fitjobs": ours.summary(), "template": theirs.summary(), "load_before": load}
    sys.stdout.write(f"{to_text(rows)}\n{json.dumps(details, indent=1)}\n")
    if given.json is not None:
        write_json(rows, given.json, machine=f"{platform.machine()}, load {load:.1f}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
