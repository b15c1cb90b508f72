"""Whoever is measured must compute the same: a peer that is wrong is no peer."""

import numpy as np
import pytest

from benchmarks.ours import RATE, START, make_problem
from benchmarks.peers import c_loop, numpy_vectors, plain_torch, python_floats
from worker.engine.fidelity import FACTOR
from worker.engine.rules.kernels import Kernels
from worker.engine.rules.lanes import STRIP_LANES, run_lanes
from worker.engine.rules.rule import RULES
from worker.engine.rules.run import bowl_of

STEPS = 200


@pytest.fixture(scope="module")
def reference() -> list[float]:
    """Return the losses of the plain torch loop."""
    problem = make_problem(points=100, steps=STEPS)
    task = problem.task
    return plain_torch.fit_adam(task.x, task.y, steps=STEPS, lr=RATE, start=START)


def test_python_floats_follow_the_plain_loop(reference: list[float]) -> None:
    moments = make_problem(points=100, steps=STEPS).moments
    losses = python_floats.fit_adam(moments, steps=STEPS, lr=RATE, start=START)

    assert losses[:-1] == pytest.approx(reference, rel=1e-13)


def test_numpy_vectors_follow_the_plain_loop(reference: list[float]) -> None:
    moments = make_problem(points=100, steps=STEPS).moments
    losses = np.zeros((STEPS + 1, 3))
    a, b, lr = np.full(3, START[0]), np.full(3, START[1]), np.array([1.0, RATE, 0.5])
    numpy_vectors.fit_adam(moments, a=a, b=b, lr=lr, losses=losses)

    assert losses[:-1, 1].tolist() == pytest.approx(reference, rel=1e-13)


def test_c_follows_the_plain_loop_wherever_there_is_a_compiler(reference: list[float]) -> None:
    loop = c_loop.build()
    assert (loop is None) == (c_loop.find_compiler() is None)
    if loop is None:
        return
    moments = make_problem(points=100, steps=STEPS).moments
    losses = np.zeros(STEPS + 1)
    loop.fit(moments, line=np.array(START), lr=RATE, losses=losses)

    assert losses[:-1].tolist() == pytest.approx(reference, rel=1e-13)


@pytest.mark.parametrize("threads", [1, 2])
def test_lanes_of_c_follow_the_plain_loop(reference: list[float], threads: int) -> None:
    loop = c_loop.build()
    if loop is None:
        assert c_loop.find_compiler() is None
        return
    moments = make_problem(points=100, steps=STEPS).moments
    # More than two blocks, and a last one that is not full.
    runs = 1_100
    losses = np.zeros((STEPS + 1, runs))
    a, b, lr = np.full(runs, START[0]), np.full(runs, START[1]), np.full(runs, RATE)
    loop.fit_lanes(moments, a=a, b=b, lr=lr, losses=losses, threads=threads)

    for lane in (0, 511, 512, runs - 1):
        assert losses[:-1, lane].tolist() == pytest.approx(reference, rel=1e-13)


@pytest.mark.parametrize("threads", [1, 2])
def test_lanes_of_ours_have_the_losses_of_c_within_the_contract(
    threads: int, kernels: Kernels
) -> None:
    problem = make_problem(points=100, steps=STEPS)
    # More than a strip, and a last one that is not full.
    runs = STRIP_LANES + 77
    lr = np.logspace(-4, -1, runs)
    ours, theirs = np.zeros((STEPS + 1, runs)), np.zeros((STEPS + 1, runs))
    kernel = kernels.load(RULES["Adam"], "float64")
    assert kernel is not None
    run_lanes(
        RULES["Adam"],
        kernel,
        number="float64",
        bowl=bowl_of(problem.task),
        hyperparameters=problem.spec.optimizer.hyperparameters,
        starts_a=np.full(runs, START[0]),
        starts_b=np.full(runs, START[1]),
        rates=lr,
        steps=STEPS,
        losses=ours[1:],
        threads=threads,
    )
    loop = c_loop.build()
    if loop is None:
        assert c_loop.find_compiler() is None
        numpy_vectors.fit_adam(
            problem.moments,
            a=np.full(runs, START[0]),
            b=np.full(runs, START[1]),
            lr=lr,
            losses=theirs,
        )
    else:
        a, b = np.full(runs, START[0]), np.full(runs, START[1])
        loop.fit_lanes(problem.moments, a=a, b=b, lr=lr, losses=theirs)
    # S of the contract is at least the mean of y^2, whichever the line.
    spread = float(np.mean(problem.y**2))
    eps = float(np.finfo(np.float64).eps)
    allowed = FACTOR * (eps * (theirs[1:] + np.sqrt(theirs[1:] * spread)) + eps**2 * spread)

    assert np.all(np.abs(ours[1:] - theirs[1:]) <= allowed)
    assert np.all(ours[1:] > 0.0)
    assert len(np.unique(ours[-1])) > runs // 2


def test_one_pass_of_c_finds_the_moments() -> None:
    loop = c_loop.build()
    if loop is None:
        assert c_loop.find_compiler() is None
        return
    problem = make_problem(points=103, steps=1)
    found = loop.sum_moments(problem.x, problem.y)
    x, y = problem.x, problem.y
    covariance = np.cov(x, y, bias=True)

    assert found.tolist() == pytest.approx(
        [x.mean(), y.mean(), covariance[0, 0], covariance[0, 1], covariance[1, 1]], rel=1e-12
    )
