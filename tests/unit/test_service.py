"""What clients can do with jobs, against the real store."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from redis import Redis

from app.domain.data import Generated, Preset, StoredColumns
from app.domain.errors import (
    DeviceUnavailable,
    IdConflict,
    IdempotencyKeyReused,
    InvalidSpec,
    JobNotFound,
    QueueFull,
)
from app.domain.job import JobRecord, Status, WorkerInfo
from app.domain.parse import parse_spec
from app.domain.routing import CUDA_PAYS_FROM_POINTS
from app.domain.spec import ComparisonSpec, FitSpec
from app.service import Service, make_fingerprint
from app.settings import Settings
from app.store.connect import connect_async
from app.store.jobs import JobStore
from app.store.keys import QUEUES, Keys
from app.store.runs import RunStore
from app.store.submission import Created

KEYS = Keys("fit")
MANY = {"data": {"generate": {"n": CUDA_PAYS_FROM_POINTS}}, "loss": "huber"}


class TestHouse:
    """A service, its store, and the wake-ups that it has sent.

    Args:
        store: The job store.
        runs: The same as a worker sees it.
        settings: Those of both.
        redis: Where they lie.
    """

    __test__ = False

    def __init__(
        self, store: JobStore, runs: RunStore, settings: Settings, *, redis: Redis
    ) -> None:
        self.store = store
        self.runs = runs
        self.service = Service(store=store, wake_text=str.encode, settings=settings)
        self._redis = redis

    @property
    def woken(self) -> list[str]:
        """The queues for which wake-ups lie there, once each."""
        return [
            text.decode()
            for queue in QUEUES
            for text in self._redis.lrange(KEYS.wake_ups(queue), 0, -1)
        ]

    async def submit(self, body: object = None, **given: Any) -> JobRecord:
        return (await self.create(body, **given)).record

    async def create(self, body: object = None, **given: Any) -> Created:
        return await self.service.submit(parse_spec({} if body is None else body), **given)

    async def queue_of(self, body: object) -> str:
        return (await self.service.preview(parse_spec(body))).device.queue

    def announce(self, *devices: str, queue: str = "cuda") -> None:
        info = WorkerInfo(
            name=f"w-{queue}", queue=queue, devices=devices, torch="2.13.0", started_at_ms=1
        )
        self.runs.announce(info, ttl_seconds=60)


@pytest.fixture
async def house(redis: Redis, redis_url: str, settings: Settings) -> AsyncIterator[TestHouse]:
    async with connect_async(settings, redis_url) as client:
        yield TestHouse(
            JobStore(client, settings), RunStore(redis, settings), settings, redis=redis
        )


async def refused(house: TestHouse, body: object, **given: Any) -> tuple[str, str]:
    with pytest.raises(InvalidSpec) as caught:
        await house.submit(body, **given)
    (flaw,) = caught.value.flaws
    return flaw.pointer, flaw.code


# --- submit -----------------------------------------------------------------------------------


async def test_submit_accepts_and_wakes_one_worker(house: TestHouse) -> None:
    record = await house.submit({"name": "mine", "tags": {"a": "b"}})

    assert record.status is Status.QUEUED
    assert record.id.startswith("job_")
    assert record == await house.store.get(record.id)
    assert (record.name, record.tags) == ("mine", {"a": "b"})
    assert house.woken == ["cpu"]


async def test_preview_accepts_nothing(house: TestHouse) -> None:
    preview = await house.service.preview(parse_spec({"steps": 5}))

    assert preview.parsed.spec.steps == 5
    assert preview.device.queue == "cpu"
    assert await house.store.latest_id() is None
    assert house.woken == []


async def test_same_id_and_spec_is_the_same_job(house: TestHouse) -> None:
    first = await house.create({"lr": 0.1}, job_id="mine")
    again = await house.create({"optimizer": {"name": "ADAM", "lr": 0.1}}, job_id="mine")

    assert (first.is_new, again.is_new) == (True, False)
    assert first.record == again.record
    assert house.woken == ["cpu"]


async def test_same_id_with_another_spec_is_a_conflict(house: TestHouse) -> None:
    await house.submit({"lr": 0.1}, job_id="mine")
    with pytest.raises(IdConflict):
        await house.submit({"lr": 0.2}, job_id="mine")


@pytest.mark.parametrize("job_id", ["", "latest", "a b", "a/b", "x" * 65])
async def test_id_that_is_none_is_refused(house: TestHouse, job_id: str) -> None:
    assert await refused(house, {}, job_id=job_id) == ("", "invalid-id")


async def test_same_key_and_spec_is_the_same_job(house: TestHouse) -> None:
    created = await asyncio.gather(
        *(house.create({"steps": 7}, idempotency_key="k") for _ in range(8))
    )

    assert len({one.record.id for one in created}) == 1
    assert [one.is_new for one in created].count(True) == 1
    assert house.woken == ["cpu"]


async def test_same_key_with_another_spec_is_refused(house: TestHouse) -> None:
    await house.submit({"steps": 7}, idempotency_key="k")
    with pytest.raises(IdempotencyKeyReused):
        await house.submit({"steps": 8}, idempotency_key="k")


async def test_queue_is_bounded(redis: Redis, redis_url: str) -> None:
    settings = Settings.model_construct(max_queued_jobs=1)
    async with connect_async(settings, redis_url) as client:
        house = TestHouse(
            JobStore(client, settings), RunStore(redis, settings), settings, redis=redis
        )
        first = await house.create(job_id="one")
        with pytest.raises(QueueFull):
            await house.submit()

        assert (await house.create(job_id="one")).record == first.record
        assert house.woken == ["cpu"]


# --- fingerprints -----------------------------------------------------------------------------


def fingerprint_of(body: object) -> str:
    return make_fingerprint(parse_spec(body).spec.model_dump_json())


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({}, {"steps": 10_000}),
        ({"lr": 1}, {"learning_rate": 1.0}),
        ({"optimizer": "sgd"}, {"optimizer": {"name": "SGD", "weight_decay": 0, "lr": 1e-3}}),
        ({"optimizer": "lbfgs"}, {"optimizer": {"name": "LBFGS", "lr": 1}}),
        ([[0, 1], [1, 2]], {"data": {"x": [0.0, 1.0], "y": [1.0, 2.0]}}),
        ({"timeout_seconds": 600}, {"timeout_seconds": 600.0}),
        ({"preset": "weak-optimizers"}, {"preset": "weak-optimizers", "steps": 500}),
    ],
    ids=str,
)
def test_specs_that_ask_for_the_same_have_one_fingerprint(one: object, other: object) -> None:
    assert fingerprint_of(one) == fingerprint_of(other)


@hypothesis_settings(deadline=None)
@given(
    st.dictionaries(
        st.sampled_from(["steps", "seed", "lr", "timeout_seconds"]), st.integers(1, 9), min_size=1
    )
)
def test_specs_that_differ_have_two_fingerprints(body: dict[str, int]) -> None:
    assert fingerprint_of(body) != fingerprint_of({})


async def test_record_has_the_fingerprint_of_its_submit(house: TestHouse) -> None:
    for body in ({}, {"preset": "weak-optimizers"}, {"optimizer": "rprop"}, [[0, 1]] * 300):
        record = await house.submit(body, job_id="mine")
        stored = await house.store.get("mine")

        assert make_fingerprint(stored.spec.model_dump_json()) == make_fingerprint(
            record.spec.model_dump_json()
        )
        await house.store.cancel("mine")
        await house.store.delete("mine")


# --- devices ----------------------------------------------------------------------------------


@pytest.mark.parametrize("workers", [(), ("cuda:0 NVIDIA H200",)], ids=["no-gpu", "gpu"])
async def test_cpu_is_obeyed(house: TestHouse, workers: tuple[str, ...]) -> None:
    house.announce(*workers)

    assert await house.queue_of({"device": "cpu", **MANY}) == "cpu"
    assert await house.queue_of({}) == "cpu"


async def test_auto_takes_a_gpu_where_it_pays(house: TestHouse) -> None:
    assert await house.queue_of(MANY) == "cpu"
    house.announce("cuda:0 NVIDIA H200")

    assert await house.queue_of(MANY) == "cuda"
    fewer = {"data": {"generate": {"n": CUDA_PAYS_FROM_POINTS - 1}}, "loss": "huber"}
    assert await house.queue_of(fewer) == "cpu"


@pytest.mark.parametrize(
    ("changes", "queue"),
    [
        ({"loss": "mse"}, "cpu"),
        ({"loss": "mse", "optimizer": "lbfgs"}, "cpu"),
        ({"loss": "mse", "engine": "rules"}, "cpu"),
        ({"loss": "mse", "engine": "moments"}, "cpu"),
        ({"loss": "mse", "engine": "torch"}, "cuda"),
        ({"loss": "mse", "kind": "comparison"}, "cpu"),
        ({"loss": "l1", "kind": "comparison"}, "cuda"),
    ],
    ids=str,
)
async def test_auto_takes_a_gpu_only_for_steps_that_look_at_every_point(
    house: TestHouse, changes: dict[str, Any], queue: str
) -> None:
    house.announce("cuda:0 NVIDIA H200")

    assert await house.queue_of({**MANY, **changes}) == queue


async def test_reason_names_the_number_of_points(house: TestHouse) -> None:
    data = ("classic", [[1, 2]], MANY["data"])
    reasons = [(await house.submit({"data": points})).device.reason for points in data]

    assert reasons == [
        "1000 points are faster on cpu",
        "one point runs on cpu",
        "steps in closed form are faster on cpu, also with 200000 points",
    ]


@pytest.mark.parametrize("device", ["cuda", "cuda:1"])
async def test_demanded_gpu_that_is_not_there_is_refused(house: TestHouse, device: str) -> None:
    house.announce("cpu", queue="cpu")
    house.announce()
    with pytest.raises(DeviceUnavailable) as caught:
        await house.submit({"device": device})

    assert caught.value.retry_after_seconds
    assert await house.store.latest_id() is None


async def test_demanded_gpu_must_be_that_very_one(house: TestHouse) -> None:
    house.announce("cuda:0 NVIDIA H200", "cuda:1 NVIDIA H200")

    assert await house.queue_of({"device": "cuda"}) == "cuda"
    assert await house.queue_of({"device": "cuda:1"}) == "cuda"
    with pytest.raises(DeviceUnavailable):
        await house.queue_of({"device": "cuda:2"})


async def test_job_may_wait_for_a_gpu(house: TestHouse) -> None:
    record = await house.submit({"device": "cuda", "if_unavailable": "queue"})

    assert (record.device.queue, record.warnings) == ("cuda", ())
    assert house.woken == ["cuda"]


async def test_job_may_fall_back_to_cpu_and_says_so(house: TestHouse) -> None:
    record = await house.submit({"device": "cuda", "if_unavailable": "cpu"})

    assert record.device.queue == "cpu"
    assert [warning.code for warning in record.warnings] == ["device-fell-back"]
    assert house.woken == ["cpu"]


@pytest.mark.parametrize("given_by", ["job_id", "idempotency_key"])
async def test_replay_finds_its_job_when_the_gpu_has_gone(house: TestHouse, given_by: str) -> None:
    house.announce("cuda:0 NVIDIA H200")
    first = await house.create({"device": "cuda"}, **{given_by: "mine"})
    house.runs.retire("w-cuda")
    again = await house.create({"device": "cuda"}, **{given_by: "mine"})

    assert (again.is_new, again.record) == (False, first.record)
    with pytest.raises(DeviceUnavailable):
        await house.submit({"device": "cuda"}, **{given_by: "other"})


# --- points -----------------------------------------------------------------------------------


async def test_many_points_are_stored_beside_the_spec(house: TestHouse) -> None:
    points = [[k, 2 * k] for k in range(201)]
    few = await house.submit(points[:200])
    many = await house.submit(points)

    assert await house.store.points(few.id) is None
    assert isinstance(many.spec.data, StoredColumns)
    assert many.spec.data.num_points == 201
    columns = await house.store.points(many.id)
    assert columns is not None
    assert list(columns.y) == [2.0 * k for k in range(201)]


async def test_points_of_another_job_are_its_very_points(house: TestHouse) -> None:
    lender = await house.submit([[k, k] for k in range(300)])
    borrower = await house.submit({"data": {"job": lender.id}, "steps": 5})

    assert borrower.spec.data == lender.spec.data
    assert await house.store.points(borrower.id) == await house.store.points(lender.id)


@pytest.mark.parametrize("data", ["noisy", {"generate": {"n": 9}}], ids=str)
async def test_drawn_points_are_borrowed_with_their_seed(house: TestHouse, data: object) -> None:
    lender = await house.submit({"data": data, "seed": 5})
    borrowed = (await house.submit({"data": {"job": lender.id}, "seed": 6})).spec.data
    seed = borrowed.seed if isinstance(borrowed, Preset) else None
    if isinstance(borrowed, Generated):
        seed = borrowed.generate.seed

    assert seed == 5


async def test_drawn_points_keep_a_seed_of_their_own(house: TestHouse) -> None:
    lender = await house.submit({"data": {"preset": "noisy", "seed": 9}, "seed": 5})
    borrower = await house.submit({"data": {"job": lender.id}})

    assert borrower.spec.data == Preset(preset="noisy", seed=9)


async def test_points_of_no_job_are_refused(house: TestHouse) -> None:
    assert await refused(house, {"data": {"job": "nobody"}}) == ("/data/job", "job-not-found")


async def test_borrowed_points_must_fit_the_number_type(house: TestHouse) -> None:
    few = await house.submit([[1e39, 1]])
    many = await house.submit([[1e39, 1]] * 300)

    for lender in (few, many):
        body = {"data": {"job": lender.id}, "dtype": "float32"}
        assert await refused(house, body) == ("/data/job", "out-of-range")


async def test_borrowed_points_are_remarked_on(house: TestHouse) -> None:
    lender = await house.submit([[k, k] for k in range(300)])
    borrower = await house.submit({"data": {"job": lender.id}, "batch_size": 300})

    assert [warning.code for warning in borrower.warnings] == ["batch-is-everything"]


# --- cancel and rerun -------------------------------------------------------------------------


async def test_cancel_of_a_queued_job_is_at_once(house: TestHouse) -> None:
    record = await house.submit()

    assert (await house.service.cancel(record.id)).status is Status.CANCELLED
    with pytest.raises(JobNotFound):
        await house.service.cancel("nobody")


async def rerun(house: TestHouse, body: object, changes: object) -> FitSpec | ComparisonSpec:
    record = await house.submit(body)
    created = await house.service.rerun(record.id, changes)

    assert created.is_new
    assert created.record.rerun_of == record.id
    return created.record.spec


@pytest.mark.parametrize(
    "body",
    [{}, {"preset": "weak-optimizers"}, [[0, 1], [1, 2]], [[k, 1] for k in range(300)]],
    ids=["fit", "comparison", "few", "many"],
)
async def test_rerun_without_changes_is_the_same_again(house: TestHouse, body: object) -> None:
    record = await house.submit(body)
    again = await house.service.rerun(record.id, {})

    assert again.record.id != record.id
    assert again.record.spec == record.spec
    assert await house.store.points(again.record.id) == await house.store.points(record.id)


@pytest.mark.parametrize(
    ("changes", "optimizer"),
    [
        ({"lr": 0.5}, {"name": "SGD", "lr": 0.5, "momentum": 0.9}),
        ({"learning_rate": 0.5}, {"name": "SGD", "lr": 0.5, "momentum": 0.9}),
        ({"optimizer": {"lr": 0.5}}, {"name": "SGD", "lr": 0.5, "momentum": 0.9}),
        ({"optimizer": {"momentum": 0}}, {"name": "SGD", "lr": 0.1, "momentum": 0.0}),
        (
            {"optimizer": {"momentum": 0}, "lr": 0.5},
            {"name": "SGD", "lr": 0.5, "momentum": 0.0},
        ),
        ({"optimizer": "adam"}, {"name": "Adam", "lr": 0.001}),
        ({"optimizer": "adam", "lr": 0.5}, {"name": "Adam", "lr": 0.5}),
        ({"optimizer": {"name": "sgd"}}, {"name": "SGD", "lr": 0.001, "momentum": 0.0}),
    ],
    ids=str,
)
async def test_rerun_merges_the_optimizer(
    house: TestHouse, changes: dict[str, Any], optimizer: dict[str, Any]
) -> None:
    old = {"optimizer": {"name": "sgd", "lr": 0.1, "momentum": 0.9}, "steps": 77}
    spec = await rerun(house, old, changes)
    assert isinstance(spec, FitSpec)

    assert spec.optimizer.flatten().items() >= optimizer.items()
    assert spec.steps == 77


async def test_rerun_merges_stop_rules(house: TestHouse) -> None:
    spec = await rerun(house, {"stop": {"patience": 7}}, {"stop": {"loss_below": None}})

    assert (spec.stop.patience, spec.stop.loss_below) == (7, None)


async def test_rerun_with_another_preset_is_that_preset(house: TestHouse) -> None:
    old = {"preset": "weak-optimizers", "name": "mine"}
    spec = await rerun(house, old, {"preset": "weak-optimizers-fixed"})
    fixed = parse_spec({"preset": "weak-optimizers-fixed", "name": "mine"}).spec

    assert spec.steps == fixed.steps == 5000
    assert spec.data == fixed.data


async def test_rerun_of_no_job_is_not_found(house: TestHouse) -> None:
    with pytest.raises(JobNotFound):
        await house.service.rerun("nobody", {})


@pytest.mark.parametrize(
    ("changes", "pointer", "code"),
    [
        ([], "", "wrong-type"),
        ("steps", "", "wrong-type"),
        ({"stepps": 1}, "/stepps", "unknown-field"),
        ({"stop": 5}, "/stop", "model-type"),
        ({"kind": "comparison"}, "/kind", "kind-mismatch"),
        ({"lr": 0.1, "optimizer": {"lr": 0.1}}, "/lr", "given-twice"),
    ],
    ids=str,
)
async def test_rerun_names_what_is_wrong(
    house: TestHouse, changes: object, pointer: str, code: str
) -> None:
    record = await house.submit()
    with pytest.raises(InvalidSpec) as caught:
        await house.service.rerun(record.id, changes)

    assert [(flaw.pointer, flaw.code) for flaw in caught.value.flaws] == [(pointer, code)]


async def test_rerun_of_a_forgotten_lender_is_told_at_its_place(house: TestHouse) -> None:
    record = await house.submit([[k, 1] for k in range(300)])
    await house.service.cancel(record.id)
    await house.store.delete(record.id)
    with pytest.raises(JobNotFound):
        await house.service.rerun(record.id, {})


async def test_rerun_obeys_its_own_key(house: TestHouse) -> None:
    record = await house.submit()
    first = await house.service.rerun(record.id, {"steps": 5}, idempotency_key="k")
    again = await house.service.rerun(record.id, {"steps": 5}, idempotency_key="k")

    assert (again.is_new, again.record) == (False, first.record)
