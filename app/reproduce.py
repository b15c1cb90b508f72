"""Writes a fit as a stand-alone torch script: the plain loop, without this service.

Pure text: it runs nothing and knows no torch. The engine's own loop makes the same torch calls
in the same order, which is why the numbers are equal bit for bit; tests/numerics holds both.
"""

from collections.abc import Iterator, Sequence
from typing import Final

from app.domain.catalogue import OPTIMIZERS, SCHEDULERS, TORCH_VERSION
from app.domain.data import Columns, Generated, Generator, Preset
from app.domain.history import stride_for
from app.domain.optimizers import OptimizerSpec, SchedulerSpec
from app.domain.presets import DATA_PRESET_POINTS
from app.domain.spec import FitSpec, Start

EMBEDDED_POINTS: Final = 1000
"""More points than this are read from a file: nobody scrolls past them."""

_LOSSES: Final = {
    "mse": "torch.mean(({line} - {y}) ** 2)",
    "l1": "torch.nn.functional.l1_loss({line}, {y})",
    "huber": "torch.nn.functional.huber_loss({line}, {y})",
    "smooth_l1": "torch.nn.functional.smooth_l1_loss({line}, {y})",
}
_CLOSURES: Final = frozenset({"LBFGS"})


def make_script(spec: FitSpec, points: Columns | None, *, lr: float | None = None) -> str:
    """Return a script that prints what the job recorded: step,loss,a,b rows, then the result.

    Args:
        spec: The resolved spec.
        points: The job's points when the spec's data are given ones; None otherwise.
        lr: The learning rate that the job used; tells the number behind "auto".
    """
    return "\n".join(_Writer(spec, points, lr=lr).lines()) + "\n"


