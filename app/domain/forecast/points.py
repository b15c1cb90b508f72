"""Where a job will begin: its points as its dtype holds them, and its start, drawn as torch draws."""

from typing import Final

from app.domain.data import Columns, Floats, Generated, Preset
from app.domain.forecast.draw import Twister, draw_points, draw_start, round_to
from app.domain.presets import DATA_PRESET_POINTS
from app.domain.spec import ComparisonSpec, FitSpec, Start

MOST_POINTS: Final = 20_000
"""Points that are looked at before a job runs, all of them or none: a few 10 ms in plain Python."""


def foresee(
    spec: FitSpec | ComparisonSpec, columns: Columns | None
) -> tuple[Floats, Floats, Start] | None:
    """Return x, y and the start of every run; None for more points than are looked at.

    Args:
        spec: What will run.
        columns: The points when the spec only names them.
    """
    data = spec.data if columns is None else columns
    if isinstance(data, Columns):
        if len(data.x) > MOST_POINTS:
            return None
        x, y, twister = data.x, data.y, Twister(spec.seed)
    elif isinstance(data, Preset | Generated):
        if _count(data) > MOST_POINTS:
            return None
        own = data.seed if isinstance(data, Preset) else data.generate.seed
        seed = spec.seed if own is None else own
        twister = Twister(seed)
        x, y = draw_points(data, twister)
        if seed != spec.seed:
            twister = Twister(spec.seed)
    else:
        return None
    start = spec.init if isinstance(spec.init, Start) else draw_start(twister)
    if spec.dtype == "float32":
        a, b = round_to(type(x)("d", (start.a, start.b)), "float32")
        start = Start(a=a, b=b)
    return round_to(x, spec.dtype), round_to(y, spec.dtype), start


def _count(data: Preset | Generated) -> int:
    return DATA_PRESET_POINTS[data.preset] if isinstance(data, Preset) else data.generate.n
