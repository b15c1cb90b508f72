"""What a step costs, measured once and rounded: seconds in advance, right to an order of magnitude."""

from typing import Final

BASIS: Final = (
    "Steps times what a step cost on a 2-core x86-64 machine, one thread: torch 500 us and 0.03 us "
    "a point, moments 130 us, rules 0.1 us compiled; 5 ms a run to begin with. The queue is not "
    "counted. An order of magnitude."
)
_BEGIN_SECONDS: Final = 5e-3
_STEP_SECONDS: Final = {"torch": 500e-6, "moments": 130e-6, "rules": 0.1e-6}
_POINT_SECONDS: Final = 0.03e-6


def expect_seconds(engine: str, *, steps: int, points: int) -> float:
    """Return about how long a run takes, to two digits.

    Args:
        engine: One of engines.ENGINES.
        steps: That it makes.
        points: That a step of the plain loop looks at.
    """
    step = _STEP_SECONDS[engine] + (_POINT_SECONDS * points if engine == "torch" else 0.0)
    return float(f"{_BEGIN_SECONDS + steps * step:.2g}")
