"""Data and start as a script would draw them; faults in the words of the vocabulary."""

from array import array
from typing import Any

import pytest
import torch

from app.domain.data import Columns, StoredColumns
from app.domain.errors import EngineFault, JobErrorType
from app.domain.presets import DATA_PRESET_POINTS
from app.domain.spec import ComparisonSpec, FitSpec
from worker.engine.faults import find_device, translated
from worker.engine.problem import Task, load
from worker.engine.torch_engine import TorchEngine

CPU = torch.device("cpu")


def task_of(columns: Columns | None = None, **fields: Any) -> Task:
    return load(FitSpec.model_validate(fields), columns=columns, device=CPU)


@pytest.mark.parametrize("seed", [0, 1, 2, 12345, 2**63 - 1])
def test_classic_draws_what_the_question_draws(seed: int) -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        x = torch.randn(1000, 1, 1)
        net = torch.nn.Linear(1, 1)
    single = task_of(seed=seed, dtype="float32")
    double = task_of(seed=seed)

    assert torch.equal(single.x, x)
    assert torch.equal(single.y, x)
    assert torch.equal(double.x, x.double())
    assert (single.start.a, single.start.b) == (net.weight.item(), net.bias.item())
    assert double.start == single.start
    assert (double.bowl.exact.a, double.bowl.exact.b, double.bowl.exact.loss) == (1.0, 0.0, 0.0)


@pytest.mark.parametrize("preset", DATA_PRESET_POINTS)
def test_presets_are_what_their_words_say(preset: str) -> None:
    task = task_of(data={"preset": preset})
    exact = task.bowl.exact

    assert task.x.shape == (DATA_PRESET_POINTS[preset], 1, 1)
    expected = {"classic": (1.0, 0.0), "noisy": (2.0, 1.0), "outliers": (2.0, 2.0)}
    if preset == "far":
        assert exact.a == pytest.approx(2.0, abs=0.02)
        assert task.bowl.problem.mean_x == pytest.approx(1e6, rel=1e-6)
        assert exact.loss == pytest.approx(0.01, rel=0.2)
    else:
        tolerance = 1.0 if preset == "outliers" else 0.02
        assert (exact.a, exact.b) == pytest.approx(expected[preset], abs=tolerance)
    if preset == "outliers":
        residual = (task.y - 2 * task.x - 1).flatten()
        assert (residual > 5).nonzero().flatten().tolist() == list(range(9, 100, 10))


def test_points_takes_the_first_of_a_preset() -> None:
    some = task_of(data={"preset": "classic", "points": 3})

    assert torch.equal(some.x, task_of().x[:3])
    assert some.start == task_of().start


def test_data_with_its_own_seed_leaves_the_start_to_the_spec() -> None:
    one = task_of(data={"preset": "noisy", "seed": 5}, seed=1)
    other = task_of(data={"preset": "noisy", "seed": 5}, seed=2)
    same = task_of(data={"preset": "noisy", "seed": 1}, seed=1)

    assert torch.equal(one.x, other.x)
    assert one.start != other.start
    assert same.start == task_of(data={"preset": "noisy"}, seed=1).start


def test_generator_draws_its_line() -> None:
    rule = {"a": -3.0, "b": 4.0, "n": 50, "noise": 0.0, "x": [2.0, 5.0]}
    task = task_of(data={"generate": rule})

    assert float(task.x.min()) >= 2.0
    assert float(task.x.max()) <= 5.0
    assert torch.equal(task.y, -3.0 * task.x + 4.0)


def test_exact_answer_is_that_of_the_rounded_points() -> None:
    task = task_of(data=[[0.1, 0.2], [0.3, 0.7]], dtype="float32")

    assert task.x.dtype == torch.float32
    rounded = torch.tensor([0.1, 0.3, 0.2, 0.7]).double()
    x, other_x, y, other_y = rounded.tolist()
    assert task.bowl.exact.a == pytest.approx((other_y - y) / (other_x - x), rel=1e-15)


