"""What clients can do with jobs: the one room that uses store and queue together."""

import hashlib
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, cast

from app.domain.data import (
    INLINE_ECHO_POINTS,
    Columns,
    Data,
    Generated,
    JobData,
    Preset,
    StoredColumns,
    store_columns,
)
from app.domain.errors import DeviceUnavailable, Flaw, InvalidSpec, LookupFailed, QueueFull
from app.domain.ids import ID_RULE, is_job_id, make_job_id
from app.domain.job import JobRecord, Warn, WorkerInfo
from app.domain.parse import ParsedSpec, count_points, parse_spec, remark
from app.domain.presets import COMPARISON_PRESETS
from app.domain.result import DeviceUsed
from app.domain.spec import ComparisonSpec, FitSpec, fits_float32
from app.queue import Wake
from app.settings import Settings
from app.store.jobs import Created, JobStore, NewJob

CUDA_PAYS_FROM_POINTS: Final = 200_000
"""Below, the launches of a step's kernels cost more than a CPU core's whole step (estimate)."""

_RETRY_DEVICE_SECONDS: Final = 30


@dataclass(frozen=True, slots=True, kw_only=True)
class Preview:
    """What a submit would do, without doing it.

    Attributes:
        parsed: The spec with every default resolved.
        device: Where it would run.
    """

    parsed: ParsedSpec
    device: DeviceUsed


class Service:
    """Submit, preview, cancel, rerun; everything that reads only goes to the store directly."""

    def __init__(self, *, store: JobStore, wake: Wake, settings: Settings) -> None:
        self._store = store
        self._wake = wake
        self._settings = settings

    async def preview(self, parsed: ParsedSpec) -> Preview:
        """Check everything that submit checks and say where the job would run.

        Raises:
            InvalidSpec: The data belong to a job that is not there.
            DeviceUnavailable: No live worker has the device and the spec says "fail".
        """
        parsed, _ = await self._fetch_points(parsed)
        return Preview(parsed=parsed, device=await self._route(parsed.spec))

    async def submit(
        self,
        parsed: ParsedSpec,
        *,
        job_id: str | None = None,
        idempotency_key: str | None = None,
        rerun_of: str | None = None,
    ) -> Created:
        """Accept a job: when this returns, it is in the store and will end.

        Args:
            parsed: What to run.
            job_id: The client's own id; a repeat with the same spec finds the same job.
            idempotency_key: A repeat with the same spec finds the same job.
            rerun_of: The job that this one repeats.

        Raises:
            InvalidSpec: The data belong to a job that is not there, or the id is no id.
            DeviceUnavailable: No live worker has the device and the spec says "fail".
            QueueFull: Too many jobs wait.
            IdConflict: The id belongs to a job with another spec.
            IdempotencyKeyReused: The key belongs to a job with another spec.
            StoreUnavailable: Redis is away; the job may or may not have been accepted, so repeat
                with the same id or key.
        """
        if job_id is not None and not is_job_id(job_id):
            detail = f"A job's id is {ID_RULE}"
            raise InvalidSpec((Flaw(pointer="", code="invalid-id", detail=detail),))
        parsed, points = await self._fetch_points(parsed)
        job = _make_job(parsed, job_id=job_id, points=points, rerun_of=rerun_of)
        own_id = job_id is not None
        try:
            job = _send(job, to=await self._route(parsed.spec))
        except DeviceUnavailable as refusal:
            # A repeat of what was accepted while the device was there is still answered.
            try:
                return await self._store.create(
                    job, idempotency_key=idempotency_key, own_id=own_id, only_known=True
                )
            except QueueFull:
                raise refusal from None
        created = await self._store.create(job, idempotency_key=idempotency_key, own_id=own_id)
        if created.is_new:
            self._wake(job.device.queue)
        return created

    async def cancel(self, job_id: str) -> JobRecord:
        """Ask a job to end; a queued one ends at once, a finished one stays as it is."""
        return await self._store.cancel(job_id)

    async def rerun(
        self, job_id: str, overrides: object, *, idempotency_key: str | None = None
    ) -> Created:
        """Submit a finished or running job's spec again, with some fields changed.

        Args:
            job_id: The job to repeat.
            overrides: A body as for submit; its fields replace the old ones, `stop` and an
                optimizer without a name are merged field by field.
            idempotency_key: As for submit.

        Raises:
            JobNotFound: There is no such job.
            InvalidSpec: As for submit.
        """
        record = await self._store.get(job_id)
        parsed = parse_spec(merge_spec(record, overrides), kind=record.spec.kind)
        return await self.submit(parsed, idempotency_key=idempotency_key, rerun_of=job_id)

    async def _fetch_points(self, parsed: ParsedSpec) -> tuple[ParsedSpec, bytes | None]:
        """Put stored points in the place of many inline ones, or of another job's."""
        data = parsed.spec.data
        if isinstance(data, JobData):
            return await self._borrow_points(parsed, data.job)
        if isinstance(data, Columns) and len(data.x) > INLINE_ECHO_POINTS:
            stored, raw = store_columns(data)
            return _with_data(parsed, stored), raw
        return parsed, None

    async def _borrow_points(
        self, parsed: ParsedSpec, job_id: str
    ) -> tuple[ParsedSpec, bytes | None]:
        try:
            lender = await self._store.get(job_id)
            columns = await self._store.points(job_id)
        except LookupFailed as error:
            raise InvalidSpec(
                (Flaw(pointer="/data/job", code=error.slug, detail=error.detail),)
            ) from error
        data = _pin_seed(lender.spec)
        _check_float32(parsed.spec, columns or data)
        return _with_data(parsed, data), columns.to_bytes() if columns else None

    async def _route(self, spec: FitSpec | ComparisonSpec) -> DeviceUsed:
        """Choose the queue; only a spec that may want a GPU costs a look at the workers."""
        points = count_points(spec) or 0
        if spec.device == "cpu":
            return DeviceUsed(requested="cpu", queue="cpu", reason="the spec says cpu")
        if spec.device == "auto" and points < CUDA_PAYS_FROM_POINTS:
            reason = f"{points} points are faster on cpu" if points > 1 else "one point runs on cpu"
            return DeviceUsed(requested="auto", queue="cpu", reason=reason)
        return _choose_device(spec, points, await self._store.workers())


