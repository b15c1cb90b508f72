"""The JSON Schema of a spec as clients may write it, for OpenAPI; bodies are parsed by hand.

Pydantic describes the resolved form; here the short forms that the parser takes stand beside it.
"""

import re
from collections.abc import Iterator
from functools import cache
from inspect import cleandoc
from typing import Any, Final, Literal

from pydantic import BaseModel

from app.domain.batch import BatchSpec
from app.domain.catalogue import OPTIMIZERS, SCHEDULERS, hyperparameter_class
from app.domain.extension import FIELDS
from app.domain.parse import KINDS
from app.domain.presets import COMPARISON_PRESETS, DATA_PRESETS

_REF: Final = "#/components/schemas/{model}"
_ATTRIBUTE: Final = re.compile(r"    (\w+): (.*)", re.DOTALL)
_NAME_OF_KIND: Final = {kind: spec.__name__ for kind, spec in KINDS.items()}
_WITHIN: Final = ("StoredColumns", "StoredSeries", "SeriesColumns")
"""Forms of points that no client writes."""

EXAMPLES: Final[dict[str, dict[str, Any]]] = {
    "fit": {
        "classic": {"summary": "The classic problem, every default", "value": {}},
        "optimizer": {
            "summary": "Another optimizer",
            "value": {"optimizer": {"name": "SGD", "lr": 0.1, "momentum": 0.9}, "steps": 500},
        },
        "points": {"summary": "Your own points", "value": {"data": [[0, 1], [1, 3], [2, 5]]}},
        "generated": {
            "summary": "Points drawn around a line",
            "value": {"data": {"generate": {"a": 2, "b": 1, "n": 100, "noise": 0.1}}},
        },
    },
    "comparison": {
        "question": {
            "summary": "The question's experiment",
            "value": {"kind": "comparison", "preset": "weak-optimizers"},
        },
        "own": {
            "summary": "Your own contenders",
            "value": {
                "kind": "comparison",
                "optimizers": ["adam", {"name": "SGD", "lr": 0.1}, "lbfgs"],
            },
        },
    },
    "sweep": {
        "sweep": {
            "summary": "Four optimizers at 16 learning rates each",
            "value": {"kind": "sweep"},
        },
        "grid": {
            "summary": "Your own grid and five starts",
            "value": {
                "kind": "sweep",
                "optimizers": ["adam", {"name": "SGD", "momentum": 0.9}],
                "lr": {"min": 0.001, "max": 1, "num": 31, "scale": "log"},
                "seeds": 5,
            },
        },
    },
    "batch": {
        "series": {
            "summary": "Two series of your own",
            "value": {
                "kind": "batch",
                "optimizer": {"name": "SGD", "lr": "auto"},
                "data": [
                    {"name": "north", "x": [0, 1, 2], "y": [1, 3, 5]},
                    {"name": "south", "x": [0, 1], "y": [2, 1]},
                ],
            },
        },
        "drawn": {
            "summary": "A thousand series drawn around one line",
            "value": {"kind": "batch", "data": {"generate": {"n": 50, "series": 1000}}},
        },
    },
}

Body = Literal["fit", "comparison", "sweep", "batch", "any", "overrides", "extension"]
_EXTENSION: Final = "FitExtension"


