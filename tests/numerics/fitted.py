"""A fit from a spec to its last row in one call, and a script's output as the same numbers."""

import contextlib
import io
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from app.domain.data import Columns
from app.domain.history import Rows, concatenate
from app.domain.result import Exact, Problem, RunResult
from app.domain.spec import ComparisonSpec, FitSpec, Start
from app.reproduce import make_script
from worker.contract import Run
from worker.engine.torch_engine import TorchEngine


@dataclass(frozen=True, slots=True, kw_only=True)
class Fitted:
    rows: Rows
    result: RunResult
    exact: Exact
    problem: Problem
    start: Start
    num_blocks: int


def drain(run: Run) -> tuple[Rows, RunResult, int]:
    """Run to the end."""
    blocks = list(run.blocks())
    reason = blocks[-1].stop_reason
    assert reason is not None
    return concatenate(block.rows for block in blocks), run.result(reason), len(blocks)


def fit(
    columns: Columns | None = None, *, clock: Callable[[], float] | None = None, **fields: Any
) -> Fitted:
    """Fit by the plain loop unless the fields, which are a spec's, say otherwise."""
    spec = FitSpec.model_validate({"engine": "torch", **fields})
    engine = TorchEngine() if clock is None else TorchEngine(clock=clock)
    prepared = engine.prepare(spec, columns=columns, device="cpu")
    rows, result, num_blocks = drain(prepared.runs[0])
    return Fitted(
        rows=rows,
        result=result,
        exact=prepared.exact,
        problem=prepared.problem,
        start=prepared.start,
        num_blocks=num_blocks,
    )


def compare(**fields: Any) -> list[tuple[Rows, RunResult]]:
    """Run a comparison by the plain loop unless the fields say otherwise."""
    spec = ComparisonSpec.model_validate({"engine": "torch", **fields})
    prepared = TorchEngine().prepare(spec, columns=None, device="cpu")
    return [drain(run)[:2] for run in prepared.runs]


@dataclass(frozen=True, slots=True, kw_only=True)
class Printed:
    step: list[int]
    loss: list[float]
    a: list[float]
    b: list[float]
    result: dict[str, Any]


def read(text: str) -> Printed:
    """Read what a script of app.reproduce printed."""
    *lines, last = text.splitlines()
    rows = [line.split(",") for line in lines]
    return Printed(
        step=[int(row[0]) for row in rows],
        loss=[float(row[1]) for row in rows],
        a=[float(row[2]) for row in rows],
        b=[float(row[3]) for row in rows],
        result=json.loads(last),
    )


def execute(script: str) -> Printed:
    """Run a script in this process; torch's global generator is left as it was."""
    out = io.StringIO()
    with torch.random.fork_rng(devices=[]), contextlib.redirect_stdout(out):
        exec(compile(script, "reproduce.py", "exec"), {"__name__": "__main__"})  # noqa: S102  # it is our own text
    return read(out.getvalue())


def reproduce(points: Columns | None = None, *, lr: float | None = None, **fields: Any) -> Printed:
    """Run the script of a spec in this process."""
    return execute(make_script(FitSpec.model_validate(fields), points, lr=lr))


def same_bits(one: list[float], other: list[float]) -> bool:
    """Tell whether two columns are equal, NaN equal to NaN."""
    return [value.hex() for value in one] == [value.hex() for value in other]
