"""The border to torch: what torch raises, in the words of the vocabulary."""

from collections.abc import Generator
from contextlib import contextmanager

import torch

from app.domain.errors import EngineFault, JobErrorType


@contextmanager
def translated(device: torch.device) -> Generator[None]:
    """Turn torch's exceptions into EngineFault inside the block.

    Raises:
        EngineFault: Memory is short, the device failed, or torch refused the arguments.
    """
    try:
        yield
    except (torch.OutOfMemoryError, MemoryError) as error:
        raise _out_of_memory(device) from error
    except RuntimeError as error:
        # The CPU allocator has no class of its own, nor has C++'s; their sentences name them.
        if any(name in str(error) for name in ("DefaultCPUAllocator", "bad_alloc")):
            raise _out_of_memory(device) from error
        if device.type != "cpu":
            raise EngineFault(
                f"{device} failed: {_first_line(error)}", error_type=JobErrorType.DEVICE_ERROR
            ) from error
        raise EngineFault(
            f"torch failed: {_first_line(error)}", error_type=JobErrorType.INTERNAL
        ) from error
    except (ArithmeticError, TypeError, ValueError) as error:
        raise EngineFault(
            f"torch refused these settings: {_first_line(error)}", error_type=JobErrorType.INTERNAL
        ) from error


def _out_of_memory(device: torch.device) -> EngineFault:
    return EngineFault(
        f"{device} has not enough memory for this job: send fewer points",
        error_type=JobErrorType.OUT_OF_MEMORY,
    )


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:200]


def find_device(name: str) -> torch.device:
    """Return the device of a name such as "cpu", "cuda" or "cuda:1", with its index.

    Raises:
        EngineFault: This machine has no such device.
    """
    if name == "cpu":
        return torch.device("cpu")
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    device = torch.device(name)
    index = device.index or 0
    if index >= count:
        has = f"{count} CUDA devices" if count != 1 else "1 CUDA device"
        raise EngineFault(
            f"There is no {device.type}:{index} on this worker: torch sees {has}",
            error_type=JobErrorType.DEVICE_ERROR,
        )
    return torch.device("cuda", index)
