"""A job on one screen of text: the `format=text` twin of the job object, in any status.

Pure function of the record and its curves; knows no HTTP, it only writes the commands to type next.
"""

import json
import shlex
from collections.abc import Iterable, Sequence
from typing import Final

from app.charts.caption import asked, count, describe_exact
from app.charts.findings import findings_commands, findings_facts, findings_tables
from app.charts.series import Curve
from app.charts.text import draw_curves
from app.domain.diagnosis.diagnose import diagnose
from app.domain.job import JobRecord, Progress, Status
from app.domain.kinds import ManyRuns
from app.domain.message import explain_stop, message
from app.domain.outcome import Outcome
from app.domain.ranking import need_of
from app.domain.result import EngineUsed, Exact, Problem, RunResult
from app.domain.spec import ComparisonSpec, RankBy

_NAME_WIDTH: Final = 9
_BAR_WIDTH: Final = 30
_CURVE_HEIGHT: Final = 10
_DASH: Final = "-"


def report(
    record: JobRecord,
    curves: Sequence[Curve],
    *,
    base_url: str = "http://127.0.0.1:8000",
    width: int = 80,
    color: bool = False,
) -> str:
    """Return the job as text for a terminal, ending with a newline.

    Args:
        record: The job, in any status.
        curves: Histories of its runs, see caption.curves_of; may be empty.
        base_url: Where the service is reached, without a final slash; begins the commands.
        width: Columns of the curve.
        color: Write ANSI colours.
    """
    sections = [
        [message(record), asked(record.spec)],
        _progress_section(record),
        _failure_section(record),
        *_result_sections(record),
        _facts_section(record),
        _why_section(record, base_url=base_url),
        _curve_section(curves, width=width, color=color),
        ["next", *(f"  {command}" for command in _commands(record, base_url=base_url))],
    ]
    return "\n\n".join("\n".join(lines) for lines in sections if lines) + "\n"


def _progress_section(record: JobRecord) -> list[str]:
    progress = record.progress
    if record.status is not Status.RUNNING or progress is None:
        return []
    filled = int(progress.fraction * _BAR_WIDTH)
    bar = "\u2588" * filled + "\u2591" * (_BAR_WIDTH - filled)
    return [f"{bar} {progress.fraction:4.0%}", *_where(progress)]


def _where(progress: Progress) -> list[str]:
    if progress.a is None or progress.b is None:
        return []
    return [f"now at a = {_parameter(progress.a)}, b = {_parameter(progress.b)}"]


def _failure_section(record: JobRecord) -> list[str]:
    error = record.error
    if error is None:
        return []
    again = (
        "the same spec may succeed another time" if error.retryable else "the same spec fails again"
    )
    lines = [_fact("error", f"{error.type}, {again}")]
    return [*lines, _fact("try", error.suggestion)] if error.suggestion else lines


def _result_sections(record: JobRecord) -> list[list[str]]:
    outcome = record.outcome
    if outcome is None:
        return []
    if isinstance(record.spec, ManyRuns):
        return [_align(table) for table in findings_tables(outcome)]
    if not outcome.runs:
        return []
    if isinstance(record.spec, ComparisonSpec):
        return [_ranking_table(outcome, by=record.spec.rank_by)]
    return [_fit_table(outcome.runs[0], outcome.exact, is_mse=record.spec.loss == "mse")]


def _fit_table(run: RunResult, exact: Exact | None, *, is_mse: bool) -> list[str]:
    """Set the fitted line beside the exact one, and the gap below both."""
    table = [("", "a", "b", "loss")]
    if run.a is not None and run.b is not None:
        table.append(("fitted", _parameter(run.a), _parameter(run.b), _small(run.loss)))
    elif run.best is not None:
        name = f"best, step {run.best.step:,}"
        table.append((name, _parameter(run.best.a), _parameter(run.best.b), _small(run.best.loss)))
    if exact is None:
        return _align(table)
    # Its loss is a mean square: beside a fit of another loss it would mislead.
    loss = _small(exact.loss) if is_mse else _DASH
    table.append(("exact", _parameter(exact.a), _parameter(exact.b), loss))
    if run.a is None or run.b is None:
        return _align(table)
    table.append(("gap", _gap(run.a - exact.a), _gap(run.b - exact.b), _small(run.excess_loss)))
    return _align(table)


def _ranking_table(outcome: Outcome, *, by: RankBy) -> list[str]:
    """List the runs, best first, and the exact line below."""
    order = range(len(outcome.runs)) if outcome.ranking is None else outcome.ranking
    is_by_steps = by in {"steps_to_tolerance", "final_loss"}
    goal = "to tolerance" if is_by_steps else f"{by} to tolerance"
    table = [("", "a", "b", "excess loss", "steps", goal, "stopped by")]
    for place, position in enumerate(order, start=1):
        run = outcome.runs[position]
        rank = _DASH if outcome.ranking is None else str(place)
        table.append(
            (
                f"{rank} {run.label}",
                _parameter(run.a),
                _parameter(run.b),
                _small(run.loss if run.excess_loss is None else run.excess_loss),
                f"{run.steps:,}",
                _need(run, by="steps_to_tolerance" if is_by_steps else by),
                run.stop_reason,
            )
        )
    if outcome.exact is not None:
        exact = outcome.exact
        table.append(("exact", _parameter(exact.a), _parameter(exact.b), "0", "", "", ""))
    return _align(table)


def _need(run: RunResult, *, by: RankBy) -> str:
    if by == "steps_to_tolerance":
        # Also of a run that only passed through.
        return _DASH if run.steps_to_tolerance is None else f"{run.steps_to_tolerance:,}"
    need = need_of(run, by=by)
    if need is None:
        return _DASH
    return f"{need:.3g}" if by == "seconds" else f"{need:,.0f}"


