"""From pydantic's errors to flaws that tell a person what to type instead."""

import difflib
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal, cast

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from app.domain.batch import BatchSpec
from app.domain.catalogue import OPTIMIZERS, SCHEDULERS, canonical_name
from app.domain.data import Generator
from app.domain.errors import Flaw
from app.domain.kinds import AnySpec
from app.domain.series import SeriesGenerator
from app.domain.spec import ComparisonSpec, FitSpec, Start, Stop
from app.domain.sweep import Grid, SweepSpec

MAX_FLAWS: Final = 20
MAX_ALLOWED: Final = 32
"""Enough for every field of a spec; longer lists are cut."""
MAX_GOT_CHARACTERS: Final = 80

# What people type who come from other tools.
_SYNONYMS: Final[Mapping[str, str]] = {
    "epochs": "steps",
    "iterations": "steps",
    "max_iter": "steps",
    "max_steps": "steps",
    "num_steps": "steps",
    "n_steps": "steps",
    "optim": "optimizer",
    "learningrate": "lr",
    "learning_rate": "lr",
    "learning-rate": "lr",
    "slope": "a",
    "intercept": "b",
    "num_points": "n",
    "wd": "weight_decay",
    "x": "data",
    "y": "data",
    "points": "data",
    "preset": "data",
    "tol": "tolerance",
    "criterion": "loss",
    "batch": "batch_size",
    "timeout": "timeout_seconds",
    "low": "min",
    "lo": "min",
    "start": "min",
    "high": "max",
    "hi": "max",
    "stop": "max",
    "count": "num",
    "n": "num",
    "size": "num",
    "steps": "num",
    "spacing": "scale",
    "learning_rates": "lr",
    "lrs": "lr",
    "rates": "lr",
    "starts": "seeds",
    "num_seeds": "seeds",
    "num_series": "series",
    "beta1": "betas",
    "beta2": "betas",
}
_SENTENCES: Final[Mapping[str, str]] = {
    "missing": "This field is needed",
    "int_type": "Give an integer, without quotes and without a decimal point",
    "int_from_float": "Give an integer, without a decimal point",
    "float_type": "Give a number, without quotes",
    "bool_type": "Give true or false",
    "string_type": "Give a string",
    "tuple_type": "Give a list of numbers",
    "dict_type": "Give an object",
    "model_type": "Give an object",
    "model_attributes_type": "Give an object",
    "none_required": "Only null is served by this version",
    "finite_number": "Give a finite number",
    "greater_than": "Must be greater than {gt}",
    "greater_than_equal": "Must be at least {ge}",
    "less_than": "Must be less than {lt}",
    "less_than_equal": "Must be at most {le}",
    "too_long": "Give at most {max_length} values",
    "too_short": "Give at least {min_length} value",
    "string_too_long": "Give at most {max_length} characters",
    "string_too_short": "Give at least {min_length} character",
    "string_pattern_mismatch": "Must match {pattern}",
    "string_unicode": "Give text that is valid Unicode",
    "int_parsing_size": "This integer is too large",
}


def to_flaws(
    error: ValidationError, given: Mapping[str, Any], *, kind: str, moved: Mapping[str, str]
) -> tuple[Flaw, ...]:
    """Return one flaw for every place that is wrong, at most 20.

    Args:
        error: What pydantic found.
        given: The body that it looked at.
        kind: Which top-level fields exist.
        moved: Pointer in `given` -> pointer in the body that the client sent.
    """
    found: dict[str, tuple[ErrorDetails, list[str | int]]] = {}
    parents: set[str] = set()
    for details in error.errors(include_url=False, include_input=False):
        path = _real_path(details, given)
        pointer = to_pointer(path)
        # A union reports every member that did not fit. The first is the plainest, unless it
        # only names words and the client sent none.
        if pointer not in found or _missed_the_kind(found[pointer][0], _value_at(path, given)):
            found[pointer] = (details, path)
        parents.update(to_pointer(path[:depth]) for depth in range(len(path)))
    deepest = [what for pointer, what in found.items() if pointer not in parents]
    return tuple(
        _move(_make_flaw(details, path, given, kind=kind), moved)
        for details, path in deepest[:MAX_FLAWS]
    )


