"""The job store as the service sees it: create, read, list, cancel, patch, delete.

It does not know how a job is run (runs) nor how its readers are woken (feed).
"""

from array import array
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, Final

from redis.asyncio import Redis
from redis.exceptions import ResponseError

from app.domain.data import Columns, columns_from_bytes
from app.domain.errors import JobExpired, JobNotFinished, JobNotFound, PreconditionFailed
from app.domain.events import Event
from app.domain.history import Rows
from app.domain.job import JobRecord, WorkerInfo
from app.domain.outcome import Outcome
from app.domain.series import SeriesColumns, series_from_bytes
from app.settings import Settings
from app.store import codec
from app.store.connect import translate_errors
from app.store.keys import QUEUES, Keys, digest_of
from app.store.listing import JobFilter, Page, make_cursor
from app.store.reading import merge_best, read_blocks
from app.store.records import decode_shelf, mend_all
from app.store.scripts import TOMBSTONE_SECONDS, Argument, AsyncScripts, times_of
from app.store.series import read_names, read_one
from app.store.standing import Standing, decode_durations, decode_standing
from app.store.submission import Created, NewJob, expired, refusal_of
from app.store.tail import Tail, read_tail

_LOOKED_AT_ONCE: Final = 500
_MOST_LOOKS: Final = 20
"""Jobs that one call of find.lua looks at: about a millisecond of Redis's only thread."""


class _Unset:
    """The type of UNSET."""


UNSET: Final = _Unset()
"""Says that a patch leaves a field as it is; None is a value."""


