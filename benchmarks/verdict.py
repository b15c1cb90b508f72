"""Rows from ratios: which side of the bound is good, and how times are told."""

from benchmarks.table import Row

_MICROSECOND, _MILLISECOND, _SECOND = 1e-6, 1e-3, 1.0


def faster(case: str, ratio: float, *, least: float, measured: str) -> Row:
    """Return a row whose goal is to be at least so many times as fast."""
    return Row(
        case=case,
        goal=f"{least:,g}x faster",
        measured=measured,
        ratio=ratio,
        passed=ratio >= least,
    )


def within(case: str, ratio: float, *, most: float, measured: str) -> Row:
    """Return a row whose goal is to take at most so many times the peer's time."""
    return Row(
        case=case,
        goal=f"at most {most:g}x its time",
        measured=measured,
        ratio=ratio,
        passed=ratio <= most,
    )


def below(
    case: str, value: float, *, most: float, shown: str, measured: str, ratio: float | None = None
) -> Row:
    """Return a row whose goal is an absolute bound.

    Args:
        case: What was measured.
        value: What was found, in the unit of `most`.
        most: The bound.
        shown: The bound with its unit.
        measured: What was found, in words.
        ratio: To a peer in the same run, for machines of another speed.
    """
    return Row(
        case=case, goal=f"at most {shown}", measured=measured, ratio=ratio, passed=value <= most
    )


def missing(case: str, goal: str, why: str) -> Row:
    """Return a row of something that could not be measured here."""
    return Row(case=case, goal=goal, measured=why, ratio=None, passed=False)


def told(case: str, measured: str, ratio: float | None = None) -> Row:
    """Return a row without a goal."""
    return Row(case=case, goal="", measured=measured, ratio=ratio, passed=True)


def in_words(seconds: float) -> str:
    """Return a duration with three digits and a fitting unit."""
    if seconds < _MICROSECOND:
        return f"{seconds * 1e9:.3g} ns"
    if seconds < _MILLISECOND:
        return f"{seconds * 1e6:.3g} us"
    if seconds < _SECOND:
        return f"{seconds * 1e3:.3g} ms"
    return f"{seconds:,.3g} s"
