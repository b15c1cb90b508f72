"""A run's last row -> what its job answers of it; the same for every engine."""

from typing import Any, Final

from app.domain.result import RunResult, StopReason, format_equation
from app.domain.spec import FitSpec
from worker.engine.problem import Task
from worker.engine.watch import Row, Watch, to_finite, to_point

_ARRIVED: Final = frozenset({StopReason.LOSS_BELOW, StopReason.GRADIENT_BELOW})


def report(
    spec: FitSpec,
    task: Task,
    *,
    index: int,
    label: str,
    lr: float,
    row: Row,
    watch: Watch,
    gradient_norm: float,
    evaluations: int,
    seconds: float,
    stop_reason: StopReason,
) -> RunResult:
    """Describe a run as it stands.

    Args:
        spec: What was run.
        task: Its data and exact answer.
        index: Position in the job, from 0.
        label: Name in rankings and legends.
        lr: The learning rate, resolved.
        row: The last row, or row 0 before any step.
        watch: What was seen on the way.
        gradient_norm: Euclidean norm of the full gradient at the row; may be inf or NaN.
        evaluations: Loss and gradient evaluations made.
        seconds: Time in the loop.
        stop_reason: Why no further step is made.
    """
    is_line, with_excess = _is_line(row, stop_reason), spec.loss == "mse"
    return RunResult(
        run=index,
        label=label,
        optimizer=spec.optimizer.name,
        lr=lr,
        **_line_of(row, task, is_line=is_line),
        loss=to_finite(row.loss),
        excess_loss=to_finite(row.excess_loss) if with_excess else None,
        stop_reason=stop_reason,
        converged=is_line and (stop_reason in _ARRIVED or watch.is_within_tolerance(row)),
        steps=row.step,
        evaluations=evaluations,
        steps_to_tolerance=watch.steps_to_tolerance,
        evaluations_to_tolerance=watch.evaluations_to_tolerance,
        best=to_point(watch.best, with_excess=with_excess),
        gradient_norm=to_finite(gradient_norm),
        run_seconds=seconds,
    )


def _line_of(row: Row, task: Task, *, is_line: bool) -> dict[str, Any]:
    if not is_line:
        return dict.fromkeys(("a", "b", "equation", "r2"))
    r2 = task.bowl.r2(row.a, row.b)
    return {"a": row.a, "b": row.b, "equation": format_equation(row.a, row.b), "r2": r2}


def _is_line(row: Row, stop_reason: StopReason) -> bool:
    return row.is_finite and stop_reason is not StopReason.DIVERGED
