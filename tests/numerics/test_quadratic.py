"""SGD in closed form against torch.optim.SGD on 200 random problems, condition numbers 1 to 1e8."""

import dataclasses
import math

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis
from hypothesis import strategies as st

from app.domain.diagnosis.bowl import Bowl
from app.domain.diagnosis.quadratic import (
    Motion,
    Settings,
    best_momentum,
    growth,
    overflow_step,
    stability_limit,
    steps_below,
)
from tests.numerics.bowls import Drawn, problems, settings, torch_sgd

PROBLEMS = 200
STEPS = 80


def excess_of(drawn: Drawn, line: tuple[float, float]) -> float:
    return drawn.bowl.excess(drawn.bowl.error(line))


@hypothesis(max_examples=PROBLEMS, deadline=None)
@given(drawn=problems(), how=settings())
def test_stability_limit_is_right_two_per_cent_below_and_above(drawn: Drawn, how: Settings) -> None:
    limit = stability_limit(how, curvature=drawn.bowl.curvatures[0])
    ends = []
    for factor in (0.98, 1.02):
        path = torch_sgd(drawn, dataclasses.replace(how, lr=factor * limit), steps=STEPS)
        # The last tenth, because momentum swings.
        steep = [abs(drawn.bowl.to_axes(drawn.bowl.error(line))[0]) for line in path]
        ends.append((max(steep[-8:]), max(steep[4:12])))

    assert ends[0][0] < ends[0][1]
    assert ends[1][0] > ends[1][1]


@hypothesis(max_examples=PROBLEMS, deadline=None)
@given(drawn=problems(), share=st.floats(0.02, 0.9), step=st.integers(20, 150))
def test_predicted_steps_of_sgd_are_within_one_per_cent(
    drawn: Drawn, share: float, step: int
) -> None:
    how = Settings(lr=share * 2 / drawn.bowl.curvatures[0])
    motion = Motion(bowl=drawn.bowl, settings=how, start=drawn.error)
    goal = math.sqrt(motion.excess(step) * motion.excess(step - 1))
    predicted = steps_below(motion, goal)
    assert predicted is not None
    path = torch_sgd(drawn, how, steps=predicted + 5)
    # Below this a float64 no longer holds the loss.
    floor = 1e-26 * drawn.bowl.largest_residual_square(drawn.start)
    needed = next((k for k, line in enumerate(path) if excess_of(drawn, line) <= goal), None)

    if goal > floor and goal < 0.99 * motion.excess(0):
        assert needed is not None
        assert abs(needed - predicted) <= max(1, 0.01 * predicted)


@hypothesis(max_examples=60, deadline=None)
@given(drawn=problems(largest=1e6), how=settings(), share=st.floats(0.02, 0.95))
def test_history_in_closed_form_is_that_of_torch(drawn: Drawn, how: Settings, share: float) -> None:
    how = dataclasses.replace(
        how, lr=share * stability_limit(how, curvature=drawn.bowl.curvatures[0])
    )
    motion = Motion(bowl=drawn.bowl, settings=how, start=drawn.error)
    first = motion.excess(0)

    for step, line in enumerate(torch_sgd(drawn, how, steps=40)):
        predicted, real = motion.excess(step), excess_of(drawn, line)
        assert predicted == pytest.approx(real, rel=1e-6, abs=1e-12 * first)


@hypothesis(max_examples=40, deadline=None)
@given(
    drawn=problems(largest=1e4), decay=st.floats(0.01, 1.0), momentum=st.sampled_from([0.0, 0.5])
)
def test_weight_decay_moves_the_point_that_is_settled_in(
    drawn: Drawn, decay: float, momentum: float
) -> None:
    how = Settings(lr=1.0, momentum=momentum, weight_decay=decay)
    limit = stability_limit(how, curvature=drawn.bowl.curvatures[0])
    how = dataclasses.replace(how, lr=0.5 * limit)
    motion = Motion(bowl=drawn.bowl, settings=how, start=drawn.error)
    pulled = drawn.bowl.pulled(decay)
    # H e + w p = 0
    gradient = drawn.bowl.gradient(pulled)

    for i in (0, 1):
        pull = decay * (drawn.bowl.minimum[i] + pulled[i])
        assert gradient[i] + pull == pytest.approx(0.0, abs=1e-9 * (1 + abs(pull)))
    for step, line in enumerate(torch_sgd(drawn, how, steps=30)):
        error = drawn.bowl.error(line)
        assert motion.error(step) == pytest.approx(error, rel=1e-6, abs=1e-8)


@hypothesis(max_examples=30, deadline=None)
@given(drawn=problems(largest=1e6), how=settings(), factor=st.floats(1.3, 5.0))
def test_overflow_comes_when_it_is_foretold(drawn: Drawn, how: Settings, factor: float) -> None:
    limit = stability_limit(how, curvature=drawn.bowl.curvatures[0])
    how = dataclasses.replace(how, lr=factor * limit)
    motion = Motion(bowl=drawn.bowl, settings=how, start=drawn.error)
    points = len(drawn.columns.x)
    # A smaller number stands for the largest, so that the run is short.
    largest = 1e60
    predicted = overflow_step(motion, largest=largest, points=points)
    assert predicted is not None
    path = torch_sgd(drawn, how, steps=predicted + 10)
    seen = next(k for k, line in enumerate(path) if points * excess_of(drawn, line) > largest)

    assert growth(how, curvature=drawn.bowl.curvatures[0]) > 1
    assert abs(seen - predicted) <= 3 + 0.03 * predicted


def test_best_momentum_needs_the_known_steps() -> None:
    # B. T. Polyak: condition 120 takes 647 steps with the best constant rate, and 87 with momentum.
    bowl = Bowl(
        minimum=(0.0, 0.0),
        loss=0.0,
        mean_x=0.0,
        variance_x=120.0,
        curvatures=(240.0, 2.0),
        mean_square_y=0.0,
    )
    ball = best_momentum(bowl.curvatures)
    motion = Motion(bowl=bowl, settings=ball, start=(1.0, 1.0))
    rate = math.sqrt(ball.momentum)

    assert growth(ball, curvature=240.0) == pytest.approx(rate)
    assert growth(ball, curvature=2.0) == pytest.approx(rate)
    assert rate == pytest.approx((math.sqrt(120) - 1) / (math.sqrt(120) + 1))
    assert motion.excess(200) < 1e-12 * motion.excess(0)
