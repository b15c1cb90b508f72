"""Outlives a `fitjobs up` that was killed, and ends the children that it left behind.

It reads lines "GROUP GRACE_SECONDS ORDER" and "GROUP gone" from its standard input, which the
parent holds open. When the parent dies, for whatever reason, the input ends; this works without
prctl, so on macOS too. The inherited lock stays held until the last child is gone.
"""

import signal
import sys
from collections.abc import Iterable
from functools import partial

from app.embedded import group


def read_groups(lines: Iterable[str]) -> dict[int, tuple[float, int]]:
    """Return the groups that are left when the lines end, each with its grace and its order."""
    groups: dict[int, tuple[float, int]] = {}
    for line in lines:
        match line.split():
            case [leader, "gone"]:
                groups.pop(int(leader), None)
            case [leader, grace, order]:
                groups[int(leader)] = (float(grace), int(order))
            case _:
                # The parent died in the middle of a line.
                continue
    return groups


def main() -> None:
    """Wait for the parent's end, then end what is left in order."""
    for name in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(name, signal.SIG_IGN)
    groups = read_groups(sys.stdin)
    for leader, (grace, _) in sorted(groups.items(), key=lambda item: item[1][1]):
        # Its new parent, init, reaps it: so its end can be seen from here.
        group.end(leader, grace_seconds=grace, leader_is_alive=partial(group.is_alive, leader))


if __name__ == "__main__":
    main()
