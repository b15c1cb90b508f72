"""One thread, as in a worker process: more would add up in another order. And compiled rules."""

import pytest
import torch

from app.settings import Settings
from worker.engine.rules.kernels import Kernels


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def kernels() -> Kernels:
    """All compiled rules, where workers keep them; what is missing takes some minutes, once a machine."""
    kernels = Kernels(Settings().kernel_dir)
    kernels.build()
    return kernels
