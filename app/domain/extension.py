"""From a fit that has ended and some more steps to the spec of one longer fit.

The longer fit, run from its start, makes the same rows: so an extension is as reproducible as any
other job, whether it finds the checkpoint that it goes on from or not. Stop rules of its own are
the exception, and a warning tells it: from the start they may end the fit before its old end.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final, cast

from app.domain.data import StoredColumns
from app.domain.errors import Flaw, InvalidSpec, JobNotFinished
from app.domain.flaws import nearest
from app.domain.history import stride_for
from app.domain.job import JobRecord, Warn
from app.domain.parse import ParsedSpec, parse_spec
from app.domain.result import StopReason
from app.domain.spec import MAX_HISTORY_ROWS, MAX_STEPS, FitSpec

FIELDS: Final = ("steps", "stop", "timeout_seconds", "name", "tags")
"""What the body of an extension may say; everything else is the fit's own."""

_RULES: Final = frozenset({StopReason.LOSS_BELOW, StopReason.GRADIENT_BELOW, StopReason.PATIENCE})


def extend_spec(record: JobRecord, changes: object) -> ParsedSpec:
    """Return the longer fit; stored points are named as the old job's.

    Args:
        record: The fit to go on with.
        changes: The body: `steps` more to make (as many as were asked for at first when it does
            not say), and any other of FIELDS.

    Raises:
        JobNotFinished: The fit still runs or waits.
        InvalidSpec: It is no fit, it ended without a line, or the body cannot be used.
    """
    spec = record.spec
    if not record.status.is_terminal:
        raise JobNotFinished(f"The job {record.id} has not ended: cancel it, or wait for its end")
    if not isinstance(spec, FitSpec):
        raise _refused("", f"Only a fit can be extended; rerun the {spec.kind} with more steps")
    given = _checked(changes)
    made = _steps_made(record)
    body = spec.model_dump(mode="json")
    if isinstance(spec.data, StoredColumns):
        body["data"] = {"job": record.id}
    body |= given
    more = given.get("steps", spec.steps)
    if isinstance(more, int) and not isinstance(more, bool) and more >= 1:
        body["steps"] = _total(made, more)
        body["record_every"] = _spacing(spec, steps=body["steps"])
    stop = given.get("stop", {})
    if not isinstance(stop, Mapping):
        return parse_spec(body, kind="fit")  # which refuses it
    reason = _stopped_by(record)
    own = spec.stop.model_dump(mode="json")
    kept = dict.fromkeys(own) if reason in _RULES else own
    body["stop"] = {**kept, **cast("Mapping[str, Any]", stop)}
    parsed = parse_spec(body, kind="fit")
    warnings = list(parsed.warnings)
    if any(own[name] != kept[name] and name not in stop for name in own):
        warnings.append(_lifted(record, reason, steps=more))
    if "stop" in given and made and any(parsed.spec.stop.model_dump().values()):
        warnings.append(_renewed(made))
    return replace(parsed, warnings=tuple(warnings))


def _checked(changes: object) -> dict[str, Any]:
    if not isinstance(changes, Mapping):
        raise _refused("", 'Give an object, e.g. {"steps": 1000}', code="wrong-type")
    given = dict(cast("Mapping[str, Any]", changes))
    for name in given:
        if name not in FIELDS:
            detail = f"An extension takes {', '.join(FIELDS)}; a rerun takes any field of the spec"
            guess = nearest(name, FIELDS)
            flaw = Flaw(
                pointer=f"/{name[:60]}", code="unknown-field", detail=detail, did_you_mean=guess
            )
            raise InvalidSpec((flaw,))
    return given


def _steps_made(record: JobRecord) -> int:
    """Return where the fit ended.

    Raises:
        InvalidSpec: Not at a line, or not in a place to go on from.
    """
    spec = record.spec
    if spec.scheduler is not None and spec.scheduler.hyperparameters.get("total_steps", 0) is None:
        detail = f"{spec.scheduler.name} spans the whole fit: rerun it with more steps"
        raise _refused("", detail)
    runs = record.outcome.runs if record.outcome else ()
    if runs and runs[0].a is None:
        detail = f"The fit diverged at step {runs[0].steps}: rerun it, e.g. with a smaller lr"
        raise _refused("", detail)
    if runs:
        return runs[0].steps
    return record.progress.step if record.progress else 0


def _total(made: int, more: int) -> int:
    if made + more > MAX_STEPS:
        detail = (
            f"The fit has made {made} steps and a fit may make {MAX_STEPS}: "
            f"at most {MAX_STEPS - made} more"
        )
        raise _refused("/steps", detail, code="out-of-range")
    return made + more


def _spacing(spec: FitSpec, *, steps: int) -> int | str:
    """Return a record_every that goes on with the rows of the old history.

    Raises:
        InvalidSpec: They would be too many.
    """
    stride = stride_for(spec.record_every, steps=spec.steps)
    if stride_for(spec.record_every, steps=steps) == stride:
        return spec.record_every
    if steps // stride > MAX_HISTORY_ROWS:
        detail = (
            f"The history goes on with a row every {stride} steps and may have "
            f"{MAX_HISTORY_ROWS} rows: rerun with {steps} steps for wider rows"
        )
        raise _refused("/steps", detail, code="too-many-rows")
    return stride


def _stopped_by(record: JobRecord) -> StopReason | None:
    runs = record.outcome.runs if record.outcome else ()
    return runs[0].stop_reason if runs else None


def _lifted(record: JobRecord, reason: StopReason | None, *, steps: object) -> Warn:
    return Warn(
        code="stop-rules-off",
        message=f"{record.id} had stopped by {reason}: its stop rules are off, so that the "
        f'{steps} steps are made; only those that "stop" names are on',
    )


def _renewed(made: int) -> Warn:
    return Warn(
        code="stop-rules-new",
        message=f'The rules of "stop" count from step {made}; '
        "the same spec from the start may stop earlier",
    )


def _refused(pointer: str, detail: str, *, code: str = "cannot-extend") -> InvalidSpec:
    return InvalidSpec((Flaw(pointer=pointer, code=code, detail=detail),))