def _missed_the_kind(details: ErrorDetails, value: object) -> bool:
    return details["type"] == "literal_error" and isinstance(value, int | float)


def nearest(word: str, allowed: Sequence[str]) -> str | None:
    """Return the allowed name that `word` was probably meant to be."""
    synonym = _SYNONYMS.get(word.casefold())
    if synonym in allowed:
        return synonym
    folded = {name.casefold(): name for name in allowed}
    close = difflib.get_close_matches(word.casefold()[:64], folded, n=1, cutoff=0.6)
    return folded[close[0]] if close else None


def _real_path(details: ErrorDetails, given: Mapping[str, Any]) -> list[str | int]:
    """Drop from pydantic's location the names of union members, which no client wrote."""
    path: list[str | int] = []
    here: Any = given
    location = details["loc"]
    for i, part in enumerate(location):
        if _has(here, part):
            path.append(part)
            here = here[part]
        elif details["type"] == "missing" and i == len(location) - 1:
            path.append(part)
    return path


def _has(here: object, part: str | int) -> bool:
    if isinstance(here, list):
        return isinstance(part, int) and 0 <= part < len(cast("list[object]", here))
    return isinstance(here, Mapping) and part in here


def to_pointer(path: Sequence[str | int]) -> str:
    """Return the RFC 6901 pointer of a place; "~" and "/" in names are escaped."""
    return "".join(f"/{str(part).replace('~', '~0').replace('/', '~1')}" for part in path)


def _make_flaw(
    details: ErrorDetails, path: Sequence[str | int], given: Mapping[str, Any], *, kind: str
) -> Flaw:
    context: Mapping[str, Any] = details.get("ctx") or {}
    if details["type"] == "extra_forbidden":
        return _unknown_field(path, given, kind=kind)
    if details["type"] == "unknown-name" and isinstance(_value_at(path, given), Mapping):
        path = [*path, "name"]
    got = None if details["type"] == "missing" else _scalar_at(path, given)
    allowed = _allowed_values(details, context)
    return Flaw(
        pointer=_clip(to_pointer(path)),
        code=details["type"].replace("_", "-"),
        detail=_sentence(details, context, allowed),
        did_you_mean=nearest(got, allowed) if isinstance(got, str) and allowed else None,
        got=got,
        allowed=allowed[:MAX_ALLOWED] or None,
    )


def _sentence(details: ErrorDetails, context: Mapping[str, Any], allowed: tuple[str, ...]) -> str:
    if details["type"] == "literal_error" and allowed:
        return "This is not one of the allowed values"
    if details["type"] == "float_type" and details["loc"][-1] == "lr":
        return 'Give a number, without quotes; "auto" is known for SGD alone'
    if details["type"] == "string_pattern_mismatch" and details["loc"][-1] == "device":
        return "Give auto, cpu, cuda or cuda:N"
    sentence = _SENTENCES.get(details["type"])
    return sentence.format_map(context) if sentence else details["msg"]


def _allowed_values(details: ErrorDetails, context: Mapping[str, Any]) -> tuple[str, ...]:
    if details["type"] == "literal_error":
        return tuple(re.findall(r"'([^']*)'", str(context.get("expected", ""))))
    return tuple(str(name) for name in context.get("allowed", ()))


def _unknown_field(path: Sequence[str | int], given: Mapping[str, Any], *, kind: str) -> Flaw:
    allowed = tuple(_fields_at(path[:-1], given, kind=kind))
    word = str(path[-1]) if path else ""
    guess = nearest(word, allowed)
    hint = f': did you mean "{guess}"?' if guess else ""
    return Flaw(
        pointer=_clip(to_pointer(path)),
        code="unknown-field",
        detail=f'There is no field "{_clip(word)}" here{hint}',
        did_you_mean=guess,
        allowed=allowed[:MAX_ALLOWED] or None,
    )