def test_stored_points_are_handed_over() -> None:
    columns = Columns(x=array("d", [0.0, 1.0]), y=array("d", [1.0, 3.0]))
    stored = StoredColumns(num_points=2, sha256="0" * 64)

    assert task_of(columns, data=stored).bowl.exact.a == 2.0
    with pytest.raises(EngineFault, match="missing"):
        task_of(data=stored)


def test_points_beyond_the_number_type_are_a_fault() -> None:
    columns = Columns(x=array("d", [0.0, 1e39]), y=array("d", [1.0, 3.0]))
    stored = StoredColumns(num_points=2, sha256="0" * 64)

    with pytest.raises(EngineFault, match="do not fit float32"):
        task_of(columns, data=stored, dtype="float32")


def test_comparison_shares_points_and_start() -> None:
    spec = ComparisonSpec.model_validate(
        {"optimizers": ["Adam", "SGD"], "steps": 3, "engine": "torch"}
    )
    prepared = TorchEngine().prepare(spec, columns=None, device="cpu")
    first_rows = [next(iter(run.blocks())).rows for run in prepared.runs]

    assert [run.label for run in prepared.runs] == ["Adam lr 0.001", "SGD lr 0.001"]
    assert [run.steps for run in prepared.runs] == [3, 3]
    assert first_rows[0].loss[0] == first_rows[1].loss[0]
    assert prepared.device == "cpu"


def test_engine_says_which_one_and_why() -> None:
    chosen = TorchEngine().prepare(FitSpec(), columns=None, device="cpu").engine
    forced = FitSpec.model_validate({"engine": "torch"})

    assert chosen.name == "rules"
    assert chosen.version == torch.__version__
    assert "Adam's rule" in chosen.reason
    assert chosen.verified is not None
    assert chosen.verified.against == f"torch.optim.Adam {torch.__version__}"
    asked = TorchEngine().prepare(forced, columns=None, device="cpu").engine
    assert (asked.name, asked.reason) == ("torch", "asked for by the spec")
    assert asked.verified is None


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a CUDA device")
@pytest.mark.parametrize("device", ["cuda", "cuda:3"])
def test_a_device_that_is_not_there_is_a_fault(device: str) -> None:
    with pytest.raises(EngineFault) as caught:
        TorchEngine().prepare(FitSpec(), columns=None, device=device)

    assert caught.value.error_type is JobErrorType.DEVICE_ERROR
    assert "torch sees 0 CUDA devices" in caught.value.detail


def test_cpu_is_found() -> None:
    assert find_device("cpu") == CPU


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_cuda_fits_the_classic_problem() -> None:
    spec = FitSpec.model_validate({"optimizer": {"name": "Adam", "lr": 0.1}})
    prepared = TorchEngine().prepare(spec, columns=None, device="cuda")
    blocks = list(prepared.runs[0].blocks())

    assert prepared.device == "cuda:0"
    assert blocks[-1].stop_reason == "loss_below"


def test_memory_that_does_not_suffice_is_told() -> None:
    with pytest.raises(EngineFault) as caught, translated(CPU):
        torch.empty(10**15)

    assert caught.value.error_type is JobErrorType.OUT_OF_MEMORY


@pytest.mark.parametrize(
    ("error", "device", "error_type"),
    [
        (torch.OutOfMemoryError("CUDA out of memory"), "cuda:0", JobErrorType.OUT_OF_MEMORY),
        (MemoryError(), "cpu", JobErrorType.OUT_OF_MEMORY),
        (RuntimeError("CUDA error: unspecified\nmore"), "cuda:0", JobErrorType.DEVICE_ERROR),
        (RuntimeError("shapes differ"), "cpu", JobErrorType.INTERNAL),
        (ValueError("Invalid beta"), "cpu", JobErrorType.INTERNAL),
        (ZeroDivisionError(), "cpu", JobErrorType.INTERNAL),
    ],
)
def test_torch_errors_become_faults(
    error: Exception, device: str, error_type: JobErrorType
) -> None:
    with pytest.raises(EngineFault) as caught, translated(torch.device(device)):
        raise error

    assert caught.value.error_type is error_type
    assert "\n" not in caught.value.detail
    assert caught.value.__cause__ is error
