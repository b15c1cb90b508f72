"""What clients can do with jobs: the one room that uses store and queue together."""

import asyncio
import hashlib
import math
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import fmean
from typing import Final

from app.domain.batch import BatchSpec
from app.domain.data import (
    INLINE_ECHO_POINTS,
    Columns,
    Data,
    Generated,
    JobData,
    Preset,
    StoredColumns,
    columns_from_bytes,
    store_columns,
)
from app.domain.errors import (
    DeviceUnavailable,
    Flaw,
    InvalidSpec,
    JobExpired,
    LookupFailed,
    QueueFull,
)
from app.domain.extension import extend_spec
from app.domain.ids import ID_RULE, is_job_id, make_job_id
from app.domain.job import JobRecord
from app.domain.kinds import AnySpec, fit_of_run
from app.domain.parse import ParsedSpec, count_points, parse_spec, remark
from app.domain.rerun import merge_spec
from app.domain.result import DeviceUsed
from app.domain.routing import choose_device, device_warnings, may_want_cuda
from app.domain.series import (
    GeneratedSeries,
    SeriesColumns,
    SeriesData,
    StoredSeries,
    store_series,
)
from app.domain.spec import fits_float32
from app.queue import WakeText
from app.settings import Settings
from app.store.jobs import JobStore
from app.store.submission import Created, NewJob

_UNKNOWN_RELIEF_SECONDS: Final = 5
_LONGEST_RELIEF_SECONDS: Final = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Preview:
    """What a submit would do, without doing it.

    Attributes:
        parsed: The spec with every default resolved.
        device: Where it would run.
        columns: Its points, when the spec only names them.
    """

    parsed: ParsedSpec
    device: DeviceUsed
    columns: Columns | None = None


