"""Bounds the memory of this process, so that a job that wants too much fails and nobody else does."""

import resource
import sys


def bound_memory(most_bytes: int) -> None:
    """Let every allocation fail that would take this process's own data above a bound.

    RLIMIT_DATA counts private writable memory, used or only reserved: heap and anonymous mappings,
    not the libraries. What CUDA's driver reserves has not been measured, so a process that opens a
    GPU is not bounded. Where the kernel does not count mappings (macOS), nothing is.

    Args:
        most_bytes: The bound; a lower one that stands already is kept.
    """
    if sys.platform != "linux":
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
    standing = [limit for limit in (soft, hard) if limit != resource.RLIM_INFINITY]
    resource.setrlimit(resource.RLIMIT_DATA, (min([most_bytes, *standing]), hard))
