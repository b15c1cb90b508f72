"""The C loop, built by the machine's own compiler when it has one, and called by ctypes."""

import ctypes
import os
import shutil
import subprocess
import tempfile
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from benchmarks.bowl import Moments

SOURCE: Final = Path(__file__).with_name("loop.c")
# errno and traps change no result; without the two words gcc keeps sqrt out of vectors.
FLAGS: Final = ("-O3", "-march=native", "-fno-math-errno", "-fno-trapping-math", "-shared", "-fPIC")
MISSING: Final = "no C compiler here"

Column = NDArray[np.float64]
_POINTER: Final = ctypes.POINTER(ctypes.c_double)
_SIZE: Final = ctypes.c_ssize_t


class CLoop:
    """The functions of loop.c on numpy arrays."""

    def __init__(self, library: ctypes.CDLL) -> None:
        self._fit = library.fit_adam
        self._fit.argtypes = [_POINTER, ctypes.c_double, _SIZE, _POINTER, _POINTER]
        self._lanes = library.fit_adam_lanes
        self._lanes.argtypes = [*[_POINTER] * 4, *[_SIZE] * 4, _POINTER]
        self._sum = library.sum_moments
        self._sum.argtypes = [_POINTER, _POINTER, _SIZE, _POINTER]
        for function in (self._fit, self._lanes, self._sum):
            function.restype = None

    def fit(self, moments: Moments, *, line: Column, lr: float, losses: Column) -> None:
        """Make one run.

        Args:
            moments: The bowl.
            line: Start, shape (2,); moved to where the run ends.
            lr: Learning rate.
            losses: Filled; shape (steps + 1,).
        """
        self._fit(_at(_bowl(moments)), lr, len(losses) - 1, _at(losses), _at(line))

    def fit_lanes(
        self,
        moments: Moments,
        *,
        a: Column,
        b: Column,
        lr: Column,
        losses: Column,
        threads: int = 1,
    ) -> None:
        """Make K runs, one learning rate each.

        Args:
            moments: The bowl.
            a: Slopes, shape (K,); moved.
            b: Intercepts, shape (K,); moved.
            lr: Learning rates, shape (K,).
            losses: Filled; shape (steps + 1, K).
            threads: How many share the lanes.
        """
        steps, runs = losses.shape[0] - 1, losses.shape[1]
        bowl = _bowl(moments)

        def fit_range(first: int, last: int) -> None:
            self._lanes(_at(bowl), _at(a), _at(b), _at(lr), first, last, runs, steps, _at(losses))

        edges = [runs * part // threads for part in range(threads + 1)]
        if threads == 1:
            fit_range(0, runs)
            return
        # ctypes lets go of the interpreter's lock while C runs.
        list(_pool(threads).map(fit_range, edges[:-1], edges[1:]))

    def sum_moments(self, x: Column, y: Column) -> Column:
        """Return mean x, mean y, variance x, covariance and variance y after one pass."""
        out = np.empty(5)
        self._sum(_at(x), _at(y), len(x), _at(out))
        return out


def find_compiler() -> str | None:
    """Return the path of the C compiler that CC names, else of cc; None when there is none."""
    return shutil.which(os.environ.get("CC", "cc"))


@cache
def _pool(threads: int) -> ThreadPoolExecutor:
    """Return threads that are started once and not for each call."""
    return ThreadPoolExecutor(threads)


@cache
def build() -> CLoop | None:
    """Compile loop.c for this very processor; None when there is no compiler or it fails."""
    compiler = find_compiler()
    if compiler is None:
        return None
    with tempfile.TemporaryDirectory() as directory:
        library = Path(directory, "loop.so")
        command = [compiler, *FLAGS, "-o", str(library), str(SOURCE), "-lm"]
        if subprocess.run(command, check=False).returncode != 0:  # noqa: S603 - the system's compiler
            return None
        # The mapping outlives the file.
        return CLoop(ctypes.CDLL(str(library)))


def _bowl(moments: Moments) -> Column:
    fields = (moments.mean_x, moments.variance_x, moments.a, moments.b, moments.loss)
    return np.array(fields, dtype=np.float64)


def _at(column: Column) -> Any:  # noqa: ANN401 - ctypes has no narrower word for a pointer
    return column.ctypes.data_as(_POINTER)
