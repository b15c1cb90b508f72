"""What a sweep comes to: the best, the usable rates, where runs diverge, and every order of them."""

import numpy as np
import numpy.typing as npt

from app.domain.rates import edge_of, first_of_tail, longest_stretch, refine
from app.domain.result import Problem
from app.domain.run_records import NOT_DONE, REASONS
from app.domain.stability import predict_divergence
from app.domain.summary import OptimizerSweep, RunPoint, SweepSummary
from app.domain.sweep import Grid, SweepSpec, fit_of, place_of
from worker.contract import Tally
from worker.engine.bowls import Floats
from worker.engine.orders import Flags, has_converged, order_all
from worker.engine.records import DIVERGED, Records, read_records
from worker.engine.watch import to_finite


def tally_sweep(spec: SweepSpec, raw: bytes, *, problem: Problem, first_heights: Floats) -> Tally:
    """Sum up a sweep.

    Args:
        spec: What was asked for.
        raw: The records of all runs.
        problem: The bowl.
        first_heights: Excess loss of every start, shape (seeds,).
    """
    records = read_records(raw, is_batch=False)
    goals = np.tile(spec.tolerance * first_heights, len(records) // spec.seeds)
    converged = has_converged(records, goals=goals)
    orders = order_all(records, converged=converged)
    ranking = np.frombuffer(orders["rank"], "<i4")
    ranking = ranking[np.isfinite(records["a"][ranking])]
    each = spec.num_rates * spec.seeds
    owners = ranking // each
    optimizers = tuple(
        _sum_up(
            spec,
            place,
            records[place * each : (place + 1) * each],
            converged[place * each : (place + 1) * each],
            best=_first(spec, records, ranking[owners == place]),
            problem=problem,
        )
        for place in range(len(spec.optimizers))
    )
    summary = SweepSummary(
        runs=len(records),
        done=sum(optimizer.runs for optimizer in optimizers),
        converged=sum(optimizer.converged for optimizer in optimizers),
        diverged=sum(optimizer.diverged for optimizer in optimizers),
        best=_first(spec, records, ranking),
        optimizers=optimizers,
    )
    return Tally(summary=summary, orders=orders)


def _sum_up(
    spec: SweepSpec,
    optimizer: int,
    records: Records,
    converged: Flags,
    *,
    best: RunPoint | None,
    problem: Problem,
) -> OptimizerSweep:
    """Sum up the runs of one optimizer."""
    is_done = records["steps"] != NOT_DONE
    diverged = is_done & (records["reason"] == DIVERGED)
    given = np.array(spec.rates)
    rates = np.unique(given)
    # A rate that is listed twice is one rate.
    which = np.repeat(np.searchsorted(rates, given), spec.seeds)
    holds = np.bincount(which, ~converged, len(rates)) == 0
    fails = np.bincount(which, diverged, len(rates)) > 0
    ladder = rates.tolist()
    scale = spec.lr.scale if isinstance(spec.lr, Grid) else "log"
    fit = fit_of(spec, optimizer * len(records))
    return OptimizerSweep(
        label=spec.optimizers[optimizer].label,
        runs=int(is_done.sum()),
        converged=int(converged.sum()),
        diverged=int(diverged.sum()),
        best=best,
        usable=longest_stretch(ladder, holds=holds.tolist()),
        diverges_from=first_of_tail(ladder, holds=fails.tolist()),
        predicted_divergence=predict_divergence(fit, problem),
        edge=None if best is None else edge_of(ladder, best.lr),
        refine=None if best is None else refine(ladder, best.lr, scale=scale),
    )


def _first(spec: SweepSpec, records: Records, ranking: npt.NDArray[np.int32]) -> RunPoint | None:
    """Return the run at the top of a ranking; None when it is empty."""
    if not len(ranking):
        return None
    run = int(ranking[0])
    record, place = records[run], place_of(spec, run)
    reached = int(record["steps_to_tolerance"])
    return RunPoint(
        run=run,
        label=spec.optimizers[place.optimizer].label,
        lr=spec.rates[place.rate],
        seed=spec.seed + place.seed,
        a=to_finite(float(record["a"])),
        b=to_finite(float(record["b"])),
        loss=to_finite(float(record["loss"])),
        excess_loss=to_finite(float(record["excess_loss"])),
        steps=int(record["steps"]),
        steps_to_tolerance=None if reached < 0 else reached,
        stop_reason=REASONS[int(record["reason"])],
    )
