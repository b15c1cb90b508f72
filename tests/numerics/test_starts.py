"""Many starts drawn at once: those of nn.Linear(1, 1) under each seed."""

import numpy as np
import torch

from worker.engine.problem import draw_start
from worker.engine.starts import draw_starts


def test_every_seed_draws_what_torch_draws() -> None:
    seeds = [*range(300), 2**31, 2**32 - 1, 2**32, 2**53 + 1, 2**63 - 1]
    a, b = draw_starts(np.array(seeds, np.uint64))
    expected = [draw_start(torch.Generator().manual_seed(seed)) for seed in seeds]

    assert a.tolist() == [start.a for start in expected]
    assert b.tolist() == [start.b for start in expected]


def test_a_start_does_not_depend_on_its_neighbours() -> None:
    many, _ = draw_starts(np.arange(10_000, dtype=np.uint64))
    few, _ = draw_starts(np.arange(9_990, 10_000, dtype=np.uint64))

    assert many[-10:].tolist() == few.tolist()
