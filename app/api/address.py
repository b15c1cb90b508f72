"""The service's own address as the client sees it, for commands that people paste."""

import re
from typing import Final

from fastapi import Request

# A Host header is the client's own text; only what an address can hold gets into a command.
_ADDRESS: Final = re.compile(r"https?://[A-Za-z0-9._:\[\]-]{1,255}(/[A-Za-z0-9._~/-]{0,200})?")


def base_of(request: Request) -> str:
    """Return e.g. "http://localhost:8000", without a slash at the end."""
    base = str(request.base_url).rstrip("/")
    return base if _ADDRESS.fullmatch(base) else "http://localhost:8000"