class _Writer:
    """Writes one script, section by section, and only what the spec needs."""

    def __init__(self, spec: FitSpec, points: Columns | None, *, lr: float | None) -> None:
        self._spec = spec
        self._points = points if points is not None else spec.data
        self._lr = lr if lr is not None else spec.optimizer.lr
        self._name = spec.optimizer.name
        self._device = spec.device if spec.device.startswith("cuda") else None
        self._is_given = not isinstance(self._points, Preset | Generated)
        self._is_embedded = (
            isinstance(self._points, Columns) and len(self._points.x) <= EMBEDDED_POINTS
        )
        self._batched = spec.batch_size is not None and self._may_have_more_than(spec.batch_size)

    def lines(self) -> Iterator[str]:
        """Yield the whole script."""
        yield from self._header()
        yield from self._data()
        yield from self._start()
        yield from self._optimizer()
        yield from self._before_loop()
        yield from self._loop()
        yield from self._footer()

    def _may_have_more_than(self, size: int) -> bool:
        """Tell whether a batch of this size is less than all points."""
        match self._points:
            case Columns():
                return len(self._points.x) > size
            case Preset():
                every = DATA_PRESET_POINTS[self._points.preset]
                return min(every, self._points.points or every) > size
            case Generated():
                return self._points.generate.n > size
            case _:
                count = getattr(self._points, "num_points", size + 1)
                return int(count) > size

    def _header(self) -> Iterator[str]:
        needs_file = self._is_given and not self._is_embedded
        yield '"""The plain torch loop of one fitjobs job.'
        yield ""
        yield f"Run it:  python reproduce.py{' points.csv' if needs_file else ''}"
        if needs_file:
            yield "points.csv holds the job's points, one x,y a line, no header."
        yield "It prints a row step,loss,a,b for every recorded step, then the result as JSON."
        yield f"With torch {TORCH_VERSION} on the same kind of machine the numbers are the job's, bit"
        yield 'for bit; a cancelled job has only the first of these rows."""'
        yield ""
        if needs_file:
            yield "import csv"
        yield "import json"
        yield "import math"
        if needs_file:
            yield "import sys"
        yield ""
        yield "import torch"
        yield ""
        yield "torch.set_num_threads(1)  # more threads would add in another order"

    def _data(self) -> Iterator[str]:
        yield ""
        yield "# The points."
        seed = self._spec.seed
        match self._points:
            case Preset():
                seed = seed if self._points.seed is None else self._points.seed
                yield f"torch.manual_seed({seed})"
                yield from _preset_lines(self._points)
            case Generated():
                rule = self._points.generate
                seed = seed if rule.seed is None else rule.seed
                yield f"torch.manual_seed({seed})"
                yield from _generator_lines(rule)
            case _:
                yield from self._given_lines()
        is_classic = isinstance(self._points, Preset) and self._points.preset == "classic"
        yield from self._moves("x", "y", drawn_as="float32" if is_classic else "float64")
        if self._spec.init == "torch" and (self._is_given or seed != self._spec.seed):
            yield f"torch.manual_seed({self._spec.seed})"

    def _moves(self, *names: str, drawn_as: str) -> Iterator[str]:
        """Convert and carry to the device, where that changes anything."""
        arguments = [repr(self._device)] if self._device else []
        if self._spec.dtype != drawn_as:
            arguments.append(f"dtype=torch.{self._spec.dtype}")
        if arguments:
            yield from (f"{name} = {name}.to({', '.join(arguments)})" for name in names)

    def _given_lines(self) -> Iterator[str]:
        if isinstance(self._points, Columns) and self._is_embedded:
            yield f"x = {list(self._points.x)!r}"
            yield f"y = {list(self._points.y)!r}"
            yield "x = torch.tensor(x, dtype=torch.float64).reshape(-1, 1, 1)"
            yield "y = torch.tensor(y, dtype=torch.float64).reshape(-1, 1, 1)"
            return
        yield 'with open(sys.argv[1], newline="") as file:'
        yield "    points = [[float(x), float(y)] for x, y in csv.reader(file)]"
        yield "points = torch.tensor(points, dtype=torch.float64)"
        yield "x = points[:, 0].reshape(-1, 1, 1)"
        yield "y = points[:, 1].reshape(-1, 1, 1)"

    def _start(self) -> Iterator[str]:
        """The line a x + b in the layout that the optimizer takes, at its start."""
        init = self._spec.init
        yield ""
        yield "# The line and where it starts."
        yield "net = torch.nn.Linear(1, 1)"
        yield from self._moves("net", drawn_as="float32")
        if isinstance(init, Start):
            yield "with torch.no_grad():"
            yield f"    net.weight.fill_({init.a!r})"
            yield f"    net.bias.fill_({init.b!r})"
        if self._name == "Muon":
            yield "# Muon moves matrices only."
            yield "slope = torch.nn.Parameter(net.weight.detach())"
            yield "intercept = torch.nn.Parameter(net.bias.detach().reshape(1, 1))"
            yield ""
            yield ""
            yield "def net(x):"
            yield "    return torch.nn.functional.linear(x, slope, intercept[0])"
        elif self._name == "SparseAdam":
            yield "# SparseAdam takes sparse gradients only, which an embedding gives."
            yield "table = torch.cat([net.weight, net.bias.reshape(1, 1)]).detach()"
            yield "table = torch.nn.Parameter(table)"
            yield "index = torch.arange(2, device=table.device)"
            yield ""
            yield ""
            yield "def net(x):"
            yield "    rows = torch.nn.functional.embedding(index, table, sparse=True)"
            yield "    return torch.nn.functional.linear(x, rows[:1], rows[1])"

    @property
    def _parameters(self) -> str:
        layouts = {"Muon": "[slope, intercept]", "SparseAdam": "[table]"}
        return layouts.get(self._name, "net.parameters()")

    @property
    def _readings(self) -> str:
        layouts = {
            "Muon": "slope.item(), intercept.item()",
            "SparseAdam": "table[0].item(), table[1].item()",
        }
        return layouts.get(self._name, "net.weight.item(), net.bias.item()")

    def _optimizer(self) -> Iterator[str]:
        yield ""
        if self._lr is None:
            yield from _auto_lr_lines(self._spec.optimizer)
        lr = "lr" if self._lr is None else repr(float(self._lr))
        arguments = [self._parameters, f"lr={lr}", *_changed(self._spec.optimizer)]
        yield from _call(f"optimizer = torch.optim.{self._name}", arguments)
        scheduler = self._spec.scheduler
        if scheduler is not None:
            arguments = ["optimizer", *_changed(scheduler)]
            if scheduler.name == "OneCycleLR" and scheduler.hyperparameters["total_steps"] is None:
                arguments.append(f"total_steps={self._spec.steps}")
            yield from _call(f"scheduler = torch.optim.lr_scheduler.{scheduler.name}", arguments)

    def _loss(self, x: str, y: str) -> str:
        return _LOSSES[self._spec.loss].format(line=f"net({x})", y=y)

    def _before_loop(self) -> Iterator[str]:
        if self._spec.stop.patience is not None:
            yield "best, best_step = math.inf, 0"
        if self._batched:
            yield ""
            yield "# All points in random order, batch by batch, then all again."
            yield f"shuffle = torch.Generator().manual_seed({self._spec.seed + 1})"
            yield "batches = []"
        if self._name in _CLOSURES:
            x, y = ("x[batch]", "y[batch]") if self._batched else ("x", "y")
            yield ""
            yield ""
            yield "def closure():"
            if self._spec.zero_grad:
                yield "    optimizer.zero_grad()"
            yield f"    loss = {self._loss(x, y)}"
            yield "    loss.backward()"
            yield "    return loss.detach()"
            yield ""

    def _loop(self) -> Iterator[str]:
        yield ""
        yield f"for step in range({self._spec.steps + 1}):"
        if self._spec.zero_grad:
            yield "    optimizer.zero_grad()"
        yield f"    loss = {self._loss('x', 'y')}"
        yield f"    value, a, b = loss.item(), {self._readings}"
        yield from self._stop_rules()
        stride = stride_for(self._spec.record_every, steps=self._spec.steps)
        if stride > 1:
            yield f"    if step % {stride} == 0 or stop_reason:"
            yield '        print(step, value, a, b, sep=",")'
        else:
            yield '    print(step, value, a, b, sep=",")'
        yield "    if stop_reason:"
        yield "        break"
        yield from self._update()

    def _stop_rules(self) -> Iterator[str]:
        stop = self._spec.stop
        if stop.gradient_below is not None:
            own = "list(net.parameters())" if "net." in self._parameters else self._parameters
            yield f"    gradient = torch.autograd.grad(loss, {own}, retain_graph=True)"
            dense = "part.to_dense().flatten()" if self._name == "SparseAdam" else "part.flatten()"
            yield f"    norm = math.hypot(*torch.cat([{dense} for part in gradient]).tolist())"
        if stop.patience is not None:
            yield "    if value < best:"
            yield "        best, best_step = value, step"
        yield "    stop_reason = None"
        yield "    if not all(map(math.isfinite, (value, a, b))):"
        yield '        stop_reason = "diverged"'
        rules = [
            (stop.loss_below, "value < {!r}", "loss_below"),
            (stop.gradient_below, "norm < {!r}", "gradient_below"),
            (stop.patience, "step - best_step >= {!r}", "patience"),
            (self._spec.steps, "step == {!r}", "max_steps"),
        ]
        for limit, test, reason in rules:
            if limit is not None:
                yield f"    elif {test.format(limit)}:"
                yield f'        stop_reason = "{reason}"'

    def _update(self) -> Iterator[str]:
        if self._batched:
            yield "    if not batches:"
            yield "        order = torch.randperm(len(x), generator=shuffle).to(x.device)"
            yield f"        batches = list(order.split({self._spec.batch_size}))"
            yield "    batch = batches.pop(0)"
        if self._name in _CLOSURES:
            yield "    optimizer.step(closure)"
        else:
            if self._batched:
                yield f"    loss = {self._loss('x[batch]', 'y[batch]')}"
            yield "    loss.backward()"
            yield "    optimizer.step()"
        if self._spec.scheduler is not None:
            watches = self._spec.scheduler.name == "ReduceLROnPlateau"
            yield f"    scheduler.step({'value' if watches else ''})"

    def _footer(self) -> Iterator[str]:
        yield ""
        yield 'found = stop_reason != "diverged"'
        yield "result = {"
        yield '    "a": a if found else None,'
        yield '    "b": b if found else None,'
        yield '    "steps": step,'
        yield '    "stop_reason": stop_reason,'
        yield "}"
        yield "print(json.dumps(result))"


