"""The line at the bottom of a terminal that says how a long run stands."""

import sys
import time
from typing import Final

_QUIET_SECONDS: Final = 15.0
"""A log, which keeps every line, gets one this often."""


class Terminal:
    """Rewrites one line on a terminal; elsewhere writes one now and then."""

    def __init__(self) -> None:
        self._is_live = sys.stdout.isatty()
        self._written_at = 0.0

    def tell(self, line: str) -> None:
        """Show how it stands."""
        if self._is_live:
            sys.stdout.write(f"\r\x1b[K{line}")
        elif time.monotonic() - self._written_at >= _QUIET_SECONDS:
            sys.stdout.write(f"{line}\n")
            self._written_at = time.monotonic()
        sys.stdout.flush()

    def say(self, text: str) -> None:
        """Write something that stays."""
        sys.stdout.write(f"\r\x1b[K{text}\n" if self._is_live else f"{text}\n")
        sys.stdout.flush()
