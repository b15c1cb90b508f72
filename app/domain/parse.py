"""From the body that a client sent to a resolved spec, or to a list of what is wrong with it."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, cast

from pydantic import ValidationError

from app.domain.batch import BatchSpec
from app.domain.data import Columns, Generated, Preset, StoredColumns
from app.domain.engines import refusals, servers
from app.domain.errors import Flaw, InvalidSpec
from app.domain.flaws import MAX_FLAWS, nearest, to_flaws, to_pointer
from app.domain.job import Warn
from app.domain.kinds import AnySpec
from app.domain.presets import COMPARISON_PRESETS, DATA_PRESET_POINTS
from app.domain.series import GeneratedSeries, SeriesColumns, StoredSeries
from app.domain.spec import ComparisonSpec, FitSpec, Start
from app.domain.sweep import SweepSpec

KINDS: Final[Mapping[str, type[AnySpec]]] = {
    "fit": FitSpec,
    "comparison": ComparisonSpec,
    "sweep": SweepSpec,
    "batch": BatchSpec,
}
Path = tuple[str | int, ...]

_OWN_RATES: Final = frozenset({"CyclicLR", "OneCycleLR"})
"""Schedulers whose rates do not come from the optimizer's."""
_LEARNING_RATE_NAMES: Final = ("lr", "learning_rate")
_MOST_FIELDS: Final = 64
_MOST_VALUES: Final = 1_000
_DEEPEST: Final = 4
"""No field of a spec lies deeper (/data/generate/x/0)."""
_POINTS: Final = frozenset({("data",), ("data", "x"), ("data", "y")})
"""Where a list may be longer; it is counted when it is read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ParsedSpec:
    """A spec that can run, and what its author should know about it.

    Attributes:
        spec: The resolved spec.
        defaulted: Its fields that the body did not give, in the order of the contract.
        warnings: Remarks that stop nothing.
    """

    spec: AnySpec
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
    _refuse_crowds(given, has_series=kind == "batch")
    given.pop("kind", None)
    _refuse_stored(given)
    given = _expand_preset(given, kind)
    moved = _fold_short_forms(given, kind)
    try:
        spec = KINDS[kind].model_validate({**given, "kind": kind})
    except ValidationError as error:
        raise InvalidSpec(to_flaws(error, given, kind=kind, moved=moved)) from error
    _refuse_more_than_all(spec)
    _refuse_engine(spec)
    fields = [name for name in type(spec).model_fields if name != "kind"]
    defaulted = tuple(name for name in fields if name not in spec.model_fields_set)
    return ParsedSpec(spec=spec, defaulted=defaulted, warnings=remark(spec))


def count_points(spec: AnySpec) -> int | None:
    """Return how many points the spec's data have; None while they belong to another job."""
    data = spec.data
    match data:
        case StoredColumns() | SeriesColumns() | StoredSeries():
            return data.num_points
        case GeneratedSeries():
            return data.generate.n * data.generate.series
        case Columns():
            return len(data.x)
        case Generated():
            return data.generate.n
        case Preset():
            return data.points or DATA_PRESET_POINTS[data.preset]
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
    return dict(cast("Mapping[str, Any]", body))


def _refuse_crowds(given: Mapping[str, Any], *, has_series: bool) -> None:
    """Refuse what is so long that naming its flaws would take longer than many fits.

    Series are counted when they are read, and the first flaw of theirs is the only one told.
    """
    parts = {name: part for name, part in given.items() if name != "data"} if has_series else given
    for path, num_parts, most in _crowds((), parts):
        if num_parts > most:
            detail = f"Give at most {most} {'fields' if most == _MOST_FIELDS else 'values'} here"
            raise InvalidSpec((Flaw(pointer=to_pointer(path), code="too-long", detail=detail),))


def _crowds(path: Path, value: object) -> Iterator[tuple[Path, int, int]]:
    """Yield where an object or a list is, its length, and how long it may be; outermost first."""
    if len(path) > _DEEPEST:
        return
    if isinstance(value, Mapping):
        parts = cast("Mapping[str, object]", value)
        yield path, len(parts), _MOST_FIELDS
        for key, part in parts.items():
            yield from _crowds((*path, key), part)
    elif isinstance(value, list) and path not in _POINTS:
        values = cast("list[object]", value)
        yield path, len(values), _MOST_VALUES
        for position, part in enumerate(values):
            yield from _crowds((*path, position), part)


