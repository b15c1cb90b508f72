"""A process that has nothing yet: from its start to the first result, beyond `import torch`."""

import os
import statistics
import subprocess
import sys
from collections.abc import Iterable, Sequence
from typing import Final

from benchmarks import machine, ruled
from benchmarks.table import Row
from benchmarks.verdict import below, in_words, told

_MOST_SECONDS: Final = 0.1
_ROUNDS: Final = 5
_TORCH: Final = "import torch"
_DYNAMO: Final = "import torch, torch._dynamo"
"""What torch itself imports when it builds a first optimizer."""
_FIRST: Final = """
from app.domain.result import StopReason
from app.domain.spec import FitSpec
from worker.tasks import kernels
from worker.engine.torch_engine import TorchEngine
spec = FitSpec.model_validate({"steps": 10, "optimizer": "adam"})
run = TorchEngine(kernels=kernels()).prepare(spec, columns=None, device="cpu").runs[0]
for block in run.blocks():
    reason = block.stop_reason
run.result(reason)
"""
"""What a worker does without its pool and its queue; `service` has those."""


def measure(*, quick: bool) -> list[Row]:
    """Return the rows of a first result in a fresh process, kernels built before."""
    ruled.build_kernels()
    texts = (_TORCH, _DYNAMO, _FIRST)
    rounds = [[_seconds(text) for text in texts] for _ in range(2 if quick else _ROUNDS)]
    beyond = _median(first - torch for torch, _, first in rounds)
    dynamo = _median(first - torch for torch, first, _ in rounds)
    case = "a fresh process's first result, 10 steps, beyond import torch"
    measured = f"{in_words(beyond)} of the processor; import torch {_told(rounds)}"
    return [
        below(case, beyond, most=_MOST_SECONDS, shown="100 ms", measured=measured),
        told("of it, what torch imports for its first optimizer", in_words(dynamo)),
    ]


def _told(rounds: Sequence[Sequence[float]]) -> str:
    return in_words(_median(row[0] for row in rounds))


def _median(values: Iterable[float]) -> float:
    return statistics.median(values)


def _seconds(text: str) -> float:
    """Return the processor's seconds of a process that runs a text.

    Raises:
        RuntimeError: It did not come to its end.
    """
    environment = {**machine.unpinned(), "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    process = subprocess.Popen(  # noqa: S603  # our own words
        [sys.executable, "-c", text], env=environment, stdout=subprocess.DEVNULL
    )
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        raise RuntimeError(f"the process ended with {process.returncode}")
    return used.ru_utime + used.ru_stime
