"""The question's own script: three optimizers, one after the other, K steps each.

`python -m benchmarks.peers.question_script STEPS` runs it as its author does, in a process of its
own, mistakes included; only the plot is left out. It prints the three last losses.
"""

import subprocess
import sys
import time
from pathlib import Path
from typing import Final

from benchmarks.machine import unpinned

QUESTION_STEPS: Final = 20_000
"""Steps of the question's second figure."""
_ROOT: Final = Path(__file__).resolve().parents[2]


def run(steps: int) -> list[float]:
    """Run the three loops and return their last losses."""
    import torch  # noqa: PLC0415 - the parent, which only waits, has no use for it
    from torch import nn  # noqa: PLC0415

    points = torch.randn(1000, 1, 1)
    last = list[float]()
    for name, settings in (("Adam", {}), ("SGD", {"lr": 0.0001}), ("Adagrad", {})):
        net = nn.Linear(1, 1)
        optimizer = getattr(torch.optim, name)(net.parameters(), **settings)
        losses = list[float]()
        optimizer.zero_grad()
        for _ in range(steps):
            for b in range(1):
                loss = torch.mean((net(points[b, :, :]) - points[b, :, :]) ** 2)
                torch.autograd.backward(loss)
                optimizer.step()
                losses.append(float(loss.detach()))
        last.append(losses[-1])
    return last


def seconds_for(steps: int = QUESTION_STEPS, *, measured_steps: int = 1_000) -> float:
    """Return the wall time of the script as a process, most of it extrapolated.

    It is started twice, with few steps and with `measured_steps` more. The difference is the cost
    of steps, which grows linearly; the rest is the start of Python and torch, which is paid once.

    Args:
        steps: Steps of each optimizer to tell the time for.
        measured_steps: Steps of each optimizer that are really made.
    """
    few = max(1, measured_steps // 10)
    short = _wall_seconds(few)
    long = _wall_seconds(few + measured_steps)
    a_step = max(0.0, long - short) / measured_steps
    return short + a_step * (steps - few)


def _wall_seconds(steps: int) -> float:
    started = time.perf_counter()
    subprocess.run(  # noqa: S603 - our own module
        [sys.executable, "-m", "benchmarks.peers.question_script", str(steps)],
        check=True,
        cwd=_ROOT,
        env=unpinned(),
        stdout=subprocess.DEVNULL,
    )
    return time.perf_counter() - started


if __name__ == "__main__":
    sys.stdout.write(f"{run(int(sys.argv[1]))}\n")
