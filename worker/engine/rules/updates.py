"""The update rules of torch.optim, each written once: how one parameter moves in one step.

Every rule takes a parameter p and its gradient g, the step's number t (a float, from 1) and
learning rate, the factors that depend on t alone, what it remembers, and its hyperparameters; it
returns p and what it remembers now. p, g and the memory are numbers of the run's type, everything
else is float64 and is rounded by `real` where torch rounds it. The order of operations is that of
the `_single_tensor_*` functions of torch 2.13.

Only arithmetic, comparisons and the words of numbers.py: the same text runs as plain Python and
compiled. No literal meets a number of the run's type, because that would widen it.
"""

import math

from worker.engine.rules.numbers import State, lerp, power, real, root, single, wide

Updated = tuple[float, State]


def no_factors(t: float, settings: State) -> State:
    """Return nothing that is used: this rule does not look at the clock."""
    return (0.0,)


def sgd(
    p: float, g: float, t: float, lr: float, factors: State, memory: State, settings: State
) -> Updated:
    """SGD with momentum, dampening, Nesterov's look ahead and weight decay."""
    (buffer,) = memory
    momentum, dampening, weight_decay, nesterov = settings
    if weight_decay != 0.0:
        g = g + real(weight_decay) * p
    if momentum != 0.0:
        if t == 1.0:
            buffer = g
        else:
            buffer = buffer * real(momentum) + real(1.0 - dampening) * g
        if nesterov != 0.0:
            g = g + real(momentum) * buffer
        else:
            g = buffer
    return p + real(-lr) * g, (buffer,)


def adam_factors(t: float, settings: State) -> State:
    """Return the two bias corrections, the second as its root."""
    beta1, beta2 = settings[0], settings[1]
    return 1.0 - beta1**t, (1.0 - beta2**t) ** 0.5


def adam(
    p: float, g: float, t: float, lr: float, factors: State, memory: State, settings: State
) -> Updated:
    """Adam, AMSGrad and AdamW."""
    first, second, largest = memory
    correction, root_correction = factors
    beta1, beta2, eps, weight_decay, amsgrad, decoupled = settings
    if weight_decay != 0.0:
        if decoupled != 0.0:
            p = p * real(1.0 - lr * weight_decay)
        else:
            g = g + real(weight_decay) * p
    first = lerp(first, g, real(1.0 - beta1))
    second = second * real(beta2) + real(1.0 - beta2) * g * g
    size = second
    if amsgrad != 0.0:
        largest = max(largest, second)
        size = largest
    scale = root(size) / real(root_correction) + real(eps)
    return p + real(-(lr / correction)) * first / scale, (first, second, largest)


def adagrad(
    p: float, g: float, t: float, lr: float, factors: State, memory: State, settings: State
) -> Updated:
    """Adagrad with a decaying rate."""
    (total,) = memory
    eps, weight_decay, lr_decay = settings
    if weight_decay != 0.0:
        g = g + real(weight_decay) * p
    total = total + g * g
    rate = lr / (1.0 + (t - 1.0) * lr_decay)
    return p + real(-rate) * g / (root(total) + real(eps)), (total,)


def asgd(
    p: float, g: float, t: float, lr: float, factors: State, memory: State, settings: State
) -> Updated:
    """ASGD's moving parameter; its average is not what a fit returns.

    The rate of a step is set at the end of the step before, and kept in float32.
    """
    (eta,) = memory
    lambd, alpha, weight_decay = settings
    if weight_decay != 0.0:
        g = g + real(weight_decay) * p
    rate = wide(eta)
    p = p * real(1.0 - lambd * rate)
    p = p + real(-rate) * g
    base = 1.0 + lambd * lr * t
    grown = power(base, alpha)
    if grown == math.inf and base < math.inf:
        # Python's own power raises, which the plain loop takes for a divergence.
        p = real(math.inf)
    return p, (real(single(lr / grown)),)


def rmsprop(
    p: float, g: float, t: float, lr: float, factors: State, memory: State, settings: State
) -> Updated:
    """RMSprop, centred or not, with or without momentum."""
    square, mean, buffer = memory
    alpha, eps, weight_decay, momentum, centered = settings
    if weight_decay != 0.0:
        g = g + real(weight_decay) * p
    square = square * real(alpha) + real(1.0 - alpha) * g * g
    size = square
    if centered != 0.0:
        mean = lerp(mean, g, real(1.0 - alpha))
        # torch adds the product unrounded, so that inf - inf is not met.
        if square < math.inf:
            size = square + (-mean) * mean
    scale = root(size) + real(eps)
    if momentum > 0.0:
        buffer = buffer * real(momentum) + g / scale
        return p + real(-lr) * buffer, (square, mean, buffer)
    return p + real(-lr) * g / scale, (square, mean, buffer)


