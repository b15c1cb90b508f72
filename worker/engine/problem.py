"""The points of a spec as tensors, drawn or given, and where the search begins.

One generator is seeded and draws the data first and the start after them, as a script does that
calls torch.manual_seed once. This file knows no optimizer and takes no step.
"""

from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor

from app.domain.data import LARGEST, Columns, Floats, Generated, Generator, Preset
from app.domain.errors import EngineFault, JobErrorType
from app.domain.presets import DATA_PRESET_POINTS
from app.domain.spec import ComparisonSpec, FitSpec, Start
from worker.engine.exact import Bowl, solve

DTYPES: Final = {"float32": torch.float32, "float64": torch.float64}


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """What every run of a job shares.

    Attributes:
        x: Abscissae in the run's dtype, shape (n, 1, 1) as in the question, on the run's device.
        y: Ordinates, likewise.
        start: Where the search begins.
        bowl: The exact answer and its surroundings.
    """

    x: Tensor
    y: Tensor
    start: Start
    bowl: Bowl


def load(spec: FitSpec | ComparisonSpec, *, columns: Columns | None, device: torch.device) -> Task:
    """Draw or read the points, round them to the run's dtype, and solve them exactly.

    Args:
        spec: What to run.
        columns: The points when the spec only names them.
        device: Where the loop will run.

    Raises:
        EngineFault: The points do not fit the dtype.
    """
    x, y, generator = _points(spec, columns)
    dtype = DTYPES[spec.dtype]
    x, y = x.to(dtype), y.to(dtype)
    _check_range(x, y, dtype=dtype)
    return Task(
        x=x.reshape(-1, 1, 1).to(device),
        y=y.reshape(-1, 1, 1).to(device),
        start=spec.init if isinstance(spec.init, Start) else draw_start(generator),
        bowl=solve(x.double(), y.double()),
    )


def draw_start(generator: torch.Generator) -> Start:
    """Draw what nn.Linear(1, 1) draws: weight, then bias, both float32."""
    weight, bias = torch.empty(1, 1), torch.empty(1)
    torch.nn.init.kaiming_uniform_(weight, a=5**0.5, generator=generator)
    torch.nn.init.uniform_(bias, -1.0, 1.0, generator=generator)
    return Start(a=weight.item(), b=bias.item())


def _points(
    spec: FitSpec | ComparisonSpec, columns: Columns | None
) -> tuple[Tensor, Tensor, torch.Generator]:
    """Return x, y, and the generator that draws the start."""
    data = spec.data if columns is None else columns
    if isinstance(data, Columns):
        generator = torch.Generator().manual_seed(spec.seed)
        return _to_tensor(data.x), _to_tensor(data.y), generator
    if not isinstance(data, Preset | Generated):
        raise EngineFault("The job's points are missing", error_type=JobErrorType.INTERNAL)
    own_seed = data.seed if isinstance(data, Preset) else data.generate.seed
    seed = spec.seed if own_seed is None else own_seed
    generator = torch.Generator().manual_seed(seed)
    if isinstance(data, Preset):
        x, y = _draw_preset(data.preset, generator)
        x, y = x[: data.points], y[: data.points]
    else:
        x, y = draw_points(data.generate, generator)
    if seed != spec.seed:
        generator = torch.Generator().manual_seed(spec.seed)
    return x, y, generator


def _to_tensor(column: Floats) -> Tensor:
    return torch.frombuffer(column, dtype=torch.float64).clone()


def _draw_preset(name: str, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    count = DATA_PRESET_POINTS[name]
    if name == "classic":
        # float32, as the question draws them.
        x = torch.randn(count, 1, 1, generator=generator)
        return x, x.clone()
    x = torch.randn(count, 1, 1, dtype=torch.float64, generator=generator)
    if name == "far":
        x = x + 1e6
    noise = torch.randn(count, 1, 1, dtype=torch.float64, generator=generator)
    y = 2.0 * x + 1.0 + 0.1 * noise
    if name == "outliers":
        y[9::10] += 10.0
    return x, y


def draw_points(rule: Generator, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Draw the points of a rule, shape (n, 1, 1) each, float64."""
    shape = (rule.n, 1, 1)
    if isinstance(rule.x, str):
        x = torch.randn(shape, dtype=torch.float64, generator=generator)
    else:
        low, high = rule.x
        x = low + (high - low) * torch.rand(shape, dtype=torch.float64, generator=generator)
    noise = torch.randn(shape, dtype=torch.float64, generator=generator)
    return x, rule.a * x + rule.b + rule.noise * noise


def _check_range(x: Tensor, y: Tensor, *, dtype: torch.dtype) -> None:
    # Specs are checked for this; a number that slips through must not end as a NaN.
    largest = max(float(x.abs().max()), float(y.abs().max()))
    if not largest <= LARGEST:
        raise EngineFault(
            f"The points do not fit {str(dtype).removeprefix('torch.')}: ask for smaller numbers",
            error_type=JobErrorType.INTERNAL,
        )
