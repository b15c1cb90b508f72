"""What a rerun's few fields stand for: the old spec with these in the place of its own."""

from collections.abc import Mapping
from typing import Any, cast

from app.domain.batch import BatchSpec
from app.domain.data import StoredColumns
from app.domain.errors import Flaw, InvalidSpec
from app.domain.job import JobRecord
from app.domain.presets import COMPARISON_PRESETS
from app.domain.series import StoredSeries
from app.domain.spec import ComparisonSpec, FitSpec
from app.domain.sweep import SweepSpec


def merge_spec(record: JobRecord, overrides: object) -> dict[str, Any]:
    """Return the body that a rerun stands for.

    Raises:
        InvalidSpec: The overrides are no object.
    """
    if not isinstance(overrides, Mapping):
        detail = 'Give an object with the fields to change, e.g. {"lr": 0.1}'
        raise InvalidSpec((Flaw(pointer="", code="wrong-type", detail=detail),))
    body = record.spec.model_dump(mode="json")
    if isinstance(record.spec.data, StoredColumns | StoredSeries):
        body["data"] = {"job": record.id}
    changes = dict(cast("Mapping[str, Any]", overrides))
    match record.spec:
        case FitSpec() | BatchSpec():
            _merge_optimizer(body, changes)
        case ComparisonSpec():
            _change_preset(body, changes)
        case SweepSpec():
            _change_names(body, changes)
    stop = changes.get("stop")
    if isinstance(stop, Mapping):
        changes["stop"] = {**body["stop"], **cast("Mapping[str, Any]", stop)}
    return {**body, **changes}


def _change_preset(body: dict[str, Any], changes: Mapping[str, Any]) -> None:
    """Let another preset bring its own fields, which the old ones would hide."""
    name = changes.get("preset")
    if isinstance(name, str) and name in COMPARISON_PRESETS:
        for field in COMPARISON_PRESETS[name][1]:
            body.pop(field, None)


def _change_names(body: dict[str, Any], changes: Mapping[str, Any]) -> None:
    """Let a sweep's short names take the place of the long ones, which would be given twice."""
    for short, name in (("optimizer", "optimizers"), ("learning_rate", "lr")):
        if short in changes:
            body.pop(name, None)


def _merge_optimizer(body: dict[str, Any], changes: dict[str, Any]) -> None:
    """Let a bare learning rate or hyperparameter keep the rest of the old optimizer."""
    old = dict(body["optimizer"])
    if "lr" in changes or "learning_rate" in changes:
        del old["lr"]
    body["optimizer"] = old
    new = changes.get("optimizer")
    if isinstance(new, Mapping) and "name" not in new:
        changes["optimizer"] = {**old, **cast("Mapping[str, Any]", new)}
