"""Looks at the append-only file of a private Redis: what is wrong with it, and what a person can do.

Redis itself starts with less, even with nothing, and says so to nobody, when the manifest or the
whole folder is missing or a base is empty. It does not know how Redis is started.
"""

import re
import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

EMPTY_DUMP_BYTES: Final = 100
"""A file of Redis's own format without any key has 88."""

_NAME: Final = "appendonly.aof"
_REFUSALS: Final = (
    # What Redis 7 and 8 write to their log, what it means, whether redis-check-aof can mend it.
    (r"Bad file format reading the append only file (?P<name>\S+):", "is damaged", True),
    (r"Unknown command '.*' reading the append only file (?P<name>\S+)", "is damaged", True),
    (r"Unable to obtain the AOF file (?P<name>\S+) length", "is missing", False),
    (r"AOF manifest|AOF MANIFEST", "has a manifest that cannot be read", False),
    (r"Short read or OOM loading DB|error in RDB|RDB CRC error", "has a damaged base", False),
)
_CUT_OFF: Final = re.compile(r"Truncating the AOF (\S+) at offset (\d+)")


@dataclass(frozen=True, slots=True, kw_only=True)
class AppendOnlyFile:
    """The files in which a private Redis keeps its data.

    Attributes:
        directory: Redis's own, absolute.
        binary: Path of redis-server, which is redis-check-aof under another name.
    """

    directory: Path
    binary: str

    @property
    def folder(self) -> Path:
        """Where the base, the increments and the manifest are."""
        return self.directory / "appendonlydir"

    @property
    def manifest(self) -> Path:
        """Names the other files in order."""
        return self.folder / f"{_NAME}.manifest"

    @property
    def copy(self) -> Path:
        """The second copy, written each hour and at a clean stop."""
        return self.directory / "dump.rdb"

    @property
    def is_left_to_copy(self) -> bool:
        """Whether there is only the hourly copy: somebody has moved the folder away."""
        return not self.manifest.exists() and not self._parts() and self._has_copy()

    def find_flaw(self) -> str | None:
        """Return what Redis would pass over in silence, as a sentence; None when nothing is."""
        bases = [part for part in self._parts() if ".base." in part.name]
        for base in bases:
            if base.stat().st_size == 0:
                return f"{base} is empty. {self._advise(can_be_fixed=False)}"
        if not self.manifest.exists() and any(map(_holds, self._parts())):
            return (
                f"{self.manifest} is missing, beside files that it should name. "
                f"{self._advise(can_be_fixed=False)}"
            )
        if self._parts() and self._has_copy() and not any(map(_holds, self._parts())):
            return (
                f"the files in {self.folder} are empty, but the hourly copy is not. "
                f"{self._advise(can_be_fixed=False)}"
            )
        return None

    def explain(self, log: str) -> str | None:
        """Return why Redis refused these files, as a sentence; None when it was something else.

        Args:
            log: What this start has written.
        """
        for pattern, what, can_be_fixed in _REFUSALS:
            if found := re.search(pattern, log):
                where = self.folder / found.groupdict().get("name", "")
                return f"{where} {what}. {self._advise(can_be_fixed=can_be_fixed)}"
        return None

    def doubt(self) -> str | None:
        """Return what looks like a loss, but may be none: Redis was never told of more."""
        for part in self._parts():
            if ".incr." in part.name and not _holds(part) and any(map(_holds, self._parts())):
                return (
                    f"{part} is empty. That is so when Redis died just after it had made it; "
                    "otherwise what was written since its base is lost"
                )
        return None

    def describe_loss(self, log: str) -> str | None:
        """Return what Redis has left out although it started; None when that is nothing.

        Args:
            log: What this start has written.
        """
        found = _CUT_OFF.search(log)
        if found is None:
            return None
        return (
            f"{self.folder / found[1]} ended in the middle of a write and was cut off at byte "
            f"{found[2]}: with fsync always, nothing that was acknowledged stood behind it"
        )

    def describe_copy(self) -> str:
        """Return which time the hourly copy is of."""
        written = time.gmtime(self.copy.stat().st_mtime)
        return f"the hourly copy of {time.strftime('%Y-%m-%d %H:%M', written)} UTC"

    def _parts(self) -> list[Path]:
        return sorted(
            path for path in self.folder.glob(f"{_NAME}.*") if path.name != self.manifest.name
        )

    def _has_copy(self) -> bool:
        return self.copy.exists() and _holds(self.copy)

    def _advise(self, *, can_be_fixed: bool) -> str:
        ways = list[str]()
        if can_be_fixed:
            ways.append(
                "cut off the damage and all that was written after it with "
                f"`{self._check_command()} --fix {self.manifest}`"
            )
        else:
            ways.append("put the folder back from a backup")
        if self._has_copy():
            ways.append(f"move the folder away, and the next start takes {self.describe_copy()}")
        return f"Nothing was changed: copy {self.folder} first, then {', or '.join(ways)}"

    def _check_command(self) -> str:
        found = shutil.which("redis-check-aof")
        return found or f"bash -c 'exec -a redis-check-aof {self.binary} \"$@\"' -"


def _holds(path: Path) -> bool:
    return path.stat().st_size > (0 if path.suffix == ".aof" else EMPTY_DUMP_BYTES)
