"""Which engines can compute a fit, which of them should, and the sentence that says why.

It decides from the spec alone: no torch, no data, no worker.
"""

from collections.abc import Mapping
from typing import Final, NamedTuple

from app.domain.kinds import AnySpec, contenders_of
from app.domain.spec import FitSpec

ENGINES: Final = ("rules", "moments", "torch")
"""Fastest first; the last one serves everything."""
MIXED: Final = "mixed"
"""What a comparison is said to run on when its runs need different engines."""

RULE_OPTIMIZERS: Final = frozenset(
    {
        *("SGD", "Adam", "AdamW", "Adagrad", "ASGD", "RMSprop"),
        *("Rprop", "Adadelta", "Adamax", "NAdam", "RAdam"),
    }
)
"""Optimizers whose update is written out for one parameter, with every hyperparameter."""

_WITHOUT_RULE: Final[Mapping[str, str]] = {
    "LBFGS": "LBFGS evaluates the loss as often as it likes within a step",
    "Adafactor": "Adafactor scales its steps by the size of the parameters",
    "Muon": "Muon makes the gradient orthogonal as a matrix",
    "SparseAdam": "SparseAdam takes sparse gradients",
}
_AS_ASKED: Final = "asked for by the spec"
_ON_CUDA: Final = "a cuda device was chosen for its own arithmetic, which is the plain torch loop's"
_OF_ALL: Final[Mapping[str, str]] = {
    "rules": "update rules, written out, take the closed-form gradient",
    "moments": "torch.optim is driven by the closed-form gradient",
}
_MOST_LABELS: Final = 3


class Choice(NamedTuple):
    """An engine and why it is the one.

    Attributes:
        name: One of ENGINES, or MIXED.
        reason: One sentence without a full stop.
    """

    name: str
    reason: str


def choose_engine(fit: FitSpec, *, queue: str) -> Choice:
    """Return the engine that a run is for.

    A spec that forces an engine gets it: parse_spec has refused those that cannot have it.

    Args:
        fit: What to run.
        queue: "cpu" or "cuda", where the job was sent.
    """
    if fit.engine != "auto":
        return Choice(fit.engine, _AS_ASKED)
    without_form = _why_no_closed_form(fit)
    if without_form is not None:
        return Choice("torch", f"{without_form}: the plain torch loop looks at every point")
    if queue != "cpu":
        return Choice("torch", _ON_CUDA)
    without_rule = _why_no_rule(fit)
    if without_rule is not None:
        return Choice("moments", f"{without_rule}, which no rule states; {_OF_ALL['moments']}")
    return Choice(
        "rules", f"{fit.optimizer.name}'s rule, written out, takes the closed-form gradient"
    )


def choose_job_engine(spec: AnySpec, *, queue: str) -> Choice:
    """Return the engine of a whole job: that of its runs, or MIXED with a word on each optimizer.

    Args:
        spec: What to run.
        queue: "cpu" or "cuda", where the job was sent.
    """
    choices = [(label, choose_engine(fit, queue=queue)) for label, fit in contenders_of(spec)]
    names = {choice.name for _, choice in choices}
    reasons = {choice.reason for _, choice in choices}
    name = choices[0][1].name
    if len(reasons) == 1:
        return choices[0][1]
    if len(names) == 1:
        return Choice(name, _OF_ALL[name])
    parts = (
        f"{engine} for {_listed([label for label, choice in choices if choice.name == engine])}"
        for engine in ENGINES
        if engine in names
    )
    return Choice(MIXED, "each run has the fastest engine that serves it: " + ", ".join(parts))


def why_not(engine: str, fit: FitSpec) -> str | None:
    """Return why an engine cannot compute a fit, None when it can.

    Args:
        engine: One of ENGINES.
        fit: What to run, as the spec's author wrote it.
    """
    if engine == "torch":
        return None
    if fit.device.startswith("cuda"):
        return f'it computes on cpu, and the spec says "{fit.device}"'
    return _why_no_closed_form(fit) or (_why_no_rule(fit) if engine == "rules" else None)


def looks_at_every_point(spec: AnySpec) -> bool:
    """Tell whether a step costs more the more points there are: only the plain loop can serve."""
    return all(choose_engine(fit, queue="cpu").name == "torch" for _, fit in contenders_of(spec))


def refusals(spec: AnySpec) -> tuple[str, ...]:
    """Return a sentence for each reason why the engine that a spec forces cannot run it.

    Those of several optimizers name the ones that stand in the way, unless all of them do.
    """
    if spec.engine == "auto":
        return ()
    found: dict[str, list[str]] = {}
    for label, fit in contenders_of(spec):
        reason = why_not(spec.engine, fit)
        if reason is not None:
            found.setdefault(reason, []).append(label)
    return tuple(
        f'Engine "{spec.engine}" cannot run {_named(spec, labels)}: {reason}'
        for reason, labels in found.items()
    )


def servers(spec: AnySpec) -> tuple[str, ...]:
    """Return the engines that can compute every run of a spec, fastest first."""
    fits = [fit for _, fit in contenders_of(spec)]
    return tuple(name for name in ENGINES if all(why_not(name, fit) is None for fit in fits))


def _why_no_closed_form(fit: FitSpec) -> str | None:
    return None if fit.loss == "mse" else f"the gradient of {fit.loss} has no closed form"


def _why_no_rule(fit: FitSpec) -> str | None:
    """Return what no rule states, None when there is a rule for everything that the fit asks."""
    optimizer, scheduler = fit.optimizer.name, fit.scheduler
    if optimizer not in RULE_OPTIMIZERS:
        return _WITHOUT_RULE.get(optimizer, f"{optimizer} has a way of its own")
    if scheduler is None:
        return None
    if scheduler.name == "ReduceLROnPlateau":
        return "ReduceLROnPlateau sets the learning rate by the loss"
    # The spec has none of it where the optimizer has no momentum: check_pair refuses that.
    if scheduler.hyperparameters.get("cycle_momentum", False):
        return f"{scheduler.name} moves the momentum with the learning rate"
    return None


def _named(spec: AnySpec, labels: list[str]) -> str:
    every = len(contenders_of(spec))
    is_all = len(labels) == every and (every > 1 or spec.kind in {"fit", "batch"})
    return f"this {spec.kind}" if is_all else _listed(labels)


def _listed(labels: list[str]) -> str:
    """Return some labels as a list that stays short."""
    shown = [f'"{label}"' for label in labels[:_MOST_LABELS]]
    more = len(labels) - len(shown)
    if more:
        return f"{', '.join(shown)} and {more} more"
    return " and ".join(filter(None, [", ".join(shown[:-1]), shown[-1]]))