def _preset_lines(preset: Preset) -> Iterator[str]:
    count = DATA_PRESET_POINTS[preset.preset]
    if preset.preset == "classic":
        yield f"x = torch.randn({count}, 1, 1)"
        yield "y = x.clone()"
    else:
        yield f"x = torch.randn({count}, 1, 1, dtype=torch.float64)"
        if preset.preset == "far":
            yield "x = x + 1e6"
        yield f"noise = torch.randn({count}, 1, 1, dtype=torch.float64)"
        yield "y = 2.0 * x + 1.0 + 0.1 * noise"
        if preset.preset == "outliers":
            yield "y[9::10] += 10.0"
    if preset.points is not None and preset.points < count:
        yield f"x, y = x[:{preset.points}], y[:{preset.points}]"


def _generator_lines(rule: Generator) -> Iterator[str]:
    if isinstance(rule.x, str):
        yield f"x = torch.randn({rule.n}, 1, 1, dtype=torch.float64)"
    else:
        low, high = rule.x
        yield f"x = {low!r} + ({high!r} - {low!r}) * torch.rand({rule.n}, 1, 1, dtype=torch.float64)"
    yield f"noise = torch.randn({rule.n}, 1, 1, dtype=torch.float64)"
    yield f"y = {rule.a!r} * x + {rule.b!r} + {rule.noise!r} * noise"


def _auto_lr_lines(optimizer: OptimizerSpec) -> Iterator[str]:
    yield '# lr "auto", up to rounding: 2 (1 + momentum) / (sum of the curvatures).'
    momentum = optimizer.hyperparameters["momentum"]
    yield "square = x.double().square().mean().item()"
    yield "share = 2 if x.min() < x.max() else 1"
    yield f"lr = share * (1 + {momentum!r}) / (2 * (square + 1))"


def _changed(named: OptimizerSpec | SchedulerSpec) -> list[str]:
    """Return name=value for the hyperparameters that are not torch's defaults, lr apart."""
    known = OPTIMIZERS if isinstance(named, OptimizerSpec) else SCHEDULERS
    described = known[named.name]["hyperparameters"]
    return [
        f"{name}={value!r}"
        for name, value in named.hyperparameters.items()
        if not (name == "lr" and isinstance(named, OptimizerSpec))
        and (list(value) if isinstance(value, tuple) else value)
        != described[name].get("default", ...)
    ]


def _call(function: str, arguments: Sequence[str]) -> Iterator[str]:
    """Yield a call on one line where it fits, else an argument a line."""
    line = f"{function}({', '.join(arguments)})"
    longest = 100
    if len(line) <= longest:
        yield line
        return
    yield f"{function}("
    for argument in arguments:
        yield f"    {argument},"
    yield ")"
