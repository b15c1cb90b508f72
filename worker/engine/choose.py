"""The engine of a whole job, from those that its runs were given."""

from collections.abc import Sequence

import torch

from app.domain.engines import MIXED, choose_job_engine
from app.domain.result import EngineUsed, Verified
from app.domain.spec import ComparisonSpec, FitSpec


def combine(
    spec: FitSpec | ComparisonSpec, used: Sequence[EngineUsed], *, queue: str
) -> EngineUsed:
    """Return what is said of a job's engine.

    Args:
        spec: What to run.
        used: The engine of every run.
        queue: "cpu" or "cuda".
    """
    if len(used) == 1:
        return used[0]
    planned = choose_job_engine(spec, queue=queue)
    names = {each.name for each in used}
    name = used[0].name if len(names) == 1 else MIXED
    # A run that was refused its engine has a reason of its own.
    others = dict.fromkeys(each.reason for each in used if each.verified is None)
    reason = planned.reason if name == planned.name else "; ".join(others) or planned.reason
    return EngineUsed(
        name=name,
        reason=reason,
        version=torch.__version__,
        verified=_weakest([each.verified for each in used if each.verified is not None]),
    )


def _weakest(verified: Sequence[Verified]) -> Verified | None:
    """Return the one that lay furthest from the plain loop."""
    return max(verified, key=lambda each: each.max_relative_difference, default=None)
