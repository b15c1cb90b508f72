"""The quick passes give the exact answer that torch's sums give, over data that are hard to sum."""

import math
from collections.abc import Iterator

import numba
import pytest
import torch

from worker.engine import exact
from worker.engine.exact import Bowl, solve
from worker.engine.moments_pass import Passes, install, residual_pass, sum_pass

PLAIN = Passes(sums=sum_pass, residuals=residual_pass)


def _normal(count: int, seed: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(count, dtype=torch.float64, generator=generator)


X, NOISE = _normal(300, 1), _normal(300, 2)
FAR = 1e6 + X
DATA: dict[str, tuple[torch.Tensor, torch.Tensor]] = {
    "noisy": (X, 2.0 * X + 1.0 + 0.1 * NOISE),
    "x far": (FAR, 2.0 * FAR + 1.0 + 0.1 * NOISE),
    "no noise": (torch.arange(300.0, dtype=torch.float64) / 1024, torch.arange(300.0).double()),
    "noise at the roundings": (X, 3.0 * X - 0.1),
    "uncorrelated": (X, NOISE),
    "sorted": (X.sort().values, NOISE.sort().values),
    "outlier": (torch.cat([X, torch.tensor([1e5]).double()]), torch.cat([NOISE, X[:1]])),
    "steps": (torch.cat([X, 1e5 + X]), torch.cat([NOISE, NOISE])),
    "x nearly constant": (1.0 + 1e-15 * torch.arange(300.0).double(), NOISE),
    "x constant": (torch.full((300,), 0.1, dtype=torch.float64), NOISE),
    "y constant": (X, torch.full((300,), 0.1, dtype=torch.float64)),
    "one point": (X[:1], NOISE[:1]),
    "two points": (X[:2], NOISE[:2]),
    "65 points": (X[:65], NOISE[:65]),
    "wide": (X**9, X**7),
    "x tiny": (1e-150 * X, NOISE),
    "y tiny": (X, 1e-150 * NOISE),
    "both small": (1e-50 * X, 1e-55 * NOISE),
    "x large": (1e149 * X, NOISE),
    "both large": (1e50 * X, 1e55 * NOISE),
    "near the limits": (1e149 * X, 1e149 * NOISE),
}


def compiled() -> Passes:
    options = {"error_model": "numpy", "nogil": True}
    return Passes(
        sums=numba.njit("f8[:,::1](f8[::1],f8[::1],f8,f8)", **options)(sum_pass),
        residuals=numba.njit("f8[::1](f8[::1],f8[::1],UniTuple(f8,5))", **options)(residual_pass),
    )


@pytest.fixture(scope="module", name="fast")
def _fast() -> Passes:
    return compiled()


@pytest.fixture(autouse=True)
def _torch_afterwards() -> Iterator[None]:
    yield
    install(None)


def by(passes: Passes | None, x: torch.Tensor, y: torch.Tensor) -> Bowl:
    install(passes)
    return solve(x, y)


def ulps(one: float, other: float) -> float:
    return 0.0 if one == other else abs(one - other) / math.ulp(max(abs(one), abs(other)))


def assert_same(one: Bowl, other: Bowl) -> None:
    a, b = one.exact, other.exact

    assert (a.a, a.b, a.unique, a.method) == (b.a, b.b, b.unique, b.method)
    # Torch adds up rounded squares of residuals, the passes do not round them: both are within
    # the few roundings that a mean of squares takes.
    assert ulps(a.loss, b.loss) <= 4
    assert (a.r2 is None) == (b.r2 is None)
    assert ulps(a.r2 or 0.0, b.r2 or 0.0) <= 1
    assert (a.standard_errors is None) == (b.standard_errors is None)
    if a.standard_errors is not None and b.standard_errors is not None:
        assert ulps(a.standard_errors.a, b.standard_errors.a) <= 4
        assert ulps(a.standard_errors.b, b.standard_errors.b) <= 4
    for mine, theirs in zip(one.problem, other.problem, strict=True):
        if isinstance(mine[1], float) and isinstance(theirs[1], float):
            assert ulps(mine[1], theirs[1]) <= 2, mine[0]
    assert ulps(one.deviation_x, other.deviation_x) <= 1
    assert ulps(one.variance_y, other.variance_y) <= 1
    # The digits 17 to 32 of the line: what two orders of addition make of the last of them.
    assert abs(one.remainder_a - other.remainder_a) <= 1e-8 * math.ulp(a.a)
    assert abs(one.remainder_b - other.remainder_b) <= 1e-8 * (math.ulp(a.b) + math.ulp(a.a))


@pytest.mark.parametrize("name", DATA)
def test_passes_agree_with_torch(name: str, fast: Passes) -> None:
    x, y = DATA[name]

    assert_same(by(None, x, y), by(fast, x, y))


@pytest.mark.parametrize("name", ["noisy", "x far", "no noise", "65 points", "one point"])
def test_text_as_it_stands_gives_what_its_compiled_form_gives(name: str, fast: Passes) -> None:
    x, y = (values.numpy() for values in DATA[name])
    line = (0.1, 0.2, 2.0, 1e-17, 0.3)

    assert (sum_pass(x, y, 0.1, 0.2) == fast.sums(x, y, 0.1, 0.2)).all()
    assert (residual_pass(x, y, line) == fast.residuals(x, y, line)).all()


@pytest.mark.parametrize("name", ["noisy", "x far", "noise at the roundings", "both large"])
def test_passes_are_used_where_they_can_be(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(exact, "_TorchSums")

    assert by(PLAIN, *DATA[name]).exact.unique


def test_a_million_points_are_summed_without_drift(fast: Passes) -> None:
    x = torch.arange(1_000_000, dtype=torch.float64) / 1024
    answer = by(fast, x, 3.0 * x - 7.0).exact

    assert (answer.a, answer.b, answer.loss, answer.r2) == (3.0, -7.0, 0.0, 1.0)
