"""The engine that the runner drives: a spec in, an exact answer and runs out."""

import time
from collections.abc import Callable
from dataclasses import dataclass

import torch

from app.domain.catalogue import OPTIMIZERS
from app.domain.data import Columns
from app.domain.result import EngineUsed, Exact, Problem, StopReason
from app.domain.spec import ComparisonSpec, FitSpec, run_specs
from worker.contract import Run
from worker.engine.autograd import AutogradRun
from worker.engine.choose import choose
from worker.engine.faults import find_device, translated
from worker.engine.problem import load


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """A job's data on its device, the exact answer, and its runs.

    Attributes:
        exact: The least-squares answer.
        problem: The bowl that the optimizers run in.
        engine: Which engine, and why.
        device: Where, as torch names it, e.g. "cuda:0".
        runs: One a optimizer, in the order of the spec.
    """

    exact: Exact
    problem: Problem
    engine: EngineUsed
    device: str
    runs: tuple[Run, ...]


class TorchEngine:
    """Satisfies worker.contract.Engine by the plain torch loop.

    Args:
        clock: Seconds that only rise; sizes the blocks.
    """

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock

    def prepare(
        self, spec: FitSpec | ComparisonSpec, *, columns: Columns | None, device: str
    ) -> Prepared:
        """Load or draw the data and solve it exactly.

        Args:
            spec: What to run.
            columns: The points when the spec only names them, else None.
            device: "cpu", "cuda" or "cuda:N".

        Raises:
            EngineFault: The device or the memory does not suffice, or torch refuses the settings.
        """
        found = find_device(device)
        with translated(found):
            task = load(spec, columns=columns, device=found)
            runs = tuple(
                AutogradRun(fit, task=task, index=index, label=label, clock=self._clock)
                for index, (label, fit) in enumerate(run_specs(spec))
            )
        return Prepared(
            exact=task.bowl.exact,
            problem=task.bowl.problem,
            engine=choose(spec),
            device=str(found),
            runs=runs,
        )


def warm(*, with_steps: bool = torch.version.cuda is None) -> float:
    """Load what every optimizer needs, so that the first job pays no import; return seconds.

    Building a first optimizer imports torch._dynamo (1 s), though nothing here is compiled.

    Args:
        with_steps: Take two steps with each as well. Not before a fork where torch knows CUDA: the
            first backward pass starts a thread for each GPU, and torch then refuses every backward
            pass in a forked child (https://github.com/pytorch/pytorch/wiki/Autograd-and-Fork); an
            optimizer's step also asks for GPUs, which a child could then no longer open.
    """
    started = time.monotonic()
    for name in OPTIMIZERS:
        spec = FitSpec.model_validate(
            {"data": [[0.0, 1.0], [1.0, 3.0]], "optimizer": name, "steps": 2}
        )
        run = TorchEngine().prepare(spec, columns=None, device="cpu").runs[0]
        if with_steps:
            for _ in run.blocks():
                pass
            run.result(StopReason.MAX_STEPS)
    return time.monotonic() - started
