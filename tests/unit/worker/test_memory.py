"""A process that may have so much memory and no more; each test in a process of its own."""

import subprocess
import sys

import pytest

pytestmark = pytest.mark.skipif(
    sys.platform != "linux", reason="only Linux counts mappings in RLIMIT_DATA"
)

BOUND = 2**29


def run(code: str) -> str:
    given = f"from worker.memory import bound_memory; bound_memory({BOUND})\n{code}"
    ran = subprocess.run(
        [sys.executable, "-c", given], capture_output=True, text=True, check=True, timeout=60
    )
    return ran.stdout.strip()


def test_allocation_within_the_bound_works() -> None:
    assert run(f"print(len(bytearray({BOUND // 2})))") == str(BOUND // 2)


def test_allocation_above_the_bound_is_a_memory_error() -> None:
    assert run(f"try: bytearray({BOUND})\nexcept MemoryError: print('refused')") == "refused"


def test_lower_bound_that_stands_is_kept() -> None:
    code = f"""
import resource
resource.setrlimit(resource.RLIMIT_DATA, ({BOUND // 2}, {BOUND // 2}))
bound_memory({BOUND})
print(resource.getrlimit(resource.RLIMIT_DATA))
"""

    assert run(code) == str((BOUND // 2, BOUND // 2))


@pytest.mark.slow
def test_torch_above_the_bound_is_out_of_memory() -> None:
    code = f"""
import torch
from worker.engine.faults import translated
from app.domain.errors import EngineFault
try:
    with translated(torch.device("cpu")):
        torch.zeros({BOUND} // 8, dtype=torch.float64)
except EngineFault as fault:
    print(fault.error_type)
"""

    assert run(code) == "out-of-memory"