def spec_body(body: Body) -> dict[str, Any]:
    """Return the `openapi_extra` of a route that takes a spec.

    Args:
        body: A kind; "any" where the body says its kind; "overrides" where fields are replaced;
            "extension" where a fit goes on.
    """
    kinds = [body] if body in _NAME_OF_KIND else list(_NAME_OF_KIND)
    names = [_EXTENSION] if body == "extension" else [_NAME_OF_KIND[kind] for kind in kinds]
    schemas = [{"$ref": _REF.format(model=name)} for name in names]
    schema = schemas[0] if len(schemas) == 1 else {"anyOf": schemas}
    examples = {name: value for kind in kinds for name, value in EXAMPLES[kind].items()}
    if body == "overrides":
        examples = {"lr": {"summary": "Another learning rate", "value": {"lr": 0.05}}}
    if body == "extension":
        examples = {"steps": {"summary": "A thousand steps more", "value": {"steps": 1000}}}
    return {
        "requestBody": {
            "required": False,
            "description": "Every field has a default, no body is {}. A first byte { or [ is JSON "
            "whatever the Content-Type; a form's flat fields (optimizer=adam&lr=0.1&"
            "stop.loss_below=1e-6) are the same spec; CSV has two columns, x and y, of a batch "
            "series, x and y, and its spec in the query; NDJSON is a batch, one point or one "
            "series a line.",
            "content": {
                "application/json": {"schema": schema, "examples": examples},
                "application/x-www-form-urlencoded": {
                    "schema": {"type": "object", "additionalProperties": {"type": "string"}}
                },
                "text/csv": {"schema": {"type": "string"}, "example": "x,y\n0,1\n1,3\n2,5\n"},
                "application/x-ndjson": {
                    "schema": {"type": "string"},
                    "example": '{"x": [0, 1], "y": [1, 3]}\n{"x": [0, 1], "y": [2, 2]}\n',
                },
            },
        }
    }


@cache
def spec_components() -> dict[str, Any]:
    """Return the schemas of all specs and of what they are made of, by name."""
    schemas: dict[str, Any] = {}
    for spec in KINDS.values():
        schema = spec.model_json_schema(ref_template=_REF)
        schemas.update(schema.pop("$defs"))
        schemas[spec.__name__] = schema
    for form in _WITHIN:
        schemas.pop(form)
    for shape in _shapes():
        if shape.__name__ in schemas:
            _describe(schemas[shape.__name__], shape)
    schemas["OptimizerSpec"] = _named("optimizers", "One optimizer of torch.optim")
    schemas["SchedulerSpec"] = _named("schedulers", "One scheduler of torch.optim.lr_scheduler")
    schemas["Contender"] = _named(
        "optimizers", "One optimizer of a comparison", label={"type": "string", "maxLength": 60}
    )
    schemas["SweptContender"] = _named(
        "optimizers", "One optimizer of a sweep", label={"type": "string", "maxLength": 60}
    )
    for spec in KINDS.values():
        properties = schemas[spec.__name__]["properties"]
        properties["data"] = _series_schema() if spec is BatchSpec else _data_schema()
    for name in ("FitSpec", "BatchSpec"):
        schemas[name]["properties"] |= {
            field: {
                "type": "number",
                "minimum": 0,
                "description": "The same as lr in the optimizer",
            }
            for field in ("lr", "learning_rate")
        }
    _add_short_forms(schemas["SweepSpec"]["properties"])
    schemas[_EXTENSION] = _extension_schema(schemas["FitSpec"]["properties"])
    schemas["ComparisonSpec"]["properties"]["preset"] = {
        "enum": [*COMPARISON_PRESETS, None],
        "description": "A named comparison; the body's own fields win",
    }
    return schemas


def _add_short_forms(sweep: dict[str, Any]) -> None:
    """Put what a sweep also reads beside its fields."""
    sweep["lr"]["anyOf"] = [*sweep["lr"].pop("anyOf", sweep["lr"].pop("oneOf", [])), _RATE]
    sweep["learning_rate"] = {**sweep["lr"], "description": "The same as lr"}
    sweep["optimizer"] = {
        "$ref": _REF.format(model="SweptContender"),
        "description": "The same as one of optimizers",
    }


_RATE: Final[dict[str, Any]] = {"type": "number", "exclusiveMinimum": 0}


