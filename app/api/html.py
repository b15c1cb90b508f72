"""Small HTML pages that need nothing from elsewhere, and who prefers them to JSON."""

from html import escape
from typing import Final

from fastapi import Request

_STYLE: Final = (
    "body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;"
    "color:#1b1b1b;background:#fff}"
    "pre{background:#f4f4f4;padding:.8rem;overflow:auto;font-size:.85rem}code{font-size:.9em}"
    "td,th{padding:.2rem .8rem .2rem 0;text-align:left;vertical-align:top}a{color:#0b57a4}"
    "h2{margin-top:2rem}summary{cursor:pointer;padding:.2rem 0}"
    "@media(prefers-color-scheme:dark){body{color:#e6e6e6;background:#16181b}"
    "pre{background:#23262b}a{color:#8ab8f0}}"
)

HTML_HEADERS: Final = {
    # Nothing is loaded, run or framed, whatever a text on the page says.
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
}

_HTML_TYPES: Final = frozenset({"text/html", "application/xhtml+xml"})
_JSON_TYPES: Final = frozenset({"application/json", "application/problem+json"})


def page(title: str, body: str) -> str:
    """Return a whole page.

    Args:
        title: Plain text.
        body: HTML, already escaped.
    """
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>{escape(title)} - fitjobs</title><style>{_STYLE}</style></head>"
        f"<body><h1>{escape(title)}</h1>{body}</body></html>\n"
    )


def prefers_html(request: Request) -> bool:
    """Tell whether Accept names HTML with a higher quality than JSON, as browsers do."""
    html = json = 0.0
    for part in request.headers.get("accept", "").lower().split(",")[:50]:
        media_type, _, parameters = part.partition(";")
        quality = _quality_of(parameters)
        if media_type.strip() in _HTML_TYPES:
            html = max(html, quality)
        elif media_type.strip() in _JSON_TYPES:
            json = max(json, quality)
    return html > json


def _quality_of(parameters: str) -> float:
    for parameter in parameters.split(";"):
        name, _, value = parameter.partition("=")
        if name.strip() == "q":
            try:
                return float(value)
            except ValueError:
                return 0.0
    return 1.0
