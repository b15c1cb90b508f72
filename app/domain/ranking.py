"""Who won a comparison, and the sentence that says why."""

import math
from collections.abc import Sequence

from app.domain.result import RunResult, StopReason, Winner


def rank(runs: Sequence[RunResult]) -> tuple[int, ...]:
    """Return positions in `runs`, best first.

    Runs that are within tolerance when they end come first, the quickest of them ahead; then the
    others by the loss that they ended at; diverged ones last. A run that only passes through the
    tolerance, as an oscillation does, has not reached it.
    """
    return tuple(sorted(range(len(runs)), key=lambda position: _sort_key(runs[position])))


def _sort_key(run: RunResult) -> tuple[bool, bool, int, float]:
    arrived = run.converged and run.steps_to_tolerance is not None
    return (
        run.stop_reason is StopReason.DIVERGED,
        not arrived,
        (run.steps_to_tolerance or 0) if arrived else 0,
        final_height(run),
    )


def final_height(run: RunResult) -> float:
    """Return how far above the exact answer a run ended: excess loss, else loss, else infinity."""
    height = run.excess_loss if run.excess_loss is not None else run.loss
    return math.inf if height is None else height


def crown(runs: Sequence[RunResult], *, tolerance: float) -> Winner | None:
    """Return the best run and why it is the best; None when none ended with a finite line.

    Args:
        runs: At least one.
        tolerance: The fraction of the first excess loss that counts as converged.
    """
    order = [position for position in rank(runs) if runs[position].a is not None]
    if not order:
        return None
    best = runs[order[0]]
    second = runs[order[1]] if len(order) > 1 else None
    return Winner(
        run=order[0], label=best.label, why=_explain(best, second=second, tolerance=tolerance)
    )


def _explain(best: RunResult, *, second: RunResult | None, tolerance: float) -> str:
    arrived = best.converged and best.steps_to_tolerance is not None
    if not arrived:
        rival = f", {second.label} at {final_height(second):.3g}" if second else ""
        # Without an excess loss a run converges by its stop rule alone.
        doubt = "" if best.converged else "; none converged"
        return f"{best.label} ended lowest, at {final_height(best):.3g}{rival}{doubt}."
    goal = f"within {tolerance:g} of its first excess loss after {best.steps_to_tolerance} steps"
    if second is None:
        return f"{best.label} came {goal}."
    if second.converged and second.steps_to_tolerance is not None:
        return f"{best.label} came {goal}; {second.label} took {second.steps_to_tolerance}."
    return f"{best.label} came {goal}; {second.label} did not."
