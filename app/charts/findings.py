"""What a sweep or a batch found, as tables of text for `format=text`.

Pure functions of the summary: it knows no record of a run and no HTTP.
"""

import json
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from app.domain.job import JobRecord
from app.domain.optimizers import own_hyperparameters
from app.domain.outcome import Outcome
from app.domain.summary import BatchSummary, RunPoint, Spread, SweepSummary
from app.domain.sweep import SweepSpec

Table = list[tuple[str, ...]]

_DASH: Final = "-"


def findings_tables(outcome: Outcome) -> Iterator[Table]:
    """Yield the tables of a sweep or of a batch; none of other kinds."""
    if outcome.sweep is not None:
        yield _sweep_table(outcome.sweep)
        best = _best_points(outcome.sweep)
        if best:
            yield _best_table(best)
    if outcome.batch is not None:
        yield _batch_table(outcome.batch)


def findings_facts(outcome: Outcome) -> Iterator[tuple[str, str]]:
    """Yield name and text of facts that stand below the tables."""
    if outcome.sweep is not None:
        for optimizer in outcome.sweep.optimizers:
            if optimizer.edge is not None:
                where = (
                    f"{optimizer.label} is best at the {optimizer.edge} learning rate of the grid"
                )
                yield "edge", f"{where}: a better one may lie outside"
    if outcome.batch is not None and outcome.batch.farthest is not None:
        yield "farthest", f"series {outcome.batch.farthest} ended farthest above its exact line"


def findings_commands(record: JobRecord, *, job: str) -> Iterator[str]:
    """Yield commands to type next.

    Args:
        record: The job, ended.
        job: Address of its resource.
    """
    if record.outcome is None:
        return
    if record.outcome.sweep is not None:
        yield f"curl '{job}/runs?sort=rank&limit=10'"
        best = record.outcome.sweep.best
        if best is not None:
            yield f"curl '{job}/history?run={best.run}&format=csv'"
    if record.outcome.sweep is not None and isinstance(record.spec, SweepSpec):
        yield from _refine_commands(record.spec, record.outcome.sweep, job=job)
    if record.outcome.batch is not None:
        yield f"curl '{job}/runs?sort=-excess_loss&limit=10'"
        yield f"curl '{job}/runs?format=csv' -o lines.csv"


def _refine_commands(spec: SweepSpec, found: SweepSummary, *, job: str) -> Iterator[str]:
    """Yield the reruns that look closer at each optimizer, best first."""
    first = None if found.best is None else found.best.label
    pairs = zip(spec.optimizers, found.optimizers, strict=True)
    for contender, seen in sorted(pairs, key=lambda pair: pair[1].label != first):
        if seen.refine is None:
            continue
        # Labels are text of the client: nothing of it stands in a command for a shell.
        own = {k: v for k, v in own_hyperparameters(contender.optimizer).items() if k != "lr"}
        optimizer = {"name": contender.optimizer.name, **own} if own else contender.optimizer.name
        body = json.dumps({"optimizer": optimizer, "lr": seen.refine.model_dump()})
        yield f"curl -X POST '{job}/rerun?wait&format=text' -d '{body}'"


def _sweep_table(found: SweepSummary) -> Table:
    table: Table = [
        ("", "best lr", _height_name(found.best), "usable from", "to", "diverges at", "predicted")
    ]
    for optimizer in found.optimizers:
        best, usable = optimizer.best, optimizer.usable
        table.append(
            (
                optimizer.label,
                _small(None if best is None else best.lr),
                _small(None if best is None else _height(best)),
                _small(None if usable is None else usable.min),
                _small(None if usable is None else usable.max),
                _small(optimizer.diverges_from),
                _small(optimizer.predicted_divergence),
            )
        )
    return table


def _best_points(found: SweepSummary) -> list[RunPoint]:
    points = [optimizer.best for optimizer in found.optimizers if optimizer.best is not None]
    return sorted(points, key=lambda point: found.best is None or point.run != found.best.run)


def _best_table(points: Sequence[RunPoint]) -> Table:
    table: Table = [("best runs", "run", "a", "b", "steps", "to tolerance", "stopped by")]
    for point in points:
        reached = point.steps_to_tolerance
        table.append(
            (
                point.label,
                str(point.run),
                _number(point.a),
                _number(point.b),
                f"{point.steps:,}",
                _DASH if reached is None else f"{reached:,}",
                point.stop_reason,
            )
        )
    return table


def _batch_table(found: BatchSummary) -> Table:
    table: Table = [("", "min", "quarter", "median", "three quarters", "max")]
    rows: Iterable[tuple[str, Spread | None]] = (
        ("a", found.a),
        ("b", found.b),
        ("loss", found.loss),
        ("excess loss", found.excess_loss),
    )
    for name, spread in rows:
        if spread is None:
            continue
        values = (spread.min, spread.lower_quartile, spread.median, spread.upper_quartile)
        table.append((name, *(f"{value:.6g}" for value in (*values, spread.max))))
    return table


def _height_name(best: RunPoint | None) -> str:
    return "loss" if best is not None and best.excess_loss is None else "excess loss"


def _height(point: RunPoint) -> float | None:
    return point.loss if point.excess_loss is None else point.excess_loss


def _small(value: float | None) -> str:
    return _DASH if value is None else f"{value:.3g}"


def _number(value: float | None) -> str:
    return _DASH if value is None else f"{value:.6g}"
