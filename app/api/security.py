"""Who may ask: bearer keys where the operator has set them, and no forms from foreign pages."""

import hmac
from functools import lru_cache
from hashlib import sha256
from typing import Final
from urllib.parse import urlsplit

from fastapi import Request

from app.api.deps import SettingsDep
from app.domain.errors import CrossSiteRequest, Unauthorized

OPEN_PATHS: Final = frozenset(
    {"/livez", "/readyz", "/version", "/problems", "/problems/{slug}", "/openapi.json", "/docs"}
)
"""Route templates that answer without a key: they tell nothing about jobs."""

_SAFE_METHODS: Final = frozenset({"GET", "HEAD", "OPTIONS"})


@lru_cache(maxsize=8)
def digests_of(api_keys: str) -> tuple[bytes, ...]:
    """Return the SHA-256 of every key of a comma-separated list."""
    keys = (key.strip() for key in api_keys.split(","))
    return tuple(sha256(key.encode()).digest() for key in keys if key)


_CLIENT_DIGITS: Final = 16
"""Of a key's SHA-256: enough to tell clients apart, nothing to find the key by."""


async def require_key(request: Request, settings: SettingsDep) -> None:
    """Let a request pass whose bearer key is one of ours, or all when there are none.

    Where there are several keys, each is a client with a share of the queue: see `client_of`.

    Raises:
        Unauthorized: No key, or one that is not known.
    """
    known = digests_of(settings.api_keys)
    if not known or getattr(request.scope.get("route"), "path", None) in OPEN_PATHS:
        return
    scheme, _, key = request.headers.get("authorization", "").partition(" ")
    # Header text is Latin-1 to Starlette; the bytes are what the client typed.
    given = sha256(key.strip().encode("latin-1")).digest()
    # Digests have one length, and every one is compared: time tells nothing about a key.
    matches = [hmac.compare_digest(given, digest) for digest in known]
    if scheme.lower() != "bearer" or not any(matches):
        raise Unauthorized("Send the header Authorization: Bearer <key>")
    if len(known) > 1:
        request.state.client = given.hex()[:_CLIENT_DIGITS]


def client_of(request: Request) -> str:
    """Return who asks, by the digest of the key; "" where there is but one client."""
    client: str = getattr(request.state, "client", "")
    return client


async def refuse_cross_site(request: Request) -> None:
    """Refuse what a browser sends from a foreign page without asking this service first.

    application/json cannot be sent so: it needs a preflight, which this service never grants.

    Raises:
        CrossSiteRequest: The page belongs to another origin.
    """
    if request.method in _SAFE_METHODS:
        return
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type == "application/json":
        return
    origin = request.headers.get("origin")
    if is_cross_site(request) or (origin is not None and not _is_own(origin, request)):
        raise CrossSiteRequest("A page of another origin must send Content-Type: application/json")


def is_cross_site(request: Request) -> bool:
    """Tell whether a browser says that a page of another site makes it ask."""
    return request.headers.get("sec-fetch-site", "").lower() == "cross-site"


def _is_own(origin: str, request: Request) -> bool:
    """Compare host and port only: a proxy in front may have ended TLS."""
    try:
        place = urlsplit(origin).netloc.lower()
    except ValueError:
        # "http://[" and the like: no browser sends them.
        return False
    return place == request.headers.get("host", "").lower() != ""