def rprop(
    p: float, g: float, t: float, lr: float, factors: State, memory: State, settings: State
) -> Updated:
    """Rprop: only the gradient's sign counts, and whether it has changed."""
    before, size = memory
    shrink, grow, smallest, largest = settings
    agreement = g * before
    # Choices rather than branches: the compiler can make many of them at once.
    change = real(grow) if agreement > 0.0 else real(shrink) if agreement < 0.0 else real(1.0)
    size = min(max(size * change, real(smallest)), real(largest))
    g = real(0.0) if agreement < 0.0 else g
    p = p - size if g > 0.0 else p + size if g < 0.0 else p
    return p, (g, size)


def adadelta(
    p: float, g: float, t: float, lr: float, factors: State, memory: State, settings: State
) -> Updated:
    """Adadelta."""
    square, moved = memory
    rho, eps, weight_decay = settings
    if weight_decay != 0.0:
        g = g + real(weight_decay) * p
    square = square * real(rho) + real(1.0 - rho) * g * g
    change = root(moved + real(eps)) / root(square + real(eps)) * g
    moved = moved * real(rho) + real(1.0 - rho) * change * change
    return p + real(-lr) * change, (square, moved)


def adamax_factors(t: float, settings: State) -> State:
    """Return the bias correction."""
    return (1.0 - settings[0] ** t,)


def adamax(
    p: float, g: float, t: float, lr: float, factors: State, memory: State, settings: State
) -> Updated:
    """Adamax: Adam by the largest gradient in place of the mean square."""
    first, largest = memory
    beta1, beta2, eps, weight_decay = settings
    if weight_decay != 0.0:
        g = g + real(weight_decay) * p
    first = lerp(first, g, real(1.0 - beta1))
    largest = max(largest * real(beta2), abs(g) + real(eps))
    return p + real(-(lr / factors[0])) * first / largest, (first, largest)


def nadam_factors(t: float, settings: State) -> State:
    """Return the second bias correction, the momenta of this step and the next, this one in float32."""
    beta1, beta2, momentum_decay = settings[0], settings[1], settings[4]
    now = beta1 * (1.0 - 0.5 * 0.96 ** (t * momentum_decay))
    then = beta1 * (1.0 - 0.5 * 0.96 ** ((t + 1.0) * momentum_decay))
    return 1.0 - beta2**t, now, then, single(now)


def nadam(
    p: float, g: float, t: float, lr: float, factors: State, memory: State, settings: State
) -> Updated:
    """NAdam; the product of all momenta is kept in float32."""
    first, second, product = memory
    correction, now, then, rounded = factors
    beta1, beta2, eps, weight_decay, _, decoupled = settings
    if weight_decay != 0.0:
        if decoupled != 0.0:
            p = p * real(1.0 - lr * weight_decay)
        else:
            g = g + real(weight_decay) * p
    product = real(single(wide(product) * rounded))
    all_momenta = wide(product)
    first = lerp(first, g, real(1.0 - beta1))
    second = second * real(beta2) + real(1.0 - beta2) * g * g
    scale = root(second / real(correction)) + real(eps)
    p = p + real(-lr * (1.0 - now) / (1.0 - all_momenta)) * g / scale
    p = p + real((-lr * then) / (1.0 - all_momenta * then)) * first / scale
    return p, (first, second, product)


def radam_factors(t: float, settings: State) -> State:
    """Return both bias corrections, the second as its root, and the rectification, 0 for none."""
    beta1, beta2 = settings[0], settings[1]
    left = beta2**t
    correction = 1.0 - left
    longest = 2.0 / (1.0 - beta2) - 1.0
    length = longest - 2.0 * t * left / correction
    rectification = 0.0
    if length > 5.0:  # noqa: PLR2004  # of the paper: below, the variance is not tractable
        above = (length - 4.0) * (length - 2.0) * longest
        below = (longest - 4.0) * (longest - 2.0) * length
        rectification = (above / below) ** 0.5
    return 1.0 - beta1**t, correction**0.5, rectification


def radam(
    p: float, g: float, t: float, lr: float, factors: State, memory: State, settings: State
) -> Updated:
    """RAdam: plain momentum until the second moment can be trusted."""
    first, second = memory
    correction, root_correction, rectification = factors
    beta1, beta2, eps, weight_decay, decoupled = settings
    if weight_decay != 0.0:
        if decoupled != 0.0:
            p = p * real(1.0 - lr * weight_decay)
        else:
            g = g + real(weight_decay) * p
    first = lerp(first, g, real(1.0 - beta1))
    second = second * real(beta2) + real(1.0 - beta2) * g * g
    move = first / real(correction) * real(lr)
    if rectification > 0.0:
        adapted = real(1.0) / (root(second) + real(eps)) * real(root_correction)
        move = move * adapted * real(rectification)
    return p - move, (first, second)
