"""The OpenAPI document as one HTML page: no script, no request to anywhere."""

import json
from collections.abc import Iterable, Mapping
from html import escape
from typing import Any, Final

from app.api.html import page

Json = Mapping[str, Any]

_SHOWN_SCHEMAS: Final = ("FitSpec", "ComparisonSpec", "Preset", "Generator", "Stop")


def make_page(document: Json) -> str:
    """Return the reference.

    Args:
        document: OpenAPI 3.1.
    """
    by_tag: dict[str, list[str]] = {}
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            tag = operation.get("tags", ["other"])[0]
            by_tag.setdefault(tag, []).append(_operation(method, path, operation))
    sections = "".join(
        f"<h2>{escape(tag.capitalize())}</h2>{''.join(shown)}" for tag, shown in by_tag.items()
    )
    schemas = document["components"]["schemas"]
    fields = "".join(_schema(name, schemas[name]) for name in _SHOWN_SCHEMAS)
    links = (
        '<p><a href="/openapi.json">openapi.json</a> · <a href="/problems">problems</a> · '
        '<a href="/v1/optimizers">optimizers</a> · <a href="/v1/presets">presets</a></p>'
    )
    about = f"<p>{escape(document['info']['description'])}</p>"
    return page("Reference", f"{about}{links}{sections}<h2>Bodies</h2>{fields}")


def _operation(method: str, path: str, operation: Json) -> str:
    head = (
        f"<summary><code><b>{method.upper()}</b> {escape(path)}</code> "
        f"{escape(operation.get('summary', ''))}</summary>"
    )
    text = f"<p>{escape(operation.get('description', ''))}</p>"
    parameters = _table(
        ("parameter", "in", "meaning"),
        (
            (f"<code>{escape(p['name'])}</code>", p["in"], escape(_meaning(p)))
            for p in operation.get("parameters", ())
        ),
    )
    answers = _table(
        ("status", "answer"),
        (
            (status, _answer(response))
            for status, response in operation.get("responses", {}).items()
        ),
    )
    return f"<details>{head}{text}{parameters}{_body(operation)}{answers}</details>"


def _meaning(parameter: Json) -> str:
    schema = parameter.get("schema", {})
    default = f" Default: {json.dumps(schema['default'])}." if "default" in schema else ""
    return f"{parameter.get('description', schema.get('title', ''))}{default}"


def _body(operation: Json) -> str:
    content = operation.get("requestBody", {}).get("content", {})
    examples = content.get("application/json", {}).get("examples", {})
    return "".join(
        f"<p>{escape(entry.get('summary', name))}</p>"
        f"<pre>{escape(json.dumps(entry['value']))}</pre>"
        for name, entry in examples.items()
    )


def _answer(response: Json) -> str:
    examples = response.get("content", {}).get("application/problem+json", {}).get("examples", {})
    links = [f'<a href="/problems/{escape(slug)}">{escape(slug)}</a>' for slug in examples]
    return ", ".join(links) or escape(response.get("description", ""))


def _schema(name: str, schema: Json) -> str:
    rows = (
        (
            f"<code>{escape(field)}</code>",
            escape(json.dumps(entry["default"])) if "default" in entry else "",
            escape(entry.get("description", "")),
        )
        for field, entry in schema["properties"].items()
    )
    about = f"<p>{escape(schema.get('description', ''))}</p>"
    return f"<h3>{escape(name)}</h3>{about}{_table(('field', 'default', 'meaning'), rows)}"


def _table(heads: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """Return a table; cells are HTML already. No rows, no table."""
    body = "".join(f"<tr>{''.join(f'<td>{cell}</td>' for cell in row)}</tr>" for row in rows)
    head = "".join(f"<th>{head}</th>" for head in heads)
    return f"<table><tr>{head}</tr>{body}</table>" if body else ""