class Service:
    """Submit, preview, cancel, rerun; everything that reads only goes to the store directly."""

    def __init__(self, *, store: JobStore, wake_text: WakeText, settings: Settings) -> None:
        self._store = store
        self._wake_text = wake_text
        self._settings = settings

    async def preview(self, parsed: ParsedSpec) -> Preview:
        """Check everything that submit checks and say where the job would run.

        Raises:
            InvalidSpec: The data belong to a job that is not there.
            DeviceUnavailable: No live worker has the device and the spec says "fail".
        """
        parsed, raw = await self._fetch_points(parsed)
        device = await self._route(parsed.spec)
        columns = None if raw is None else columns_from_bytes(raw)
        return Preview(parsed=parsed, device=device, columns=columns)

    async def submit(
        self,
        parsed: ParsedSpec,
        *,
        job_id: str | None = None,
        idempotency_key: str | None = None,
        client: str = "",
        rerun_of: str | None = None,
        extends: JobRecord | None = None,
    ) -> Created:
        """Accept a job: when this returns, it is in the store and will end.

        Args:
            parsed: What to run.
            job_id: The client's own id; a repeat with the same spec finds the same job.
            idempotency_key: A repeat with the same spec finds the same job.
            client: Who asks, where several share the queue.
            rerun_of: The job that this one repeats.
            extends: The job from whose end this one goes on.

        Raises:
            InvalidSpec: The data belong to a job that is not there, or the id is no id.
            DeviceUnavailable: No live worker has the device and the spec says "fail".
            QueueFull: Too many jobs wait; ShareFull when they are the client's own.
            IdConflict: The id belongs to a job with another spec.
            IdempotencyKeyReused: The key belongs to a job with another spec.
            StoreUnavailable: Redis is away; the job may or may not have been accepted, so repeat
                with the same id or key.
        """
        if job_id is not None and not is_job_id(job_id):
            detail = f"A job's id is {ID_RULE}"
            raise InvalidSpec((Flaw(pointer="", code="invalid-id", detail=detail),))
        parsed, points = await self._fetch_points(parsed)
        job = _make_job(parsed, job_id=job_id, points=points)
        job = replace(job, client=client, rerun_of=rerun_of)
        if extends is not None:
            job = replace(job, extends=extends.id, extended_at_ms=extends.created_at_ms)
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
        return await self._accept(job, idempotency_key=idempotency_key, own_id=own_id)

    async def _accept(self, job: NewJob, *, idempotency_key: str | None, own_id: bool) -> Created:
        # The wake-up travels with the job: both are there, or neither.
        job = replace(job, wake_up=self._wake_text(job.device.queue))
        try:
            return await self._store.create(job, idempotency_key=idempotency_key, own_id=own_id)
        except QueueFull as full:
            full.retry_after_seconds = await self._find_relief(job.device.queue)
            raise

    async def cancel(self, job_id: str) -> JobRecord:
        """Ask a job to end; a queued one ends at once, a finished one stays as it is."""
        return await self._store.cancel(job_id)

    async def rerun(
        self,
        job_id: str,
        overrides: object,
        *,
        idempotency_key: str | None = None,
        client: str = "",
    ) -> Created:
        """Submit a finished or running job's spec again, with some fields changed.

        Args:
            job_id: The job to repeat.
            overrides: A body as for submit; its fields replace the old ones, `stop` and an
                optimizer without a name are merged field by field.
            idempotency_key: As for submit.
            client: As for submit.

        Raises:
            JobNotFound: There is no such job.
            InvalidSpec: As for submit.
        """
        try:
            record = await self._store.get(job_id)
        except LookupFailed as lost:
            return await self._replay(idempotency_key, lost, rerun_of=job_id)
        # Aside: the body may bring as many points as any.
        body, kind = merge_spec(record, overrides), record.spec.kind
        parsed = await asyncio.to_thread(parse_spec, body, kind=kind)
        return await self.submit(
            parsed, idempotency_key=idempotency_key, client=client, rerun_of=job_id
        )

    async def extend(
        self,
        job_id: str,
        changes: object,
        *,
        idempotency_key: str | None = None,
        client: str = "",
    ) -> Created:
        """Submit a job that goes on where a fit has ended, with the fit's history before it.

        Args:
            job_id: The fit.
            changes: How many steps more, and little else: see domain/extension.
            idempotency_key: As for submit.
            client: As for submit.

        Raises:
            JobNotFound: There is no such job.
            JobNotFinished: It has not ended.
            InvalidSpec: It cannot go on, or as for submit.
        """
        try:
            record = await self._store.get(job_id)
        except LookupFailed as lost:
            return await self._replay(idempotency_key, lost, extends=job_id)
        return await self.submit(
            extend_spec(record, changes),
            idempotency_key=idempotency_key,
            client=client,
            extends=record,
        )

    async def repeat_run(self, record: JobRecord, run: int, *, client: str = "") -> JobRecord:
        """Find or make the fit that makes one run of a sweep or a batch, with its history.

        Args:
            record: The sweep or the batch.
            run: Number of the run, from 0; the job has it.
            client: As for submit.

        Raises:
            QueueFull: As for submit, where the fit is not there yet.
            DeviceUnavailable: Likewise.
        """
        is_stored = isinstance(record.spec.data, StoredSeries)
        columns = await self._store.one_series(record.id, run=run) if is_stored else None
        fit = fit_of_run(record.spec, run, columns)
        changes: dict[str, object] = {"name": f"run {run} of {record.id}", "tags": {}}
        if isinstance(record.spec.data, StoredColumns):
            changes["data"] = JobData(job=record.id)
        fit = fit.model_copy(update=changes)
        parsed = ParsedSpec(spec=fit, defaulted=(), warnings=remark(fit))
        # No client can send a line break in a header: the key is ours.
        key = f"run {run}\nof {record.id}\nof {record.created_at_ms}"
        try:
            made = await self.submit(parsed, idempotency_key=key, client=client, rerun_of=record.id)
        except JobExpired:
            made = await self.submit(parsed, client=client, rerun_of=record.id)
        return made.record

    async def _replay(
        self,
        idempotency_key: str | None,
        lost: LookupFailed,
        *,
        rerun_of: str | None = None,
        extends: str | None = None,
    ) -> Created:
        """Find what a key has made of a job that was forgotten since, or raise why it is lost.

        Without the old spec there is no fingerprint to compare: that the key made the same kind of
        job of the same old one has to do, whatever fields the repeat changes.
        """
        known = None if idempotency_key is None else await self._store.recall(idempotency_key)
        if known is None or (known.rerun_of, known.extends) != (rerun_of, extends):
            raise lost
        return Created(record=known, is_new=False)

    async def _find_relief(self, queue: str) -> int:
        """Return in how many seconds a place in the queue will be free, as far as one can tell."""
        workers = [worker for worker in await self._store.workers() if worker.queue == queue]
        return estimate_relief(await self._store.durations(queue), workers=len(workers))

    async def _fetch_points(self, parsed: ParsedSpec) -> tuple[ParsedSpec, bytes | None]:
        """Put stored points in the place of many inline ones, or of another job's."""
        data = parsed.spec.data
        if isinstance(data, JobData):
            return await self._borrow_points(parsed, data.job)
        if isinstance(data, SeriesColumns):
            self._refuse_many(data.num_points)
        return _put_aside(parsed)

    def _refuse_many(self, num_points: int) -> None:
        """Refuse a batch with more points than the operator lets in."""
        most = self._settings.max_batch_points
        if num_points > most:
            detail = (
                f"These series have {num_points} points together, and this service takes {most}: "
                "send several batches, or raise FITJOBS_MAX_BATCH_POINTS"
            )
            raise InvalidSpec((Flaw(pointer="/data", code="too-long", detail=detail),))

    async def _borrow_points(
        self, parsed: ParsedSpec, job_id: str
    ) -> tuple[ParsedSpec, bytes | None]:
        try:
            lender = await self._store.get(job_id)
            has_series = isinstance(lender.spec, BatchSpec)
            read = self._store.series if has_series else self._store.points
            points = await read(job_id)
        except LookupFailed as error:
            raise InvalidSpec(
                (Flaw(pointer="/data/job", code=error.slug, detail=error.detail),)
            ) from error
        if has_series is not isinstance(parsed.spec, BatchSpec):
            detail = f"{job_id} is a {lender.spec.kind}: its points are not those of a "
            flaw = Flaw(
                pointer="/data/job", code="other-points", detail=f"{detail}{parsed.spec.kind}"
            )
            raise InvalidSpec((flaw,))
        data = _pin_seed(lender.spec)
        _check_float32(parsed.spec, points or data)
        return _with_data(parsed, data), points.to_bytes() if points else None

    async def _route(self, spec: AnySpec) -> DeviceUsed:
        """Choose the queue; only a spec that may want a GPU costs a look at the workers."""
        points = count_points(spec) or 0
        workers = await self._store.workers() if may_want_cuda(spec, points) else ()
        return choose_device(spec, points, workers)


