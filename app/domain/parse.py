"""From the body that a client sent to a resolved spec, or to a list of what is wrong with it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from pydantic import ValidationError

from app.domain.data import Columns, Generated, Preset, StoredColumns
from app.domain.errors import Flaw, InvalidSpec
from app.domain.flaws import to_flaws
from app.domain.job import Warn
from app.domain.presets import COMPARISON_PRESETS, DATA_PRESET_POINTS
from app.domain.spec import ComparisonSpec, FitSpec

KINDS: Final[Mapping[str, type[FitSpec] | type[ComparisonSpec]]] = {
    "fit": FitSpec,
    "comparison": ComparisonSpec,
}
_PLANNED_KINDS: Final = ("sweep", "batch")
_LEARNING_RATE_NAMES: Final = ("lr", "learning_rate")


@dataclass(frozen=True, slots=True, kw_only=True)
class ParsedSpec:
    """A spec that can run, and what its author should know about it.

    Attributes:
        spec: The resolved spec.
        defaulted: Its fields that the body did not give, in the order of the contract.
        warnings: Remarks that stop nothing.
    """

    spec: FitSpec | ComparisonSpec
    defaulted: tuple[str, ...]
    warnings: tuple[Warn, ...]


def parse_spec(body: object, *, kind: str | None = None) -> ParsedSpec:
    """Resolve every default and check every field.

    Args:
        body: Parsed JSON; a list stands for {"data": list}.
        kind: What the path says the body is; None lets the body say it.

    Raises:
        InvalidSpec: With one flaw for every mistake, at most 20.
    """
    given = _as_object(body)
    kind = _kind_of(given, kind)
    given.pop("kind", None)
    given = _expand_preset(given, kind)
    moved = _fold_learning_rate(given) if kind == "fit" else {}
    _refuse_stored(given)
    try:
        spec = KINDS[kind].model_validate({**given, "kind": kind})
    except ValidationError as error:
        raise InvalidSpec(to_flaws(error, given, kind=kind, moved=moved)) from error
    fields = [name for name in type(spec).model_fields if name != "kind"]
    defaulted = tuple(name for name in fields if name not in spec.model_fields_set)
    return ParsedSpec(spec=spec, defaulted=defaulted, warnings=_remark(spec))


def count_points(spec: FitSpec | ComparisonSpec) -> int | None:
    """Return how many points the spec's data have; None while they belong to another job."""
    data = spec.data
    match data:
        case Columns():
            return len(data.x)
        case StoredColumns():
            return data.num_points
        case Generated():
            return data.generate.n
        case Preset():
            all_points = DATA_PRESET_POINTS[data.preset]
            return all_points if data.points is None else min(data.points, all_points)
        case _:
            return None


def _as_object(body: object) -> dict[str, Any]:
    if isinstance(body, list):
        return {"data": body}
    if not isinstance(body, Mapping):
        raise InvalidSpec(
            (
                Flaw(
                    pointer="",
                    code="wrong-type",
                    detail="The body must be a JSON object such as {} or a list of [x, y] pairs",
                ),
            )
        )
    return {str(key): value for key, value in body.items()}


def _kind_of(given: Mapping[str, Any], asked: str | None) -> str:
    """Return the kind that path and body agree on; a comparison's preset names its own kind."""
    said = given.get("kind")
    if said is None and asked is None and given.get("preset") in COMPARISON_PRESETS:
        return "comparison"
    kind = said if said is not None else asked or "fit"
    if asked is not None and said is not None and said != asked:
        detail = f'This path runs kind "{asked}": leave "kind" out, or POST to /v1/jobs'
        raise InvalidSpec((Flaw(pointer="/kind", code="kind-mismatch", detail=detail),))
    if not isinstance(kind, str) or kind not in KINDS:
        planned = kind in _PLANNED_KINDS
        raise InvalidSpec(
            (
                Flaw(
                    pointer="/kind",
                    code="not-served" if planned else "unknown-kind",
                    detail=f'Kind "{kind}" is not served by this version'
                    if planned
                    else "This is not a kind of job",
                    allowed=tuple(KINDS),
                ),
            )
        )
    return kind


def _expand_preset(given: dict[str, Any], kind: str) -> dict[str, Any]:
    """Put the words of a named comparison under the body's own, which win."""
    name = given.get("preset")
    if kind != "comparison" or name is None:
        return given
    if not isinstance(name, str) or name not in COMPARISON_PRESETS:
        raise InvalidSpec(
            (
                Flaw(
                    pointer="/preset",
                    code="unknown-name",
                    detail="This is not the name of a comparison",
                    allowed=tuple(COMPARISON_PRESETS),
                ),
            )
        )
    return {**COMPARISON_PRESETS[name][1], **given}


def _fold_learning_rate(given: dict[str, Any]) -> dict[str, str]:
    """Move a top-level lr or learning_rate into the optimizer; return new pointer -> old one."""
    names = [name for name in _LEARNING_RATE_NAMES if name in given]
    if not names:
        return {}
    optimizer = given.get("optimizer", {})
    flat = {"name": optimizer} if isinstance(optimizer, str) else optimizer
    if not isinstance(flat, Mapping):
        return {}
    if len(names) > 1 or "lr" in flat:
        detail = "The learning rate is given twice: give lr once, here or in the optimizer"
        raise InvalidSpec((Flaw(pointer=f"/{names[0]}", code="given-twice", detail=detail),))
    given["optimizer"] = {**flat, "lr": given.pop(names[0])}
    return {"/optimizer/lr": f"/{names[0]}"}


def _refuse_stored(given: Mapping[str, Any]) -> None:
    """Refuse the form that only this service writes: it names points without carrying them."""
    data = given.get("data")
    if isinstance(data, Mapping) and ("sha256" in data or "num_points" in data):
        detail = 'Give the points themselves, or {"job": "<id>"} to use those of another job'
        raise InvalidSpec((Flaw(pointer="/data", code="no-points", detail=detail),))


def _remark(spec: FitSpec | ComparisonSpec) -> tuple[Warn, ...]:
    warnings: list[Warn] = []
    points = count_points(spec)
    if spec.batch_size is not None and points is not None and spec.batch_size >= points:
        warnings.append(
            Warn(
                code="batch-is-everything",
                message=f"batch_size {spec.batch_size} covers all {points} points: "
                "every step sees all of them",
            )
        )
    if not spec.zero_grad:
        warnings.append(
            Warn(
                code="gradient-never-zeroed",
                message="zero_grad is false: every step adds its gradient to all earlier ones, "
                "so the fit oscillates instead of converging",
            )
        )
    return tuple(warnings)