class JobStore:
    """Jobs in Redis; every method is one round trip unless it says otherwise.

    All raise StoreUnavailable when Redis does not answer or cannot write; those that take an id
    raise JobNotFound or JobExpired.
    """

    def __init__(self, redis: Redis, settings: Settings) -> None:
        self._redis: Any = redis  # redis-py's own types are partly unknown
        self._settings = settings
        self._keys = Keys(settings.namespace)
        self._scripts = AsyncScripts(redis, self._keys, settings)

    async def create(
        self,
        job: NewJob,
        *,
        idempotency_key: str | None = None,
        own_id: bool = False,
        only_known: bool = False,
    ) -> Created:
        """Accept a job, or find the one that the same key, or the same own id, made before.

        Args:
            job: What to accept.
            idempotency_key: Remembered until settings.idempotency_seconds after the job's end.
            own_id: The client chose the id; meeting it again with the same spec is no conflict.
            only_known: Find, accept nothing: what is not known meets a full queue.

        Raises:
            IdempotencyKeyReused: The key came with another spec.
            IdConflict: The id belongs to a job with another spec.
            JobExpired: The job that the key or the id made was forgotten; it is not run again.
            QueueFull: settings.max_queued_jobs are waiting.
            ShareFull: The job's client has as many of these places as are still free.
        """
        bound = 0 if only_known else self._settings.max_queued_jobs
        reply = await self._scripts.commit(
            "create",
            job.id,
            "1" if own_id else "",
            "" if idempotency_key is None else digest_of(idempotency_key),
            job.fingerprint,
            bound,
            *job.arguments(),
        )
        match reply[0]:
            case b"new":
                return Created(
                    record=job.record(order=int(reply[1])),
                    is_new=True,
                    standing=decode_standing(reply[2], queue=job.device.queue),
                )
            case b"same":
                return Created(record=codec.decode_record(codec.pairs(reply[1])), is_new=False)
            case _:
                raise refusal_of(job, reply, max_queued_jobs=self._settings.max_queued_jobs)

    async def get(self, job_id: str) -> JobRecord:
        """Return the record."""
        with translate_errors():
            fields = await self._redis.hgetall(self._keys.job(job_id))
        if not fields:
            raise await self._missing(job_id)
        return codec.decode_record(fields)

    async def recall(self, idempotency_key: str) -> JobRecord | None:
        """Return the job that a key made, None when there is none (any more); two round trips."""
        with translate_errors():
            name = self._keys.memory(digest_of(idempotency_key))
            job_id = await self._redis.hget(name, "id")
            fields = await self._redis.hgetall(self._keys.job(job_id.decode())) if job_id else None
        return codec.decode_record(fields) if fields else None

    async def find(self, wanted: JobFilter, *, cursor: str | None = None, limit: int) -> Page:
        """List jobs, newest first: filtered, then paged.

        A page looks at 10,000 jobs at most: it may be short, even empty, and have a next one.

        Raises:
            InvalidCursor: The cursor was not made by this method.
        """
        highest, last, records = wanted.highest(cursor), 0, list[JobRecord]()
        for _ in range(_MOST_LOOKS):
            missing = limit - len(records)
            reply = await self._scripts.run(
                "find", highest, wanted.lowest(), _LOOKED_AT_ONCE, missing, *wanted.arguments()
            )
            records += [codec.decode_record(codec.pairs(flat)) for flat in reply[1:]]
            if reply[0] == b"":
                return Page(records=tuple(records), next_cursor=None)
            last = int(reply[0])
            if len(records) >= limit:
                break
            highest = f"({last}"
        return Page(records=tuple(records), next_cursor=make_cursor(last))

    async def latest_id(self) -> str | None:
        """Return the id of the newest job; None when there is none."""
        found = await self._scripts.run("latest")
        return None if found is None else found.decode()

    async def cancel(self, job_id: str) -> JobRecord:
        """Cancel a queued job at once, ask a running one to stop, leave a finished one alone."""
        reply = await self._scripts.commit("cancel", job_id, *times_of(self._settings))
        if not reply:
            raise await self._missing(job_id)
        return codec.decode_record(codec.pairs(reply))

    async def patch(
        self,
        job_id: str,
        *,
        name: str | _Unset | None = UNSET,
        tags: dict[str, str] | _Unset = UNSET,
        expires_at_ms: int | _Unset = UNSET,
        if_seq: int | None = None,
    ) -> JobRecord:
        """Change what may be changed; the job gets a new seq, but no event.

        Args:
            job_id: Which job.
            name: Free text, None for none.
            tags: Replaces all tags.
            expires_at_ms: When to forget it; a time in the past is now.
            if_seq: Change nothing unless the job is still at this seq.

        Raises:
            PreconditionFailed: It is not.
            JobNotFinished: expires_at_ms of a job that has not ended.
        """
        fields = list[Argument]()
        if not isinstance(name, _Unset):
            fields += ["name", codec.to_json(name)]
        if not isinstance(tags, _Unset):
            fields += ["tags", codec.to_json(tags)]
        reply = await self._scripts.commit(
            "patch",
            job_id,
            "" if if_seq is None else if_seq,
            "" if isinstance(expires_at_ms, _Unset) else expires_at_ms,
            TOMBSTONE_SECONDS * 1000,
            *fields,
        )
        match reply[0]:
            case b"ok":
                return codec.decode_record(codec.pairs(reply[1]))
            case b"changed":
                raise PreconditionFailed(f"The job {job_id} has changed since version {if_seq}")
            case b"unfinished":
                raise JobNotFinished(
                    f"The job {job_id} has not ended: it has no time of expiry yet"
                )
            case _:
                raise await self._missing(job_id)

    async def delete(self, job_id: str) -> None:
        """Forget a finished job and its idempotency key; its id is unknown from now on.

        Raises:
            JobNotFinished: Cancel it first.
        """
        reply = await self._scripts.commit("delete", job_id)
        if reply == b"unfinished":
            raise JobNotFinished(f"The job {job_id} has not ended: cancel it first")
        if reply == b"missing":
            raise await self._missing(job_id)

    async def history(
        self,
        job_id: str,
        *,
        run: int = 0,
        after_step: int = -1,
        limit: int | None = None,
        ended: JobRecord | None = None,
    ) -> Rows:
        """Return rows of one run whose step is larger than after_step, oldest first.

        The best row of a finished run is among them even where record_every left it out. One round
        trip, and one more for every 200 blocks, a block being what a worker sent at once.

        Args:
            job_id: Which job.
            run: Position of the run.
            after_step: -1 begins at the start.
            limit: Most rows; None returns all.
            ended: The job as it was read after its end, which saves a round trip.
        """
        found = await self._outcome(job_id) if ended is None else ended.outcome
        with translate_errors():
            rows, is_whole = await read_blocks(
                self._redis, self._keys.history(job_id, run=run), after_step=after_step, limit=limit
            )
        if found is not None:
            rows = merge_best(rows, found, run=run, after_step=after_step, is_whole=is_whole)
        return codec.cut(rows, stop=limit)

    async def _outcome(self, job_id: str) -> Outcome | None:
        with translate_errors():
            outcome, exists = await self._redis.hmget(self._keys.job(job_id), ["outcome", "status"])
        if exists is None:
            raise await self._missing(job_id)
        return None if outcome is None else Outcome.model_validate_json(outcome)

    async def points(self, job_id: str) -> Columns | None:
        """Return the stored columns; None when the spec itself says what the points are."""
        raw = await self._raw_points(job_id)
        return None if raw is None else columns_from_bytes(raw)

    async def _raw_points(self, job_id: str) -> bytes | None:
        with translate_errors():
            async with self._redis.pipeline() as pipe:
                pipe.exists(self._keys.job(job_id))
                pipe.get(self._keys.points(job_id))
                exists, raw = await pipe.execute()
        if not exists:
            raise await self._missing(job_id)
        return None if raw is None else bytes(raw)

    async def series(self, job_id: str) -> SeriesColumns | None:
        """Return a batch's stored series; None when the spec itself says what they are."""
        raw = await self._raw_points(job_id)
        return None if raw is None else series_from_bytes(raw)

    async def series_names(self, job_id: str) -> tuple[str, ...] | None:
        """Return the names of a batch's stored series; None when they have none; two round trips."""
        with translate_errors():
            return await read_names(self._redis, self._keys.points(job_id))

    async def one_series(self, job_id: str, *, run: int) -> Columns | None:
        """Return the points of one stored series, None when none are stored; four round trips."""
        with translate_errors():
            return await read_one(self._redis, self._keys.points(job_id), run=run)

    async def records(self, job_id: str, start: int, count: int) -> bytes:
        """Return the records of some runs, one after the other; those of no worker yet say so.

        Args:
            job_id: Which job, of many runs.
            start: First run.
            count: How many; fewer come back where the job has no more, and none before it begins.
        """
        (found,) = await self._read_records(job_id, [range(start, start + count)])
        return found

    async def records_at(self, job_id: str, positions: Sequence[int]) -> list[bytes]:
        """Return the records of single runs, in the order of the positions; as `records`."""
        return await self._read_records(job_id, [range(run, run + 1) for run in positions])

    async def _read_records(self, job_id: str, runs: Sequence[range]) -> list[bytes]:
        asked = [number for part in runs for number in (part.start, len(part))]
        kind, num_runs, num_shards, done, *raw = await self._scripts.run("records", job_id, *asked)
        if not kind:
            raise await self._missing(job_id)
        return mend_all(decode_shelf((kind, num_runs, num_shards, done)), raw, runs)

    async def order(self, job_id: str, name: str, start: int, count: int) -> "array[int]":
        """Return positions of runs in one order; empty until the job has ended.

        Args:
            job_id: Which job, of many runs.
            name: Of the order, as the worker named it.
            start: First place in it.
            count: How many places; fewer come back where it has no more.
        """
        first, size = start * codec.POSITION_BYTES, count * codec.POSITION_BYTES
        with translate_errors():
            async with self._redis.pipeline() as pipe:
                pipe.exists(self._keys.job(job_id))
                pipe.getrange(self._keys.order(job_id, name), first, first + max(size, 1) - 1)
                exists, raw = await pipe.execute()
        if not exists:
            raise await self._missing(job_id)
        return codec.decode_positions(raw[:size])

    async def tail(self, job_id: str, *, after: int = 0, limit: int = 100) -> Tail:
        """Return events whose seq is larger than `after`, and where the job stands."""
        with translate_errors():
            tail = await read_tail(self._redis, self._keys, job_id, after=after, limit=limit)
        if tail is None:
            raise await self._missing(job_id)
        return tail

    async def events(self, job_id: str, *, after: int = 0, limit: int = 100) -> tuple[Event, ...]:
        """Return events whose seq is larger than `after`, oldest first."""
        return (await self.tail(job_id, after=after, limit=limit)).events

    async def position(self, job_id: str) -> int | None:
        """Return how many jobs of its queue are before it; None when it does not wait."""
        with translate_errors():
            async with self._redis.pipeline() as pipe:
                for queue in QUEUES:
                    pipe.zrank(self._keys.ready(queue), job_id)
                ranks: list[int | None] = await pipe.execute()
        return next((rank for rank in ranks if rank is not None), None)

    async def depth(self) -> dict[str, int]:
        """Return how many jobs wait in each queue."""
        with translate_errors():
            async with self._redis.pipeline() as pipe:
                for queue in QUEUES:
                    pipe.zcard(self._keys.ready(queue))
                return dict(zip(QUEUES, await pipe.execute(), strict=True))

    async def durations(self, queue: str) -> tuple[float, ...]:
        """Return how many seconds each of a queue's last jobs ran that succeeded, newest first."""
        with translate_errors():
            found = await self._redis.lrange(self._keys.durations(queue), 0, -1)
        return decode_durations(found)

    async def standing(self, record: JobRecord) -> Standing | None:
        """Return where a job waits in its queue; None when it does not wait."""
        queue = record.device.queue
        return decode_standing(await self._scripts.run("standing", record.id, queue), queue=queue)

    async def workers(self) -> tuple[WorkerInfo, ...]:
        """Return the workers that live, by name."""
        found = await self._scripts.run("workers")
        alive = [WorkerInfo.model_validate_json(text) for text in found]
        return tuple(sorted(alive, key=lambda worker: worker.name))

    async def check(self) -> None:
        """Do nothing but reach Redis."""
        with translate_errors():
            await self._redis.ping()

    async def durability(self) -> dict[str, str]:
        """Return what Redis says of appendonly, appendfsync and maxmemory-policy.

        "unknown" where it does not let us ask, as hosted services do.
        """
        names = ("appendonly", "appendfsync", "maxmemory-policy")
        found: dict[Any, Any] = {}
        with translate_errors(), suppress(ResponseError):
            found = await self._redis.config_get(*names)
        told = {_plain(name): _plain(value) for name, value in found.items()}
        return {name: told.get(name, "unknown") for name in names}

    async def _missing(self, job_id: str) -> JobNotFound | JobExpired:
        with translate_errors():
            if await self._redis.exists(self._keys.gone(job_id)):
                return expired(job_id)
        return JobNotFound(f"There is no job {job_id}")


def _plain(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value
