"""Ends process groups: a polite word to the leader, then the kernel's word to all that is left."""

import os
import signal
import threading
import time
from collections.abc import Callable
from typing import Final

_LOOK_SECONDS: Final = 0.02
_KILLED_SECONDS: Final = 5.0


def is_alive(group: int) -> bool:
    """Tell whether any process of the group is left, a zombie included."""
    try:
        os.killpg(group, 0)
    except (ProcessLookupError, PermissionError):
        # macOS answers "not permitted" for a group of zombies.
        return False
    return True


def end(
    group: int,
    *,
    grace_seconds: float,
    leader_is_alive: Callable[[], bool],
    hurry: threading.Event | None = None,
) -> bool:
    """Ask the leader to stop, wait for it, then kill whatever is left of its group.

    Args:
        group: Process group, which is also its leader's process id.
        grace_seconds: How long the leader may take.
        leader_is_alive: Whether to wait on; a parent's version also reaps.
        hurry: Ends the grace when it is set.

    Returns:
        Whether the leader stopped by itself in time.
    """
    _send(os.kill, group, signal.SIGTERM)
    until = time.monotonic() + grace_seconds
    hurry = hurry or threading.Event()
    while leader_is_alive() and time.monotonic() < until and not hurry.wait(_LOOK_SECONDS):
        pass
    stopped = not leader_is_alive()
    kill(group)
    # What the kernel has killed is gone in no time; only then may the next in order be stopped.
    until = time.monotonic() + _KILLED_SECONDS
    while leader_is_alive() and time.monotonic() < until:
        time.sleep(_LOOK_SECONDS)
    return stopped


def kill(group: int) -> None:
    """Kill every process of the group, if there is any."""
    _send(os.killpg, group, signal.SIGKILL)


def _send(send: Callable[[int, int], None], target: int, what: int) -> None:
    try:
        send(target, what)
    except (ProcessLookupError, PermissionError):
        return
