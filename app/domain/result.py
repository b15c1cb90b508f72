"""What a job answers: fitted line, exact line, problem, and why the run stopped."""

from enum import StrEnum

from pydantic import Field

from app.domain.frozen import Frozen


class StopReason(StrEnum):
    """Why a run made no further step."""

    MAX_STEPS = "max_steps"
    LOSS_BELOW = "loss_below"
    GRADIENT_BELOW = "gradient_below"
    PATIENCE = "patience"
    DIVERGED = "diverged"
    CANCELLED = "cancelled"
    TIME_LIMIT = "time_limit"
    FAILED = "failed"


class Point(Frozen):
    """One row of a history; None stands for a number that is not finite.

    Attributes:
        step: Number of updates made.
        loss: Loss on all points.
        excess_loss: Loss minus the exact minimum; None also when the loss is not mse.
        a: Slope.
        b: Intercept.
    """

    step: int
    loss: float | None
    excess_loss: float | None = None
    a: float | None
    b: float | None


class StandardErrors(Frozen):
    """Standard errors of the exact line's parameters, n - 2 degrees of freedom."""

    a: float
    b: float


class Exact(Frozen):
    """The least-squares line, computed in float64 from the data as the run's dtype rounds them.

    Attributes:
        a: Slope (of minimum norm when unique is false).
        b: Intercept (likewise).
        loss: Mean squared error of this line.
        r2: Share of y's variance that it explains; None when y is constant.
        unique: False when all x are equal: a whole line of answers has this loss.
        standard_errors: None when there are fewer than 3 points or the answer is not unique.
        method: How it was computed.
    """

    a: float
    b: float
    loss: float
    r2: float | None
    unique: bool
    standard_errors: StandardErrors | None
    method: str


class Problem(Frozen):
    """The data as an optimizer feels them: the mean-squared-error bowl over (a, b).

    Attributes:
        points: Number of points.
        mean_x: Mean of x.
        mean_y: Mean of y.
        variance_x: Mean squared deviation of x from its mean.
        hessian_eigenvalues: Curvatures of the mse bowl, largest first.
        condition_number: Their ratio; None when the smaller is 0.
        largest_stable_sgd_lr: 2 / largest curvature; plain SGD diverges above.
        best_sgd_lr: 2 / (largest + smallest curvature), the best constant rate of plain SGD.
    """

    points: int
    mean_x: float
    mean_y: float
    variance_x: float
    hessian_eigenvalues: tuple[float, float] = Field(strict=False)
    condition_number: float | None
    largest_stable_sgd_lr: float | None
    best_sgd_lr: float | None


class RunResult(Frozen):
    """How one run ended.

    Attributes:
        run: Position in the job, from 0.
        label: Name in rankings and legends.
        optimizer: Class of torch.optim.
        lr: The learning rate that was used, resolved when the spec said "auto".
        a: Fitted slope; None when the run diverged.
        b: Fitted intercept; None when the run diverged.
        equation: The line as text; None when the run diverged.
        loss: Loss on all points at the end; None when not finite.
        excess_loss: Loss minus the exact minimum, without cancellation; None unless mse.
        r2: Share of y's variance that the fitted line explains.
        stop_reason: Why it stopped.
        converged: A stop rule was met, or the excess loss is within tolerance of the first.
        steps: Optimizer steps made.
        evaluations: Loss and gradient evaluations made (LBFGS makes several a step).
        steps_to_tolerance: First step, recorded or not, whose excess loss is within tolerance.
        evaluations_to_tolerance: Evaluations that led to it.
        best: The row with the lowest loss of all, recorded or not.
        noise_floor_reached_at: First recorded step from which the line is the exact one up to a
            rounding of a residual, so that the gradient is noise; None when it never was, or the
            loss is not mse.
        gradient_norm: Euclidean norm of the full gradient at the end.
        run_seconds: Time in the loop.
        engine: Which engine made its steps: "torch", "moments" or "rules".
        error: Why it failed: a run of a comparison that torch refuses leaves the others alone.
    """

    run: int = 0
    label: str
    optimizer: str
    lr: float | None
    a: float | None
    b: float | None
    equation: str | None
    loss: float | None
    excess_loss: float | None
    r2: float | None
    stop_reason: StopReason
    converged: bool
    steps: int
    evaluations: int
    steps_to_tolerance: int | None
    evaluations_to_tolerance: int | None = None
    best: Point | None
    gradient_norm: float | None
    run_seconds: float
    noise_floor_reached_at: int | None = None
    engine: str = "torch"
    error: str | None = None


class Winner(Frozen):
    """The first of a ranking and the sentence that says why."""

    run: int
    label: str
    why: str


class Verified(Frozen):
    """How a faster engine's first steps compare with the plain torch loop's, in this very job.

    The difference of the two losses of a row is told relative to L + sqrt(L S) + eps S: with the
    loss L, S = mean((|a x| + |b| + |y|)^2) and eps of the job's dtype, that times eps is what one
    rounding can move it by. Beyond 32 eps the plain loop keeps the job.

    Attributes:
        against: What made the same steps, e.g. "torch.optim.Adam 2.13.0".
        steps: How many steps both made, from the start; of a comparison, in each run.
        points: How many points the plain loop looked at in each of them.
        max_relative_difference: The largest difference that was seen.
    """

    against: str
    steps: int
    points: int
    max_relative_difference: float


class EngineUsed(Frozen):
    """Which engine ran, and why.

    Attributes:
        name: "torch", "moments" or "rules"; "mixed" when the runs of a comparison differ.
        reason: One sentence.
        version: Version of torch.
        verified: How it was held against the plain loop; None for the plain loop itself, and for
            jobs of before there was another.
    """

    name: str
    reason: str
    version: str
    verified: Verified | None = None


class DeviceUsed(Frozen):
    """Where a job ran, or will run.

    Attributes:
        requested: The spec's own word.
        queue: "cpu" or "cuda": which workers may claim it.
        used: The device of the worker; None before it starts.
        worker: The worker's name; None before it starts.
        reason: Why this device.
    """

    requested: str
    queue: str
    used: str | None = None
    worker: str | None = None
    reason: str


def format_equation(a: float, b: float) -> str:
    """Return the line as people write it, e.g. "y = 0.9999*x - 0.0001" with a real dot.

    Four decimals, or four significant digits where four decimals would hide the number.
    """
    sign = "-" if b < 0 else "+"
    # Adding 0 turns -0.0 into 0.0.
    return f"y = {_digits(a + 0.0)}\u00b7x {sign} {_digits(abs(b))}"


def _digits(value: float) -> str:
    plain_from, plain_to = 1e-3, 1e6
    if value == 0 or plain_from <= abs(value) < plain_to:
        return f"{value:.4f}"
    return f"{value:.4g}"
