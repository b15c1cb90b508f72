"""Which engine computes a spec, and the sentence that says why."""

import torch

from app.domain.result import EngineUsed
from app.domain.spec import ComparisonSpec, FitSpec


def choose(spec: FitSpec | ComparisonSpec) -> EngineUsed:
    """Return the engine that will run a spec."""
    reason = (
        "asked for by the spec"
        if spec.engine == "torch"
        else "the plain torch loop serves every optimizer, loss, batch size and scheduler"
    )
    return EngineUsed(name="torch", reason=reason, version=torch.__version__)