def _align(table: Sequence[Sequence[str]]) -> list[str]:
    """Return lines with the first column left-aligned, the last too when it is words."""
    widths = [max(len(row[i]) for row in table) for i in range(len(table[0]))]
    widths[0] = max(widths[0], _NAME_WIDTH)
    return [
        "  ".join(
            cell.ljust(width) if i == 0 else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in table
    ]


def _facts_section(record: JobRecord) -> list[str]:
    outcome = record.outcome
    lines = [_fact("job", f"{record.id} ({record.status})")]
    if outcome is not None:
        lines += [_fact(name, text) for name, text in findings_facts(outcome)]
    if outcome is not None and outcome.runs and not isinstance(record.spec, ComparisonSpec):
        run = outcome.runs[0]
        limit = f" of at most {record.spec.steps:,}" if run.steps < record.spec.steps else ""
        lines.append(_fact("steps", f"{run.steps:,}{limit}: {explain_stop(run.stop_reason)}"))
    if outcome is not None and outcome.problem is not None:
        first, *more = _describe_problem(outcome.problem)
        lines += [_fact("problem", first), *(_fact("", line) for line in more)]
    if outcome is not None and outcome.exact is not None and describe_exact(outcome.exact):
        lines.append(_fact("exact", describe_exact(outcome.exact)))
    lines += [_fact("time", text) for text in _describe_time(record)]
    lines += [_fact("device", _describe_device(record))]
    lines += [_fact("", text) for text in _describe_check(record.engine)]
    lines += [_fact("note", warning.message) for warning in record.warnings]
    return lines


def _why_section(record: JobRecord, *, base_url: str) -> list[str]:
    """Return each reason and, below it, the command that is worth a try."""
    lines: list[str] = []
    for reason in diagnose(record.spec, record.outcome):
        speaks_of = "" if reason.label is None else f"{reason.label}: "
        lines.append(_fact("why", f"{speaks_of}{reason.message}"))
        if reason.suggestion is not None:
            # Labels are anybody's text, and this is pasted into a shell.
            fields = shlex.quote(json.dumps(reason.suggestion))
            rerun = f"{base_url}/v1/jobs/{record.id}/rerun?wait&format=text"
            lines.append(_fact("try", f"curl -X POST '{rerun}' -d {fields}"))
    return lines


def _describe_problem(problem: Problem) -> Iterable[str]:
    condition = (
        "infinite" if problem.condition_number is None else f"{problem.condition_number:.3g}"
    )
    yield f"{count(problem.points, 'point')}, condition number {condition}"
    if problem.largest_stable_sgd_lr is not None and problem.best_sgd_lr is not None:
        yield (
            f"plain SGD is stable below lr {problem.largest_stable_sgd_lr:.3g}, "
            f"best at {problem.best_sgd_lr:.3g}"
        )


def _describe_time(record: JobRecord) -> Iterable[str]:
    if record.started_at_ms is None:
        return
    waited = f"queued {_seconds(record.started_at_ms - record.created_at_ms)}"
    if record.finished_at_ms is None:
        yield waited
    else:
        yield f"{waited}, ran {_seconds(record.finished_at_ms - record.started_at_ms)}"


def _seconds(milliseconds: int) -> str:
    return f"{milliseconds / 1000:.3g} s"


def _describe_device(record: JobRecord) -> str:
    device = record.device.used or f"{record.device.queue} (planned)"
    engine = record.engine
    if engine is None:
        return device
    # The version is torch's, whatever computed.
    between = " " if engine.name == "torch" else ", torch "
    return f"{device}, engine {engine.name}{between}{engine.version}"


def _describe_check(engine: EngineUsed | None) -> Iterable[str]:
    if engine is not None and engine.verified is not None:
        check = engine.verified
        yield (
            f"first {count(check.steps, 'step')} checked against {check.against}, "
            f"relative difference {check.max_relative_difference:.2g}"
        )


def _curve_section(curves: Sequence[Curve], *, width: int, color: bool) -> list[str]:
    if not any(len(curve.rows) for curve in curves):
        return []
    return draw_curves(curves, width=width, height=_CURVE_HEIGHT, color=color).splitlines()


def _commands(record: JobRecord, *, base_url: str) -> Iterable[str]:
    job = f"{base_url}/v1/jobs/{record.id}"
    if not record.status.is_terminal:
        yield f"curl '{job}?wait&format=text'"
        if record.cancel_requested_at_ms is None:
            yield f"curl -X POST {job}/cancel"
        return
    if isinstance(record.spec, ManyRuns):
        yield from findings_commands(record, job=job)
    elif record.progress is not None or record.outcome is not None:
        yield f"curl {job}/chart.svg -o loss.svg"
        yield f"curl '{job}/history?format=csv'"
    if record.status is Status.SUCCEEDED and not isinstance(record.spec, ManyRuns):
        yield f"curl {job}/reproduce.py"
    yield f"curl -X POST '{job}/rerun?wait&format=text' -d '{{\"seed\": {record.spec.seed + 1}}}'"


def _fact(name: str, text: str) -> str:
    return f"{name:<{_NAME_WIDTH}}  {text}"


def _parameter(value: float | None) -> str:
    """Return a slope or intercept with eight decimals, or in the short form when they would lie."""
    if value is None:
        return _DASH
    plain_from, plain_to = 1e-4, 1e7
    is_plain = value == 0 or plain_from <= abs(value) < plain_to
    return f"{value:.8f}" if is_plain else f"{value:.5e}"


def _gap(value: float) -> str:
    return "0" if value == 0 else f"{value:+.2e}"


def _small(value: float | None) -> str:
    return _DASH if value is None else f"{value:.3g}"