def _series_schema() -> dict[str, Any]:
    """Return the forms that a batch's series may have."""
    numbers = {"type": "array", "items": {"type": "number"}, "minItems": 1}
    name = {"type": ["string", "number"], "description": "Name all series, or none"}
    one = {
        "type": "object",
        "required": ["x", "y"],
        "additionalProperties": False,
        "properties": {"x": numbers, "y": numbers, "name": name},
    }
    pairs = {"type": "array", "items": {"type": "array", "items": {"type": "number"}}}
    columns = {
        "type": "object",
        "required": ["series", "x", "y"],
        "additionalProperties": False,
        "properties": {
            "series": {"type": "array", "items": {"type": ["string", "number"]}},
            "x": numbers,
            "y": numbers,
        },
    }
    references = ({"$ref": _REF.format(model=form)} for form in ("GeneratedSeries", "JobData"))
    return {
        "description": "The series: one entry each, or three columns of which `series` names the "
        "series of a point, or a recipe",
        "default": {"generate": {"series": 100}},
        "anyOf": [{"type": "array", "items": {"anyOf": [one, pairs]}}, columns, *references],
    }


def _extension_schema(fit: dict[str, Any]) -> dict[str, Any]:
    """Return the schema of what an extension takes: few of a fit's fields, none needed."""
    fields = {name: {**fit[name]} for name in FIELDS}
    fields["steps"] |= {"description": "How many more; as many as were asked for at first"}
    for field in fields.values():
        field.pop("default", None)
    return {"type": "object", "additionalProperties": False, "properties": fields}


def _named(kind: Literal["optimizers", "schedulers"], title: str, **more: Any) -> dict[str, Any]:  # noqa: ANN401  # JSON Schema
    """Return the schema of a bare name or of a name with its own hyperparameters."""
    names = list(OPTIMIZERS if kind == "optimizers" else SCHEDULERS)
    objects: list[dict[str, Any]] = []
    for name in names:
        schema = hyperparameter_class(name, kind).model_json_schema()
        schema["properties"] = {"name": {"const": name}, **schema["properties"], **more}
        schema["required"] = ["name", *schema.get("required", ())]
        objects.append(schema)
    return {
        "description": f"{title}: torch's name in any case, or an object with its hyperparameters",
        "anyOf": [{"type": "string", "examples": names}, *objects],
    }


def _data_schema() -> dict[str, Any]:
    pair = {"type": "array", "prefixItems": [{"type": "number"}] * 2, "minItems": 2, "maxItems": 2}
    forms = ("Columns", "Preset", "Generated", "JobData")
    return {
        "description": "The points; the shortest form wins",
        "default": {"preset": "classic"},
        "anyOf": [
            {"type": "array", "items": pair, "minItems": 1},
            {"type": "string", "enum": list(DATA_PRESETS)},
            *({"$ref": _REF.format(model=form)} for form in forms),
        ],
    }


def _shapes() -> Iterator[type[BaseModel]]:
    """Yield every class below the domain's base, whose docstrings describe the fields."""
    waiting: list[type[BaseModel]] = [BaseModel]
    while waiting:
        for shape in waiting.pop().__subclasses__():
            if shape.__module__.startswith("app.domain"):
                yield shape
            waiting.append(shape)


def _describe(schema: dict[str, Any], shape: type[BaseModel]) -> None:
    """Move the "Attributes:" of a docstring, and of those it inherits, to the fields."""
    for ancestor in reversed(shape.__mro__):
        documented = dict(_attributes_of(ancestor.__doc__ or ""))
        for name, text in documented.items():
            if name in schema["properties"]:
                schema["properties"][name]["description"] = text
    schema["description"] = (shape.__doc__ or "").split("\n\n", 1)[0].strip()


def _attributes_of(doc: str) -> Iterator[tuple[str, str]]:
    """Yield name and text of every entry of a Google docstring's "Attributes:" section."""
    _, _, section = cleandoc(doc).partition("Attributes:\n")
    for entry in re.split(r"\n(?=    \S)", "\n" + section):
        found = _ATTRIBUTE.match(entry.lstrip("\n"))
        if found:
            yield found[1], " ".join(found[2].split())