def _fields_at(path: Sequence[str | int], given: Mapping[str, Any], *, kind: str) -> list[str]:
    """Name the fields that may stand where an unknown one was found."""
    match list(path):
        case []:
            return [*_SHORT_FORMS[kind], *_SPECS[kind].model_fields]
        case ["optimizer"]:
            fields = ["name", *_hyperparameters(given["optimizer"], "optimizers")]
        case ["optimizers", int(i)]:
            fields = ["name", "label", *_hyperparameters(given["optimizers"][i], "optimizers")]
        case ["scheduler"]:
            fields = ["name", *_hyperparameters(given["scheduler"], "schedulers")]
        case ["data"] if kind == "batch":
            fields = ["series", "x", "y", "generate", "job"]
        case ["data", "generate"] if kind == "batch":
            fields = list(SeriesGenerator.model_fields)
        case other:
            fields = list(_NESTED_FIELDS.get(tuple(other), ()))
    return fields


_SPECS: Final[Mapping[str, type[AnySpec]]] = {
    "fit": FitSpec,
    "comparison": ComparisonSpec,
    "sweep": SweepSpec,
    "batch": BatchSpec,
}
_SHORT_FORMS: Final[Mapping[str, tuple[str, ...]]] = {
    "fit": ("lr", "learning_rate"),
    "comparison": (),
    "sweep": ("optimizer", "learning_rate"),
    "batch": ("lr", "learning_rate"),
}
_NESTED_FIELDS: Final[Mapping[tuple[str | int, ...], tuple[str, ...]]] = {
    ("stop",): tuple(Stop.model_fields),
    ("init",): tuple(Start.model_fields),
    ("lr",): tuple(Grid.model_fields),
    ("data",): ("x", "y", "preset", "points", "seed", "generate", "job"),
    ("data", "generate"): tuple(Generator.model_fields),
}


def _hyperparameters(flat: object, part: Literal["optimizers", "schedulers"]) -> list[str]:
    catalogue = OPTIMIZERS if part == "optimizers" else SCHEDULERS
    typed: object = cast("Mapping[str, Any]", flat).get("name", "Adam")
    name = canonical_name(typed, part) if isinstance(typed, str) else None
    return list(catalogue[name]["hyperparameters"]) if name else []


def _value_at(path: Sequence[str | int], given: Mapping[str, Any]) -> object:
    here: Any = given
    for part in path:
        if not _has(here, part):
            return None
        here = here[part]
    return here


def _scalar_at(path: Sequence[str | int], given: Mapping[str, Any]) -> str | float | bool | None:
    """Return the offending value if it can be repeated in JSON in a few characters."""
    value = _value_at(path, given)
    if isinstance(value, str):
        # A lone surrogate is no text that an answer could carry.
        fits = len(value) <= MAX_GOT_CHARACTERS and value.isprintable()
        return value if fits else None
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    # A 5,000-digit integer is a number too, but nobody wants it back.
    return value if isinstance(value, int) and abs(value) < 2**63 else None


def _clip(text: str) -> str:
    return text if len(text) <= MAX_GOT_CHARACTERS else text[: MAX_GOT_CHARACTERS - 1] + "\u2026"


def _move(flaw: Flaw, moved: Mapping[str, str]) -> Flaw:
    new = next((name for name in moved if f"{flaw.pointer}/".startswith(f"{name}/")), None)
    if new is None:
        return flaw
    pointer = moved[new] + flaw.pointer.removeprefix(new)
    return Flaw(
        pointer=pointer,
        code=flaw.code,
        detail=flaw.detail,
        did_you_mean=flaw.did_you_mean,
        got=flaw.got,
        allowed=flaw.allowed,
    )
