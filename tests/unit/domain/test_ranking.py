"""A comparison is ranked by who stays within tolerance first, and says why in one sentence."""

from typing import Any

from app.domain.ranking import crown, final_height, rank
from app.domain.result import RunResult, StopReason
from app.domain.spec import RankBy


def make_run(label: str, **changes: Any) -> RunResult:
    given: dict[str, Any] = {
        "label": label,
        "optimizer": "Adam",
        "lr": 0.1,
        "a": 1.0,
        "b": 0.0,
        "equation": "y = x",
        "loss": 0.5,
        "excess_loss": 0.5,
        "r2": 0.9,
        "stop_reason": StopReason.MAX_STEPS,
        "converged": False,
        "steps": 100,
        "evaluations": 100,
        "steps_to_tolerance": None,
        "best": None,
        "gradient_norm": 0.1,
        "run_seconds": 0.1,
    }
    return RunResult(**{**given, **changes})


def arrived(label: str, steps: int, **changes: Any) -> RunResult:
    return make_run(
        label, converged=True, steps_to_tolerance=steps, **{"excess_loss": 1e-9, **changes}
    )


def diverged(label: str) -> RunResult:
    nothing: dict[str, Any] = dict.fromkeys(("a", "b", "equation", "loss", "excess_loss", "r2"))
    return make_run(label, stop_reason=StopReason.DIVERGED, **nothing)


def test_quickest_to_tolerance_leads_and_diverged_trails() -> None:
    runs = [
        diverged("D"),
        make_run("slow", excess_loss=0.3),
        arrived("late", 90),
        make_run("slower", excess_loss=0.4),
        arrived("early", 10, excess_loss=1e-8),
    ]

    assert rank(runs) == (4, 2, 1, 3, 0)


def test_equally_quick_runs_are_ranked_by_their_end() -> None:
    assert rank([arrived("x", 10, excess_loss=2e-9), arrived("y", 10, excess_loss=1e-9)]) == (1, 0)


def test_passing_through_the_tolerance_is_not_arriving() -> None:
    swinging = make_run("swing", steps_to_tolerance=5, converged=False)

    assert rank([swinging, arrived("calm", 90)]) == (1, 0)


def test_height_is_excess_then_loss_then_infinite() -> None:
    assert final_height(make_run("x", excess_loss=0.1, loss=0.2)) == 0.1
    assert final_height(make_run("x", excess_loss=None, loss=0.2)) == 0.2
    assert final_height(diverged("x")) == float("inf")


def crowned(*runs: RunResult) -> str:
    winner = crown(runs, tolerance=1e-6)
    assert winner is not None
    assert runs[winner.run].label == winner.label
    return winner.why


def test_nobody_is_crowned_when_all_diverged() -> None:
    assert crown([diverged("x"), diverged("y")], tolerance=1e-6) is None


def test_winner_against_one_that_arrived_later() -> None:
    why = crowned(arrived("Adam", 400), arrived("SGD", 900))

    assert why == "Adam came within 1e-06 of its first excess loss after 400 steps; SGD took 900."


def test_winner_against_one_that_did_not_arrive() -> None:
    why = crowned(make_run("SGD"), arrived("Adam", 400))

    assert why == ("Adam came within 1e-06 of its first excess loss after 400 steps; SGD did not.")


def test_winner_alone() -> None:
    assert crowned(arrived("Adam", 400), diverged("SGD")).endswith("after 400 steps.")


def test_nobody_converged() -> None:
    why = crowned(make_run("SGD", excess_loss=0.5), make_run("Adam", excess_loss=0.25))

    assert why == "Adam ended lowest, at 0.25, SGD at 0.5; none converged."
    assert crowned(make_run("Adam")) == "Adam ended lowest, at 0.5; none converged."


def needing(label: str, *, steps: int, evaluations: int, seconds: float) -> RunResult:
    """A run that came within tolerance half way through."""
    changes = {"steps": 2 * steps, "evaluations": 9_999, "run_seconds": seconds}
    return arrived(label, steps).model_copy(
        update={**changes, "evaluations_to_tolerance": evaluations}
    )


def test_each_measure_has_its_own_winner() -> None:
    runs = [
        needing("LBFGS", steps=3, evaluations=60, seconds=0.5),
        needing("Adam", steps=50, evaluations=50, seconds=0.4),
        needing("SGD", steps=90, evaluations=90, seconds=0.2),
    ]
    runs.append(make_run("lucky", excess_loss=1e-12))

    assert rank(runs, by="steps_to_tolerance") == (0, 1, 2, 3)
    assert rank(runs, by="evaluations") == (1, 0, 2, 3)
    assert rank(runs, by="seconds") == (2, 1, 0, 3)
    assert rank(runs, by="final_loss")[0] == 3


def test_sentence_names_the_measure() -> None:
    runs = [
        needing("LBFGS", steps=3, evaluations=60, seconds=0.5),
        needing("Adam", steps=50, evaluations=50, seconds=0.4),
    ]

    def why(by: RankBy) -> str:
        winner = crown(runs, tolerance=1e-6, by=by)
        assert winner is not None
        return winner.why

    goal = "within 1e-06 of its first excess loss after"
    assert why("evaluations") == f"Adam came {goal} 50 evaluations; LBFGS took 60."
    assert why("seconds") == f"Adam came {goal} 0.2 seconds; LBFGS took 0.25."
    assert why("final_loss") == "LBFGS ended lowest, at 1e-09, Adam at 1e-09."


def test_failed_run_trails_and_is_not_crowned() -> None:
    failed = make_run("F", a=None, b=None, stop_reason=StopReason.FAILED, error="torch refused")

    assert rank([failed, make_run("Adam")]) == (1, 0)
    assert crown([failed], tolerance=1e-6) is None


def test_stop_rule_met_without_a_tolerance_is_not_called_unconverged() -> None:
    """Only mse has an excess loss: a huber run converges by its stop rule alone."""
    met = make_run(
        "Adam", excess_loss=None, loss=1e-9, converged=True, stop_reason=StopReason.LOSS_BELOW
    )

    assert crowned(met, make_run("SGD", excess_loss=None, loss=0.5)) == (
        "Adam ended lowest, at 1e-09, SGD at 0.5."
    )
