"""The answer to a dry run: the resolved spec and what will come of it, from the same formulas.

A pure function of what the service found out; nothing is run, and nothing is kept.
"""

from typing import Final

from app.api.columns import to_columns
from app.domain.data import Columns
from app.domain.diagnosis.diagnose import diagnose
from app.domain.engines import choose_job_engine
from app.domain.forecast.cost import BASIS
from app.domain.forecast.forecast import Forecast, Foreseen, foretell, foretell_rows
from app.domain.history import EMBEDDED_ROWS
from app.domain.kinds import ManyRuns
from app.domain.outcome import Outcome
from app.domain.parse import count_points
from app.service import Preview

Shown = dict[str, object]

_MOST_ROWS: Final = 2_000
"""Rows of a history in closed form: each is computed on its own."""
_TOLD: Final = (
    *("a", "b", "loss", "excess_loss", "stop_reason", "converged", "steps"),
    *("steps_to_tolerance", "lr"),
)
"""Fields of a result that a forecast has too."""


def preview_object(preview: Preview, *, points: int | None) -> Shown:
    """Return what a submit would have made of the spec, and what would have come of it.

    Args:
        preview: The resolved spec and its place.
        points: Rows of each history in closed form; None for as many as a job object has.
    """
    parsed, device = preview.parsed, preview.device
    spec = parsed.spec
    forecast = _foretell(preview)
    return {
        "object": "dry_run",
        "kind": spec.kind,
        "spec": spec.model_dump(mode="json"),
        "defaulted": list(parsed.defaulted),
        "warnings": [warning.model_dump() for warning in parsed.warnings],
        "device": device.model_dump(),
        "engine": choose_job_engine(spec, queue=device.queue)._asdict(),
        "forecast": _forecast(forecast, points=EMBEDDED_ROWS if points is None else points),
        "diagnosis": [
            reason.model_dump(by_alias=True)
            for reason in diagnose(spec, forecast.outcome, is_foreseen=True)
        ],
    }


def _foretell(preview: Preview) -> Forecast:
    spec = preview.parsed.spec
    if isinstance(spec, ManyRuns):
        return Forecast(
            outcome=None,
            runs=(),
            left_out="single fits and comparisons are foreseen: give this one run as a fit",
        )
    columns = preview.columns if isinstance(preview.columns, Columns) else None
    return foretell(
        spec, columns=columns, points=count_points(spec) or 0, queue=preview.device.queue
    )


def _forecast(forecast: Forecast, *, points: int) -> Shown:
    outcome = forecast.outcome
    known = {name: getattr(outcome, name, None) for name in ("exact", "problem", "start")}
    rows = min(points, _MOST_ROWS) // max(1, len(forecast.runs))
    return {
        "runs": [_run(foreseen, outcome, points=rows) for foreseen in forecast.runs],
        **{name: part and part.model_dump(mode="json") for name, part in known.items()},
        "seconds": _seconds(forecast),
        "seconds_basis": BASIS,
        "left_out": forecast.left_out,
    }


def _seconds(forecast: Forecast) -> float | None:
    """Return the seconds of all runs with two digits; None when no run is foreseen."""
    if not forecast.runs:
        return None
    return float(f"{sum(foreseen.seconds for foreseen in forecast.runs):.2g}")


def _run(foreseen: Foreseen, outcome: Outcome | None, *, points: int) -> Shown:
    result = foreseen.result
    told = result.model_dump(mode="json", include=set(_TOLD)) if result else {}
    rows = foretell_rows(foreseen, outcome, points=points) if outcome else None
    return {
        "label": foreseen.label,
        **{name: told.get(name) for name in _TOLD},
        "seconds": foreseen.seconds,
        "how": foreseen.how,
        "left_out": foreseen.left_out,
        "history": to_columns(rows) if rows is not None else None,
    }
