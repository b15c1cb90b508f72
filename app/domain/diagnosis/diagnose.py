"""All that can be said of a job: what is true of every run first, then each run's own reasons."""

from collections.abc import Callable, Iterator, Sequence
from typing import Final

from app.domain.diagnosis.adaptive import root_stall, too_short_a_walk
from app.domain.diagnosis.case import Case
from app.domain.diagnosis.data import ill_conditioned, of_points
from app.domain.diagnosis.entry import Diagnosis
from app.domain.diagnosis.floor import of_floats, pulled_to_zero
from app.domain.diagnosis.loop import (
    never_zeroed,
    still_falling,
    stop_out_of_reach,
    stopped_early,
)
from app.domain.diagnosis.sgd import batch_noise, too_fast, too_slow
from app.domain.kinds import AnySpec, ManyRuns
from app.domain.outcome import Outcome
from app.domain.spec import ComparisonSpec, Start, run_specs

Rule = Callable[[Case], Diagnosis | None]

# Only the first that speaks is told: those after it would explain the same gap less well.
_CAUSES: Final[tuple[Rule, ...]] = (
    too_fast,
    stopped_early,
    pulled_to_zero,
    of_floats,
    batch_noise,
    too_short_a_walk,
    root_stall,
    too_slow,
)
_LAST: Final[tuple[Rule, ...]] = (still_falling,)


def diagnose(
    spec: AnySpec, outcome: Outcome | None, *, is_foreseen: bool = False
) -> tuple[Diagnosis, ...]:
    """Return what can be said of a job's runs, causes before symptoms; nothing of very many.

    Args:
        spec: What was asked for.
        outcome: What came out; None says nothing.
        is_foreseen: Whether it is a forecast.
    """
    if outcome is None or outcome.exact is None or outcome.problem is None:
        return ()
    if isinstance(spec, ManyRuns):
        return ()
    several = isinstance(spec, ComparisonSpec)
    start = outcome.start or (spec.init if isinstance(spec.init, Start) else None)
    cases = [
        Case(
            spec=fit,
            run=run,
            problem=outcome.problem,
            exact=outcome.exact,
            start=start,
            in_comparison=several,
            is_foreseen=is_foreseen,
        )
        for (_, fit), run in zip(run_specs(spec), outcome.runs, strict=False)
    ]
    if not cases:
        return ()
    single = [
        found.model_copy(update={"label": case.run.label}) if several else found
        for case in cases
        for found in _of_run(case)
    ]
    return (*_of_all(cases), *single)


def _of_all(cases: Sequence[Case]) -> Iterator[Diagnosis]:
    """Say what is true of every run: it lies in the data or in the loop."""
    if not cases[0].spec.zero_grad:
        yield never_zeroed(cases)
    yield from of_points(cases[0])


def _of_run(case: Case) -> Iterator[Diagnosis]:
    """Say what is true of one run; a loop that never zeroes hides all of it."""
    if not case.spec.zero_grad or case.spec.loss != "mse":
        return
    valley = _ask(ill_conditioned, case)
    if valley is not None:
        yield valley
    own = next(filter(None, (_ask(rule, case) for rule in _CAUSES)), None)
    if own is None and valley is None:
        own = next(filter(None, (_ask(rule, case) for rule in _LAST)), None)
    if own is not None:
        yield own
    never = _ask(stop_out_of_reach, case)
    if never is not None:
        yield never


def _ask(rule: Rule, case: Case) -> Diagnosis | None:
    """Return what a rule says; nothing where its formula leaves the floats."""
    try:
        return rule(case)
    except (ArithmeticError, ValueError):
        # The logarithm of a part that has vanished, the whole part of a NaN.
        return None