def _kind_of(given: Mapping[str, Any], asked: str | None) -> str:
    """Return the kind that path and body agree on; a comparison's preset names its own kind."""
    said, preset = given.get("kind"), given.get("preset")
    names_comparison = isinstance(preset, str) and preset in COMPARISON_PRESETS
    if said is None and asked is None and names_comparison:
        return "comparison"
    kind = said if said is not None else asked or "fit"
    if asked is not None and said is not None and said != asked:
        detail = f'This path runs kind "{asked}": leave "kind" out, or POST to /v1/jobs'
        raise InvalidSpec((Flaw(pointer="/kind", code="kind-mismatch", detail=detail),))
    if not isinstance(kind, str) or kind not in KINDS:
        raise InvalidSpec(
            (
                Flaw(
                    pointer="/kind",
                    code="unknown-kind",
                    detail="This is not a kind of job",
                    did_you_mean=nearest(kind, tuple(KINDS)) if isinstance(kind, str) else None,
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
    names = tuple(COMPARISON_PRESETS)
    if not isinstance(name, str) or name not in names:
        raise InvalidSpec(
            (
                Flaw(
                    pointer="/preset",
                    code="unknown-name",
                    detail="This is not the name of a comparison",
                    did_you_mean=nearest(name, names) if isinstance(name, str) else None,
                    allowed=names,
                ),
            )
        )
    return {**COMPARISON_PRESETS[name][1], **given}


def _fold_short_forms(given: dict[str, Any], kind: str) -> dict[str, str]:
    """Write a kind's short forms out; return new pointer -> old one."""
    match kind:
        case "fit" | "batch":
            return _fold_learning_rate(given)
        case "sweep":
            return _fold_names(given)
        case _:
            return {}


def _fold_names(given: dict[str, Any]) -> dict[str, str]:
    """Read a sweep's optimizer and learning_rate as its optimizers and lr."""
    moved: dict[str, str] = {}
    for short, name, place in (("optimizer", "optimizers", "/0"), ("learning_rate", "lr", "")):
        if short not in given:
            continue
        if name in given:
            detail = f"The same is given twice: give {name} alone"
            raise InvalidSpec((Flaw(pointer=f"/{short}", code="given-twice", detail=detail),))
        given[name] = [given.pop(short)] if place else given.pop(short)
        moved[f"/{name}{place}"] = f"/{short}"
    return moved


def _fold_learning_rate(given: dict[str, Any]) -> dict[str, str]:
    """Move a top-level lr or learning_rate into the optimizer; return new pointer -> old one."""
    names = [name for name in _LEARNING_RATE_NAMES if name in given]
    if not names:
        return {}
    optimizer = given.get("optimizer", {})
    flat: object = {"name": optimizer} if isinstance(optimizer, str) else optimizer
    if not isinstance(flat, Mapping):
        # The optimizer's own flaw is the one to tell.
        for name in names:
            del given[name]
        return {}
    if len(names) > 1 or "lr" in flat:
        detail = "The learning rate is given twice: give lr once, here or in the optimizer"
        raise InvalidSpec((Flaw(pointer=f"/{names[0]}", code="given-twice", detail=detail),))
    given["optimizer"] = {**cast("Mapping[str, Any]", flat), "lr": given.pop(names[0])}
    moved = {"/optimizer/lr": f"/{names[0]}"}
    return {**moved, "/optimizer/name": "/optimizer"} if isinstance(optimizer, str) else moved


def _refuse_stored(given: Mapping[str, Any]) -> None:
    """Refuse the form that only this service writes: it names points without carrying them."""
    data = given.get("data")
    if isinstance(data, Mapping) and ("sha256" in data or "num_points" in data):
        detail = 'Give the points themselves, or {"job": "<id>"} to use those of another job'
        raise InvalidSpec((Flaw(pointer="/data", code="no-points", detail=detail),))


def _refuse_more_than_all(spec: AnySpec) -> None:
    """Refuse the first 2000 of 1000 points: fewer than asked for would run, and nobody told."""
    data = spec.data
    if not isinstance(data, Preset) or data.points is None:
        return
    most = DATA_PRESET_POINTS[data.preset]
    if data.points > most:
        detail = f'Preset "{data.preset}" has {most} points: {{"generate": ...}} draws more'
        flaw = Flaw(pointer="/data/points", code="out-of-range", detail=detail, got=data.points)
        raise InvalidSpec((flaw,))


def _refuse_engine(spec: AnySpec) -> None:
    """Refuse an engine that cannot do what it is forced to."""
    flaws = tuple(
        Flaw(
            pointer="/engine",
            code="engine-cannot",
            detail=detail,
            got=spec.engine,
            allowed=("auto", *servers(spec)),
        )
        for detail in refusals(spec)
    )
    if flaws:
        raise InvalidSpec(flaws[:MAX_FLAWS])


def remark(spec: AnySpec) -> tuple[Warn, ...]:
    """Return what the author of a spec should know that stops nothing."""
    warnings: list[Warn] = []
    points = None if isinstance(spec, BatchSpec) else count_points(spec)
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
    if isinstance(spec, SweepSpec):
        warnings += _remark_sweep(spec)
    return tuple(warnings)


def _remark_sweep(spec: SweepSpec) -> Iterator[Warn]:
    if spec.seeds > 1 and isinstance(spec.init, Start) and spec.batch_size is None:
        yield Warn(
            code="seeds-change-nothing",
            message=f"init is given, so all {spec.seeds} starts are the same: "
            'leave it "torch" to draw them',
        )
    schedules = spec.scheduler is not None and spec.scheduler.name in _OWN_RATES
    if spec.scheduler is not None and schedules:
        yield Warn(
            code="rates-change-little",
            message=f"{spec.scheduler.name} sets the learning rate by numbers of its own: "
            "the grid may change nothing",
        )