def make_fingerprint(spec_json: str) -> str:
    """Return the SHA-256 of a resolved spec's JSON: equal for specs that run the same."""
    return hashlib.sha256(spec_json.encode()).hexdigest()


def _put_aside(parsed: ParsedSpec) -> tuple[ParsedSpec, bytes | None]:
    """Put a name in the place of many inline points, and return their bytes."""
    data = parsed.spec.data
    if isinstance(data, Columns) and len(data.x) > INLINE_ECHO_POINTS:
        stored, raw = store_columns(data)
        return _with_data(parsed, stored), raw
    if isinstance(data, SeriesColumns) and data.num_points > INLINE_ECHO_POINTS:
        series, raw = store_series(data)
        return _with_data(parsed, series), raw
    return parsed, None


def _pin_seed(spec: AnySpec) -> Data | SeriesData:
    """Return a spec's data with the seed that they were drawn under written into them."""
    data = spec.data
    if isinstance(data, GeneratedSeries) and data.generate.seed is None:
        return GeneratedSeries(generate=data.generate.model_copy(update={"seed": spec.seed}))
    if isinstance(data, Preset) and data.seed is None:
        return data.model_copy(update={"seed": spec.seed})
    if isinstance(data, Generated) and data.generate.seed is None:
        return Generated(generate=data.generate.model_copy(update={"seed": spec.seed}))
    return data


def _with_data(parsed: ParsedSpec, data: object) -> ParsedSpec:
    spec = parsed.spec.model_copy(update={"data": data})
    remarks = remark(spec)
    known = {warning.code for warning in remarks}
    others = tuple(warning for warning in parsed.warnings if warning.code not in known)
    return ParsedSpec(spec=spec, defaulted=parsed.defaulted, warnings=(*remarks, *others))


def _check_float32(spec: AnySpec, data: object) -> None:
    """Refuse borrowed points that the spec would have refused inline."""
    if spec.dtype == "float32" and not fits_float32(data):
        detail = "A value of that job's data does not fit a float32: use dtype float64"
        raise InvalidSpec((Flaw(pointer="/data/job", code="out-of-range", detail=detail),))


def estimate_relief(durations: Sequence[float], *, workers: int) -> int:
    """Return after how many seconds it is worth asking a full queue again.

    One worker frees a place each time that a job ends. Spread over as long again, so that the
    clients that were refused together do not come back together.

    Args:
        durations: How many seconds each of the last jobs ran.
        workers: Live workers of the queue.
    """
    if not durations or not workers:
        return _UNKNOWN_RELIEF_SECONDS
    pause = fmean(durations) / workers
    # No secret: any spread will do.
    spread = random.uniform(pause, 2 * pause)  # noqa: S311
    return min(max(1, math.ceil(spread)), _LONGEST_RELIEF_SECONDS)


def _make_job(parsed: ParsedSpec, *, job_id: str | None, points: bytes | None) -> NewJob:
    """Return the job that a submit asks for, not yet sent to a device."""
    requested = parsed.spec.device
    spec_json = parsed.spec.model_dump_json()
    return NewJob(
        id=job_id or make_job_id(time.time_ns() // 1_000_000),
        spec=parsed.spec,
        spec_json=spec_json,
        fingerprint=make_fingerprint(spec_json),
        defaulted=parsed.defaulted,
        warnings=parsed.warnings,
        device=DeviceUsed(requested=requested, queue="cuda", reason="no worker has it"),
        points=points,
    )


def _send(job: NewJob, *, to: DeviceUsed) -> NewJob:
    return replace(job, device=to, warnings=(*job.warnings, *device_warnings(to)))
