"""Who won a comparison, and the sentence that says why."""

import math
from collections.abc import Sequence
from typing import Final

from app.domain.result import RunResult, StopReason, Winner
from app.domain.spec import RankBy

STEPS: Final[RankBy] = "steps_to_tolerance"
_LOST: Final = frozenset({StopReason.DIVERGED, StopReason.FAILED})


def rank(runs: Sequence[RunResult], *, by: RankBy = STEPS) -> tuple[int, ...]:
    """Return positions in `runs`, best first.

    Runs that are within tolerance when they end come first, the one that needed least ahead; then
    the others by the loss that they ended at; diverged and failed ones last. A run that only passes
    through the tolerance, as an oscillation does, has not reached it. By "final_loss", only the
    loss at the end counts.

    Args:
        runs: In the order of running.
        by: What the first of them needed least of.
    """
    keys = [_sort_key(run, by=by) for run in runs]
    return tuple(sorted(range(len(runs)), key=keys.__getitem__))


def _sort_key(run: RunResult, *, by: RankBy) -> tuple[bool, bool, float, float]:
    need = None if by == "final_loss" else need_of(run, by=by)
    return (
        run.stop_reason in _LOST,
        by != "final_loss" and need is None,
        need or 0.0,
        final_height(run),
    )


def need_of(run: RunResult, *, by: RankBy) -> float | None:
    """Return what a run needed to come within tolerance and stay; None when it did not.

    Seconds are those of the whole run, as far as its steps went to tolerance.
    """
    steps = run.steps_to_tolerance
    if steps is None or not run.converged:
        return None
    if by == "evaluations":
        return run.evaluations_to_tolerance if run.evaluations_to_tolerance is not None else steps
    if by == "seconds":
        return run.run_seconds * (steps / run.steps if run.steps else 1.0)
    return steps


def final_height(run: RunResult) -> float:
    """Return how far above the exact answer a run ended: excess loss, else loss, else infinity."""
    height = run.excess_loss if run.excess_loss is not None else run.loss
    return math.inf if height is None else height


def crown(runs: Sequence[RunResult], *, tolerance: float, by: RankBy = STEPS) -> Winner | None:
    """Return the best run and why it is the best; None when none ended with a finite line.

    Args:
        runs: At least one.
        tolerance: The fraction of the first excess loss that counts as converged.
        by: As for rank.
    """
    order = [position for position in rank(runs, by=by) if runs[position].a is not None]
    if not order:
        return None
    best = runs[order[0]]
    second = runs[order[1]] if len(order) > 1 else None
    why = _explain(best, second=second, tolerance=tolerance, by=by)
    return Winner(run=order[0], label=best.label, why=why)


def _explain(best: RunResult, *, second: RunResult | None, tolerance: float, by: RankBy) -> str:
    need = None if by == "final_loss" else need_of(best, by=by)
    if need is None:
        rival = f", {second.label} at {final_height(second):.3g}" if second else ""
        # Without an excess loss a run converges by its stop rule alone.
        doubt = "" if best.converged else "; none converged"
        doubt = doubt if by != "final_loss" else ""
        return f"{best.label} ended lowest, at {final_height(best):.3g}{rival}{doubt}."
    goal = f"within {tolerance:g} of its first excess loss after {_amount(need, by=by)}"
    if second is None:
        return f"{best.label} came {goal}."
    other = need_of(second, by=by)
    if other is not None:
        return f"{best.label} came {goal}; {second.label} took {_number(other, by=by)}."
    return f"{best.label} came {goal}; {second.label} did not."


def _amount(need: float, *, by: RankBy) -> str:
    noun = {"evaluations": "evaluations", "seconds": "seconds"}.get(by, "steps")
    return f"{_number(need, by=by)} {noun}"


def _number(need: float, *, by: RankBy) -> str:
    return f"{need:.3g}" if by == "seconds" else f"{need:.0f}"
