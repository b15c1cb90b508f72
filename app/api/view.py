"""The one job object that every answer shows; a pure function of what the store told."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from app.api.columns import best_point, shorten, to_columns
from app.api.place import Place
from app.api.problem_texts import TEXTS
from app.api.times import to_iso
from app.charts.text import spark
from app.domain.diagnosis.diagnose import diagnose
from app.domain.events import Event
from app.domain.history import EMBEDDED_ROWS, Rows
from app.domain.job import JobError, JobRecord, Status
from app.domain.kinds import FewRuns, ManyRuns
from app.domain.message import message
from app.domain.outcome import Outcome
from app.domain.result import RunResult
from app.domain.spec import ComparisonSpec, FitSpec, run_specs

JOBS_PATH: Final = "/v1/jobs"
JOB_PATH: Final = "/v1/jobs/{id}"
"""Prefix of the routes of one job."""

FULL_ROWS: Final = 100_000
"""Rows that one job object may carry, all runs together; the history resource pages beyond."""
_COMPARISON_ROWS: Final = 4 * EMBEDDED_ROWS
"""Rows embedded in a comparison unless the client says otherwise, all runs together."""
_FEWEST_EMBEDDED: Final = 12
_SPARK_ROWS: Final = 24

Shown = dict[str, object]


@dataclass(frozen=True, slots=True, kw_only=True)
class Histories:
    """What a job object repeats of its runs' histories.

    Attributes:
        rows: One entry a run, complete; a run that has not begun has no rows.
        points: Largest number of rows to show of each; None is the default of the kind.
    """

    rows: Sequence[Rows]
    points: int | None = None

    def points_each(self, *, is_comparison: bool) -> int:
        """Return how many rows of each run are shown."""
        ceiling = FULL_ROWS // max(1, len(self.rows))
        if self.points is not None:
            return min(self.points, ceiling)
        if not is_comparison:
            return EMBEDDED_ROWS
        share = _COMPARISON_ROWS // max(1, len(self.rows))
        return min(EMBEDDED_ROWS, max(_FEWEST_EMBEDDED, share))


def job_object(
    record: JobRecord, *, histories: Histories | None = None, place: Place | None = None
) -> Shown:
    """Return the job as the contract shows it.

    Args:
        record: What the store holds.
        histories: None leaves histories and sparks null, as in lists.
        place: Where it waits; only for a queued job.
    """
    shown: Shown = {
        "id": record.id,
        "object": "job",
        "kind": record.spec.kind,
        "status": record.status.value,
        "done": record.status.is_terminal,
        "message": message(record),
        **_times(record),
        "attempt": record.attempt,
        "name": record.name,
        "tags": record.tags,
        "rerun_of": record.rerun_of,
        "extends": record.extends,
        "spec": record.spec.model_dump(mode="json"),
        "defaulted": list(record.defaulted),
        "warnings": [warning.model_dump() for warning in record.warnings],
        "device": record.device.model_dump(),
        "engine": record.engine.model_dump() if record.engine else None,
        "timing": _timing(record),
        "progress": _progress(record),
        "result": _result(record, histories),
        "diagnosis": [
            reason.model_dump(by_alias=True) for reason in diagnose(record.spec, record.outcome)
        ],
        "error": _error(record.error),
        "links": make_links(record),
    }
    if place is not None:
        shown["queue"] = place.to_object()
    return shown


def run_objects(record: JobRecord, spec: FewRuns) -> list[Shown]:
    """Return the runs of a job without their histories, in the order of running."""
    known = dict(enumerate(record.outcome.runs)) if record.outcome else {}
    return [
        {**_run_fields(known.get(run), run=run, label=label, spec=fit), **_run_links(record, run)}
        for run, (label, fit) in enumerate(run_specs(spec))
    ]


def event_object(event: Event) -> Shown:
    """Return one entry of the log as the contract shows it."""
    return {
        "seq": event.seq,
        "type": event.type.value,
        "at": to_iso(event.at_ms),
        "data": event.data,
    }


def make_links(record: JobRecord) -> dict[str, str]:
    """Return where everything about the job can be read or changed."""
    own = f"{JOBS_PATH}/{record.id}"
    has_histories = isinstance(record.spec, FewRuns)
    links = {"self": own}
    if has_histories:
        links["history"] = f"{own}/history"
    if not isinstance(record.spec, FitSpec):
        links["runs"] = f"{own}/runs"
    names = {name: name for name in ("events", "stream", "data")}
    if has_histories:
        names |= {"chart": "chart.svg", "chart_text": "chart.txt"}
    links |= {name: f"{own}/{path}" for name, path in names.items()}
    if not record.status.is_terminal:
        links["cancel"] = f"{own}/cancel"
    elif isinstance(record.spec, FitSpec):
        links["extend"] = f"{own}/extend"
    links["rerun"] = f"{own}/rerun"
    # Each of very many runs has links of its own.
    return {**links, "reproduce": f"{own}/reproduce.py"} if has_histories else links


def _times(record: JobRecord) -> Shown:
    return {
        "created_at": to_iso(record.created_at_ms),
        "started_at": to_iso(record.started_at_ms),
        "finished_at": to_iso(record.finished_at_ms),
        "expires_at": to_iso(record.expires_at_ms),
        "cancel_requested_at": to_iso(record.cancel_requested_at_ms),
    }


def _timing(record: JobRecord) -> Shown:
    """Return durations that no longer change; null while they still run.

    A job that never started spent all its time in the queue.
    """
    started, finished = record.started_at_ms, record.finished_at_ms
    return {
        "queue_seconds": _seconds(record.queued_at_ms, finished if started is None else started),
        "run_seconds": _seconds(started, finished),
        "total_seconds": _seconds(record.created_at_ms, finished),
    }


def _seconds(start_ms: int | None, end_ms: int | None) -> float | None:
    return None if start_ms is None or end_ms is None else max(0, end_ms - start_ms) / 1000


def _progress(record: JobRecord) -> Shown | None:
    if record.progress is None:
        return None
    shown: Shown = record.progress.model_dump()
    # A run that met its stop rule made all the steps that it needed.
    return {**shown, "fraction": 1.0} if record.status is Status.SUCCEEDED else shown


def _error(error: JobError | None) -> Shown | None:
    if error is None:
        return None
    return {
        "type": f"/problems/{error.type.value}",
        "title": TEXTS[error.type.value].title,
        "detail": error.detail,
        "retryable": error.retryable,
        "step": error.step,
        "suggestion": error.suggestion,
    }


def _result(record: JobRecord, histories: Histories | None) -> Shown | None:
    """Return what is known of the answer; null before anything is."""
    outcome = record.outcome
    has_rows = histories is not None and any(len(rows) for rows in histories.rows)
    if outcome is None and not has_rows:
        return None
    yardstick: Shown = {
        "exact": outcome.exact.model_dump() if outcome and outcome.exact else None,
        "problem": outcome.problem.model_dump(mode="json") if outcome and outcome.problem else None,
        "start": outcome.start.model_dump() if outcome and outcome.start else None,
    }
    if isinstance(record.spec, ManyRuns):
        return _findings(outcome, yardstick)
    runs = _runs(record, record.spec, histories)
    if isinstance(record.spec, ComparisonSpec):
        return {"runs": runs, **_verdict(outcome), **yardstick}
    answer = runs[0]
    if record.status is Status.FAILED:
        answer |= {"a": None, "b": None, "equation": None}
    curve = {name: answer.pop(name) for name in ("history", "spark")}
    return {**answer, **yardstick, **curve}


def _verdict(outcome: Outcome | None) -> Shown:
    if outcome is None or outcome.ranking is None:
        return {"ranking": None, "winner": None}
    return {
        "ranking": [outcome.runs[position].label for position in outcome.ranking],
        "winner": outcome.winner.model_dump() if outcome.winner else None,
    }


def _findings(outcome: Outcome | None, yardstick: Shown) -> Shown | None:
    """Return what a sweep or a batch comes to; its runs have a resource of their own."""
    if outcome is not None and outcome.sweep is not None:
        return {"sweep": outcome.sweep.model_dump(mode="json"), **yardstick}
    if outcome is not None and outcome.batch is not None:
        return {"batch": outcome.batch.model_dump(mode="json")}
    return None


def _runs(record: JobRecord, spec: FewRuns, histories: Histories | None) -> list[Shown]:
    """Return every run that has a result or rows, each with what is shown of its history."""
    is_comparison, outcome = isinstance(spec, ComparisonSpec), record.outcome
    known = dict(enumerate(outcome.runs)) if outcome else {}
    runs: list[Shown] = []
    for run, (label, fit) in enumerate(run_specs(spec)):
        rows = histories.rows[run] if histories and run < len(histories.rows) else None
        if run not in known and not (rows and len(rows)) and is_comparison:
            continue
        fields = _run_fields(known.get(run), run=run, label=label, spec=fit, rows=rows)
        points = histories.points_each(is_comparison=is_comparison) if histories else 0
        full = history_link(record.id, run=run if is_comparison else None)
        curve: Shown = {"history": None, "spark": None}
        if rows is not None:
            curve = embed(rows, points=points, full=full)
        if is_comparison:
            fields |= _run_links(record, run)
        runs.append({**fields, **curve})
    return runs


def _run_fields(
    result: RunResult | None, *, run: int, label: str, spec: FitSpec, rows: Rows | None = None
) -> Shown:
    """Return the fields of a result; of a run that goes on, only what is already certain."""
    if result is not None:
        return result.model_dump(mode="json")
    best = best_point(rows) if rows is not None else None
    certain: Shown = {
        "run": run,
        "label": label,
        "optimizer": spec.optimizer.name,
        "lr": spec.optimizer.lr,
        "best": best.model_dump() if best else None,
    }
    return {name: certain.get(name) for name in RunResult.model_fields}


def _run_links(record: JobRecord, run: int) -> Shown:
    own = f"{JOBS_PATH}/{record.id}"
    return {
        "links": {
            "history": history_link(record.id, run=run),
            "reproduce": f"{own}/reproduce.py?run={run}",
        }
    }


def history_link(job_id: str, *, run: int | None) -> str:
    """Return where the full history of a run is."""
    return f"{JOBS_PATH}/{job_id}/history" + ("" if run is None else f"?run={run}")


def embed(rows: Rows, *, points: int, full: str) -> Shown:
    """Return `history`, at most `points` rows as columns, and `spark`, the curve in a few glyphs.

    Args:
        rows: All of them.
        points: At least 1.
        full: Where the rest can be read.
    """
    kept = shorten(rows, points)
    few = shorten(kept, _SPARK_ROWS)
    return {
        "history": {"points": len(kept), "of": len(rows), "full": full, **to_columns(kept)},
        "spark": spark(few.loss if few.excess_loss is None else few.excess_loss),
    }
