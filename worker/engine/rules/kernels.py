"""Compiled rules on the disk: built beside the service, loaded before a job, never on its path.

numba does the compiling and keeps the machine code beside the text that it was made from. What is
here is which texts there are, and that nothing is compiled by whoever wants to compute: a kernel
that has not been built is simply not there, and plain Python runs the same text.
"""

import fcntl
import hashlib
import importlib
import importlib.util
import os
import platform
import shutil
import sys
import tempfile
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Final, cast, get_args

from app.domain.catalogue import OPTIMIZERS
from worker.engine.moments_pass import Passes, install
from worker.engine.rules.fleet_text import fleet_text
from worker.engine.rules.rule import RULES, Rule
from worker.engine.rules.text import NumberType, compiled_text, passes_text, series_text

_PASSES: Final = "passes"
_SERIES: Final = "series"
_FLEET: Final = "_fleet"
_NUMBERS: Final = cast("tuple[NumberType, ...]", get_args(NumberType))


@dataclass(frozen=True, slots=True, kw_only=True)
class Kernel:
    """The loops around one rule, compiled for one number type.

    Attributes:
        advance: As loop.advance.
        wind: As loop.wind.
        sweep: As loop.sweep.
    """

    advance: Callable[..., tuple[int, int, int, int]]
    wind: Callable[..., None]
    sweep: Callable[..., None]


Fleet = Callable[..., None]
"""As fleet.advance_lanes, compiled for one rule and number type."""

SeriesPass = Callable[..., None]
"""As series_pass.series_pass, compiled."""


class Kernels:
    """All kernels of this machine's processor in one directory.

    Args:
        directory: Where they are kept; made when something is built. Other versions and processors
            may keep theirs in it too.
    """

    def __init__(self, directory: Path) -> None:
        # Unlike Path's own, this leaves a "~" alone where there is no home.
        self._place = Path(os.path.expanduser(directory)) / _key()  # noqa: PTH111
        self._loaded = dict[str, Kernel]()
        self._fleets = dict[str, Fleet]()
        self._series: SeriesPass | None = None

    @property
    def missing(self) -> tuple[str, ...]:
        """The names of those that have not been built."""
        return tuple(stem for stem, _ in _texts() if not self._mark(stem).exists())

    def load(self, rule: Rule, number: NumberType) -> Kernel | None:
        """Return a kernel if it has been built; some milliseconds the first time."""
        stem = f"{rule.name}_{number}"
        kernel = self._loaded.get(stem)
        if kernel is None and self._mark(stem).exists():
            module = _load(self._readable() / f"{stem}.py")
            kernel = self._loaded[stem] = Kernel(
                advance=module.advance, wind=module.wind, sweep=module.sweep
            )
        return kernel

    def load_fleet(self, rule: Rule, number: NumberType) -> Fleet | None:
        """Return the loop of many runs if it has been built; some milliseconds the first time."""
        stem = f"{rule.name}_{number}{_FLEET}"
        fleet = self._fleets.get(stem)
        if fleet is None and self._mark(stem).exists():
            module = _load(self._readable() / f"{stem}.py")
            fleet = self._fleets[stem] = module.advance_lanes
        return fleet

    def load_series(self) -> SeriesPass | None:
        """Return what solves many series if it has been built."""
        if self._series is None and self._mark(_SERIES).exists():
            self._series = _load(self._readable() / f"{_SERIES}.py").series_pass
        return self._series

    def load_all(self) -> int:
        """Load whatever has been built, and return how many rules' kernels that are."""
        if self._mark(_PASSES).exists():
            module = _load(self._readable() / f"{_PASSES}.py")
            install(Passes(sums=module.sum_pass, residuals=module.residual_pass))
        for rule in RULES.values():
            for number in _NUMBERS:
                self.load(rule, number)
        return len(self._loaded)

    def build(
        self,
        tell: Callable[[str, int], None] = lambda _stem, _left: None,
        *,
        processes: int = 1,
    ) -> None:
        """Compile what is missing; some seconds a kernel.

        Args:
            tell: Hears which one is next, and how many are left with it.
            processes: How many compile at the same time; 1 is this one.

        Raises:
            OSError: The directory cannot be written.
        """
        self._place.mkdir(parents=True, exist_ok=True)
        with _alone(self._place / "lock"):
            texts = [(stem, text) for stem, text in _texts() if not self._mark(stem).exists()]
            for stem, text in texts:
                (self._place / f"{stem}.py").write_text(text)
            compiled = _compile([self._place / f"{stem}.py" for stem, _ in texts], processes)
            for done, (stem, _) in enumerate(texts):
                tell(stem, len(texts) - done)
                next(compiled)
                self._mark(stem).touch()

    def _mark(self, stem: str) -> Path:
        return self._place / f"{stem}.built"

    def _readable(self) -> Path:
        """Return a place that numba reads from: it does not trust one that it could not write."""
        if not os.access(self._place, os.W_OK):
            copy = Path(tempfile.mkdtemp(prefix="fitjobs-kernels-"))
            self._place = shutil.copytree(self._place, copy / self._place.name)
        return self._place


def _texts() -> Iterator[tuple[str, str]]:
    """Yield the name and text of every kernel there is, those of single runs first."""
    yield _PASSES, passes_text()
    for rule, count in _rules():
        for number in _NUMBERS:
            yield f"{rule.name}_{number}", compiled_text(rule, number, num_settings=count)
    yield _SERIES, series_text()
    for rule, count in _rules():
        for number in _NUMBERS:
            yield f"{rule.name}_{number}{_FLEET}", fleet_text(rule, number, num_settings=count)


def _rules() -> Iterator[tuple[Rule, int]]:
    """Yield every rule once, and how many settings it has."""
    for name, rule in {rule.name: (cls, rule) for cls, rule in RULES.items()}.values():
        defaults = {
            word: about["default"] for word, about in OPTIMIZERS[name]["hyperparameters"].items()
        }
        yield rule, len(rule.settings(defaults))


def _key() -> str:
    """Return a word for everything that machine code depends on."""
    # Late: half a second that only a worker needs.
    numba: Any = importlib.import_module("numba")
    llvm: Any = importlib.import_module("llvmlite.binding")

    parts = [
        numba.__version__,
        platform.python_version(),
        platform.machine(),
        llvm.get_host_cpu_name(),
        llvm.get_host_cpu_features().flatten(),
        *(text for _, text in _texts()),
    ]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


def _load(path: Path) -> Any:  # noqa: ANN401  # a module that the type checkers cannot see
    """Import a text; numba compiles it unless its machine code lies beside it."""
    name = f"fitjobs_kernel_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ImportError(f"{path} is no module")
    module: Any = importlib.util.module_from_spec(spec)
    # Machine code from the disk looks its module up by name.
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def _compile(paths: list[Path], processes: int) -> Iterator[None]:
    """Have numba compile texts, and come back after each, in their order."""
    if processes == 1:
        yield from map(_touch, paths)
        return
    # Spawned: whoever asks may have threads, and a compiler's memory is not worth a copy.
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
        yield from pool.map(_touch, paths)


def _touch(path: Path) -> None:
    _load(path)


@contextmanager
def _alone(path: Path) -> Generator[None]:
    """Let only one process of this machine into the block at a time."""
    with path.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