def _choose_device(
    spec: FitSpec | ComparisonSpec, points: int, workers: tuple[WorkerInfo, ...]
) -> DeviceUsed:
    """Route a spec that may run on a GPU.

    Raises:
        DeviceUnavailable: The spec demands a device that no live worker has.
    """
    has_cuda = any(_has_device(worker, spec.device) for worker in workers)
    if spec.device == "auto":
        queue, reason = (
            ("cuda", f"{points} points are faster on cuda")
            if has_cuda
            else ("cpu", "no cuda worker is live")
        )
        return DeviceUsed(requested="auto", queue=queue, reason=reason)
    if has_cuda:
        return DeviceUsed(requested=spec.device, queue="cuda", reason="the spec says cuda")
    if spec.if_unavailable == "cpu":
        reason = 'no cuda worker is live and the spec says "if_unavailable": "cpu"'
        return DeviceUsed(requested=spec.device, queue="cpu", reason=reason)
    if spec.if_unavailable == "queue":
        reason = "the spec says cuda; it waits until a cuda worker comes"
        return DeviceUsed(requested=spec.device, queue="cuda", reason=reason)
    raise DeviceUnavailable(
        f"No live worker has {spec.device}: start a cuda worker, or send "
        '"if_unavailable": "queue" to wait for one, or "cpu" to run there',
        retry_after_seconds=_RETRY_DEVICE_SECONDS,
    )


def _has_device(worker: WorkerInfo, wanted: str) -> bool:
    """Tell whether a worker has a GPU, or that very one when the spec names it (cuda:N)."""
    names = {device.split()[0] for device in worker.devices}
    return worker.queue == "cuda" and (wanted in names if ":" in wanted else bool(names))


