"""`python -m worker.compile`: compiles the update rules for this machine, where that is left to do.

A worker starts it beside itself, at the lowest priority, so that no job ever waits for a compiler;
`--all-cores` is for whoever waits for it.
"""

import os
import sys
import time
from collections.abc import Sequence

from app.settings import Settings
from worker.engine.rules.kernels import Kernels


def main(words: Sequence[str] = ()) -> int:
    """Build what is missing and return the exit status: 0 all are there, 1 they cannot be kept."""
    os.nice(19)
    directory = Settings().kernel_dir
    kernels = Kernels(directory)
    started = time.monotonic()
    count = len(kernels.missing)
    try:
        kernels.build(_tell, processes=_count_cores() if "--all-cores" in words else 1)
    except OSError as error:
        sys.stderr.write(
            f"kernels: {directory} cannot be written ({error.strerror}): plain Python runs the "
            "rules, about 25 times slower; FITJOBS_KERNEL_DIR names another directory\n"
        )
        return 1
    seconds = time.monotonic() - started
    word = f"{count} built in {seconds:.0f} s" if count else "all there"
    sys.stdout.write(f"kernels: {word}, in {directory}\n")
    return 0


def _count_cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _tell(name: str, left: int) -> None:
    sys.stdout.write(f"kernels: compiling {name}, {left} to go\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
