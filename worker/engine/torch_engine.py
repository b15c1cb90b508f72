"""The engines as the runner drives them: a spec in, an exact answer and runs out."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch

from app.domain.batch import BatchSpec
from app.domain.catalogue import OPTIMIZERS
from app.domain.data import Columns
from app.domain.kinds import ManyRuns
from app.domain.result import EngineUsed, Exact, Problem, StopReason
from app.domain.series import SeriesColumns
from app.domain.spec import ComparisonSpec, FitSpec, Start, run_specs
from app.domain.sweep import fit_of
from worker.contract import PreparedMany
from worker.engine.batch import PreparedBatch
from worker.engine.choose import combine
from worker.engine.contained import ContainedRun
from worker.engine.faults import find_device, translated
from worker.engine.rules.kernels import Kernels
from worker.engine.sweep import PreparedSweep
from worker.engine.task_cache import TaskCache
from worker.engine.tiers import TieredRun


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """A job's data on its device, the exact answer, and its runs.

    Attributes:
        spec: What to run.
        exact: The least-squares answer.
        problem: The bowl that the optimizers run in.
        start: Where every run begins.
        device: Where, as torch names it, e.g. "cuda:0".
        runs: One an optimizer, in the order of the spec.
    """

    spec: FitSpec | ComparisonSpec
    exact: Exact
    problem: Problem
    start: Start
    device: str
    runs: tuple[TieredRun | ContainedRun, ...]

    @property
    def engine(self) -> EngineUsed:
        """Which engine computes, and why; after a resume, the one that goes on.

        Raises:
            EngineFault: The memory does not suffice, or torch refuses the settings.
        """
        queue = self.device.partition(":")[0]
        return combine(self.spec, [run.used for run in self.runs], queue=queue)


class TorchEngine:
    """Satisfies worker.contract.Engine by the fastest engine that each run can have.

    Args:
        kernels: Compiled rules; without them plain Python runs the rules.
        clock: Seconds that only rise; sizes the blocks.
    """

    def __init__(
        self, *, kernels: Kernels | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._kernels = kernels
        self._clock = clock
        self._tasks = TaskCache()

    def prepare(
        self, spec: FitSpec | ComparisonSpec, *, columns: Columns | None, device: str
    ) -> Prepared:
        """Load or draw the data and solve it exactly, or find it done; a run is tried when it begins.

        Args:
            spec: What to run.
            columns: The points when the spec only names them, else None.
            device: "cpu", "cuda" or "cuda:N".

        Raises:
            EngineFault: The device or the memory does not suffice.
        """
        found = find_device(device)
        with translated(found):
            task = self._tasks.load(spec, columns=columns, device=found)
            makers = [
                partial(
                    TieredRun,
                    fit,
                    task=task,
                    index=index,
                    label=label,
                    queue=found.type,
                    kernels=self._kernels,
                    clock=self._clock,
                )
                for index, (label, fit) in enumerate(run_specs(spec))
            ]
            runs = tuple(
                ContainedRun(fit, index=index, label=label, device=found, make=make)
                if isinstance(spec, ComparisonSpec)
                else make()
                for index, ((label, fit), make) in enumerate(
                    zip(run_specs(spec), makers, strict=True)
                )
            )
        return Prepared(
            spec=spec,
            exact=task.bowl.exact,
            problem=task.bowl.problem,
            start=task.start,
            device=str(found),
            runs=runs,
        )

    def warm(self) -> None:
        """Run the classic job, so that this process's first job pays for nothing but itself.

        After a fork the memory that a job writes to is copied, page by page, when it is first
        written to; that doubles the time of a small job.
        """
        prepared = self.prepare(FitSpec(), columns=None, device="cpu")
        for run in prepared.runs:
            for _ in run.blocks():
                pass
            run.result(StopReason.MAX_STEPS)
            run.snapshot()

    def prepare_many(
        self, spec: ManyRuns, *, columns: Columns | SeriesColumns | None, device: str
    ) -> PreparedMany:
        """Load or draw the data of a job of many runs; keep the answer for its other shards.

        Args:
            spec: What to run.
            columns: The points when the spec only names them, else None.
            device: "cpu", "cuda" or "cuda:N".

        Raises:
            EngineFault: The device or the memory does not suffice, or torch refuses the settings.
        """
        found = find_device(device)
        with translated(found):
            if isinstance(spec, BatchSpec):
                return PreparedBatch(
                    spec,
                    columns=columns if isinstance(columns, SeriesColumns) else None,
                    device=found,
                    kernels=self._kernels,
                    clock=self._clock,
                )
            points = columns if isinstance(columns, Columns) else None
            return PreparedSweep(
                spec,
                task=self._tasks.load(fit_of(spec, 0), columns=points, device=found),
                columns=points,
                device=found,
                kernels=self._kernels,
                clock=self._clock,
            )


def warm(kernels: Kernels | None = None, *, with_steps: bool = torch.version.cuda is None) -> float:
    """Load what every optimizer needs, so that the first job pays no import; return seconds.

    Building a first optimizer imports torch._dynamo (1 s), though nothing here is compiled.

    Args:
        kernels: Compiled rules, loaded as far as they are built.
        with_steps: Take two steps with each as well. Not before a fork where torch knows CUDA: the
            first backward pass starts a thread for each GPU, and torch then refuses every backward
            pass in a forked child (https://github.com/pytorch/pytorch/wiki/Autograd-and-Fork); an
            optimizer's step also asks for GPUs, which a child could then no longer open.
    """
    started = time.monotonic()
    for name in OPTIMIZERS:
        spec = FitSpec.model_validate(
            {
                "data": [[0.0, 1.0], [1.0, 3.0]],
                "optimizer": name,
                "steps": 2,
                # Whoever chooses tries the plain loop as well.
                "engine": "auto" if with_steps else "torch",
            }
        )
        run = TorchEngine(kernels=kernels).prepare(spec, columns=None, device="cpu").runs[0]
        # Has the optimizer built, and judged where another engine than the loop is chosen.
        _ = run.used
        if with_steps:
            for _ in run.blocks():
                pass
            run.result(StopReason.MAX_STEPS)
    return time.monotonic() - started