def make_fingerprint(spec: FitSpec | ComparisonSpec) -> str:
    """Return the SHA-256 of the resolved spec: equal for specs that run the same."""
    return hashlib.sha256(spec.model_dump_json().encode()).hexdigest()


def merge_spec(record: JobRecord, overrides: object) -> dict[str, Any]:
    """Return the body that a rerun stands for.

    Raises:
        InvalidSpec: The overrides are no object.
    """
    if not isinstance(overrides, Mapping):
        detail = 'Give an object with the fields to change, e.g. {"lr": 0.1}'
        raise InvalidSpec((Flaw(pointer="", code="wrong-type", detail=detail),))
    body = record.spec.model_dump(mode="json")
    if isinstance(record.spec.data, StoredColumns):
        body["data"] = {"job": record.id}
    changes = dict(cast("Mapping[str, Any]", overrides))
    if isinstance(record.spec, FitSpec):
        _merge_optimizer(body, changes)
    else:
        _change_preset(body, changes)
    stop = changes.get("stop")
    if isinstance(stop, Mapping):
        changes["stop"] = {**body["stop"], **cast("Mapping[str, Any]", stop)}
    return {**body, **changes}


def _change_preset(body: dict[str, Any], changes: Mapping[str, Any]) -> None:
    """Let another preset bring its own fields, which the old ones would hide."""
    name = changes.get("preset")
    if isinstance(name, str) and name in COMPARISON_PRESETS:
        for field in COMPARISON_PRESETS[name][1]:
            body.pop(field, None)


def _merge_optimizer(body: dict[str, Any], changes: dict[str, Any]) -> None:
    """Let a bare learning rate or hyperparameter keep the rest of the old optimizer."""
    old = dict(body["optimizer"])
    if "lr" in changes or "learning_rate" in changes:
        del old["lr"]
    body["optimizer"] = old
    new = changes.get("optimizer")
    if isinstance(new, Mapping) and "name" not in new:
        changes["optimizer"] = {**old, **cast("Mapping[str, Any]", new)}


def _pin_seed(spec: FitSpec | ComparisonSpec) -> Data:
    """Return a spec's data with the seed that they were drawn under written into them."""
    data = spec.data
    if isinstance(data, Preset) and data.seed is None:
        return data.model_copy(update={"seed": spec.seed})
    if isinstance(data, Generated) and data.generate.seed is None:
        return Generated(generate=data.generate.model_copy(update={"seed": spec.seed}))
    return data


def _with_data(parsed: ParsedSpec, data: object) -> ParsedSpec:
    spec = parsed.spec.model_copy(update={"data": data})
    return ParsedSpec(spec=spec, defaulted=parsed.defaulted, warnings=remark(spec))


def _check_float32(spec: FitSpec | ComparisonSpec, data: object) -> None:
    """Refuse borrowed points that the spec would have refused inline."""
    if spec.dtype == "float32" and not fits_float32(data):
        detail = "A value of that job's data does not fit a float32: use dtype float64"
        raise InvalidSpec((Flaw(pointer="/data/job", code="out-of-range", detail=detail),))


def _make_job(
    parsed: ParsedSpec, *, job_id: str | None, points: bytes | None, rerun_of: str | None
) -> NewJob:
    """Return the job that a submit asks for, not yet sent to a device."""
    requested = parsed.spec.device
    return NewJob(
        id=job_id or make_job_id(time.time_ns() // 1_000_000),
        spec=parsed.spec,
        fingerprint=make_fingerprint(parsed.spec),
        defaulted=parsed.defaulted,
        warnings=parsed.warnings,
        device=DeviceUsed(requested=requested, queue="cuda", reason="no worker has it"),
        points=points,
        rerun_of=rerun_of,
    )


def _send(job: NewJob, *, to: DeviceUsed) -> NewJob:
    return replace(job, device=to, warnings=(*job.warnings, *_device_warnings(to)))


def _device_warnings(device: DeviceUsed) -> tuple[Warn, ...]:
    if device.requested.startswith("cuda") and device.queue == "cpu":
        return (Warn(code="device-fell-back", message=f"Runs on cpu: {device.reason}"),)
    return ()
