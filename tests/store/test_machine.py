"""Any order of clients, workers, zombies and recovery keeps the store's promises.

The model in Python says what must be true after every step; the store is the real one.
"""

import asyncio
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from redis import Redis

from app.domain.errors import (
    IdempotencyKeyReused,
    JobNotFinished,
    JobNotFound,
    LeaseLost,
    QueueFull,
    ShareFull,
)
from app.domain.job import Status
from app.settings import Settings
from app.store import codec
from app.store.checkpoint import Checkpoint
from app.store.claim import Claim
from app.store.connect import connect_async
from app.store.jobs import JobStore
from app.store.keys import Keys
from app.store.recovery import Recovery
from app.store.runs import Batch, RunStore
from tests.store.model import Model
from tests.store.samples import FAILURE, make_job, make_outcome, make_progress, make_rows, write

_BOUND = 4
_FRUITLESS = 2
_PICK = st.integers(0, 7)


class StoreMachine(RuleBasedStateMachine):
    """Drives the store and the model side by side."""

    redis: Redis
    url: str

    def __init__(self) -> None:
        super().__init__()
        self.redis.flushall()
        self.settings = Settings.model_construct(
            max_queued_jobs=_BOUND, max_fruitless_attempts=_FRUITLESS
        )
        self.keys = Keys(self.settings.namespace)
        self.loop = asyncio.new_event_loop()
        self.client = connect_async(self.settings, self.url)
        self.store = JobStore(self.client, self.settings)
        self.runs = RunStore(self.redis, self.settings)
        self.recovery = Recovery(self.redis, self.settings)
        self.jobs: dict[str, Model] = {}
        self.order: list[str] = []  # of creation
        self.turn = 0  # the highest that was claimed
        self.turns: dict[str, int] = {}  # the last of every client, while it has jobs that wait
        self.claims: list[Claim] = []
        self.keys_used: dict[str, str] = {}

    def teardown(self) -> None:
        self.loop.run_until_complete(self.client.aclose())
        self.loop.close()

    def wait(self, call: Any) -> Any:
        return self.loop.run_until_complete(call)

    def queued(self) -> list[str]:
        waiting = [i for i in self.order if self.jobs[i].status is Status.QUEUED]
        return sorted(waiting, key=lambda job_id: (self.jobs[job_id].turn, job_id))

    def held_by(self, client: str) -> list[Model]:
        return [self.jobs[i] for i in self.queued() if self.jobs[i].client == client]

    def next_turn(self, client: str) -> int:
        self.turns[client] = max(self.turn, self.turns.get(client, 0)) + 1
        return self.turns[client]

    # --- clients ----------------------------------------------------------------------------

    @initialize()
    def begin(self) -> None:
        self.create(key=None, fingerprint="one", client="")

    @rule(
        key=st.sampled_from([None, "k1", "k2"]),
        fingerprint=st.sampled_from(["one", "two"]),
        client=st.sampled_from(["", "a", "b"]),
    )
    def create(self, key: str | None, fingerprint: str, client: str) -> None:
        job = make_job(fingerprint=fingerprint, client=client)
        known = self.keys_used.get(key or "")
        call = self.store.create(job, idempotency_key=key)
        if known is not None and self.jobs[known].fingerprint != fingerprint:
            with pytest.raises(IdempotencyKeyReused):
                self.wait(call)
        elif known is not None:
            created = self.wait(call)
            assert (created.is_new, created.record.id) == (False, known)
        elif not self.is_refused(call, client):
            assert self.wait(call).is_new
            self.jobs[job.id] = Model(
                key=key, fingerprint=fingerprint, client=client, turn=self.next_turn(client)
            )
            self.order.append(job.id)
            if key is not None:
                self.keys_used[key] = job.id

    def is_refused(self, call: Any, client: str) -> bool:
        """Tell whether there is no room, and see that the store says so too."""
        free = _BOUND - len(self.queued())
        if free <= 0:
            with pytest.raises(QueueFull):
                self.wait(call)
        elif client and len(self.held_by(client)) >= free:
            with pytest.raises(ShareFull):
                self.wait(call)
        else:
            return False
        return True

    @precondition(lambda self: any(job.status.is_terminal for job in self.jobs.values()))
    @rule(pick=_PICK)
    def extend(self, pick: int) -> None:
        ended = [i for i in self.order if self.jobs[i].status.is_terminal]
        base = self.jobs[ended[pick % len(ended)]]
        at_ms = self.wait(self.store.get(ended[pick % len(ended)])).created_at_ms
        job = make_job(extends=ended[pick % len(ended)], extended_at_ms=at_ms, client=base.client)
        call = self.store.create(job)
        if not self.is_refused(call, base.client):
            assert self.wait(call).is_new
            longer = Model(client=base.client, turn=self.next_turn(base.client))
            if base.kept:
                longer.rows, longer.kept, longer.furthest = base.rows, base.kept, base.kept - 1
            self.jobs[job.id] = longer
            self.order.append(job.id)

    @precondition(lambda self: self.queued())
    @rule(pick=_PICK)
    def wait_too_long(self, pick: int) -> None:
        job_id = self.queued()[pick % len(self.queued())]
        self.redis.zadd(self.keys.waiting, {job_id: 1}, xx=True)
        assert self.recovery.round().expired == 1
        self.jobs[job_id].status = Status.FAILED

    @precondition(lambda self: self.jobs)
    @rule(pick=_PICK)
    def cancel(self, pick: int) -> None:
        job_id, job = self.pick_job(pick)
        record = self.wait(self.store.cancel(job_id))
        if job.status is Status.QUEUED:
            job.status, job.is_cancel_asked = Status.CANCELLED, True
        elif job.status is Status.RUNNING:
            job.is_cancel_asked = True
        assert record.status is job.status

    @precondition(lambda self: self.jobs)
    @rule(pick=_PICK)
    def patch(self, pick: int) -> None:
        job_id, _ = self.pick_job(pick)
        self.wait(self.store.patch(job_id, name=str(pick)))

    @precondition(lambda self: self.jobs)
    @rule(pick=_PICK)
    def delete(self, pick: int) -> None:
        job_id, job = self.pick_job(pick)
        if not job.status.is_terminal:
            with pytest.raises(JobNotFinished):
                self.wait(self.store.delete(job_id))
            return
        self.wait(self.store.delete(job_id))
        with pytest.raises(JobNotFound):
            self.wait(self.store.get(job_id))
        self.order.remove(job_id)
        del self.jobs[job_id]
        if job.key is not None:
            del self.keys_used[job.key]

    # --- workers, the stale ones too ----------------------------------------------------------

    @rule()
    def claim(self) -> None:
        claim = self.runs.claim("cpu", worker="w", device="cpu")
        waiting = self.queued()
        assert (claim and claim.record.id) == (waiting[0] if waiting else None)
        if claim is not None:
            job = self.jobs[claim.record.id]
            # Back to the checkpoint, or to nothing.
            job.status, job.holder, job.rows = Status.RUNNING, claim, job.kept
            assert (claim.checkpoint.step + 1 if claim.checkpoint else 0) == job.kept
            job.attempt += 1
            job.fruitless += 1
            self.turn = max(self.turn, job.turn)
            assert claim.attempt == job.attempt
            self.claims.append(claim)

    @precondition(lambda self: self.claims)
    @rule(pick=_PICK)
    def renew(self, pick: int) -> None:
        claim, job = self.pick_claim(pick)
        if job is None:
            with pytest.raises(LeaseLost):
                self.runs.renew(claim)
        else:
            self.runs.renew(claim)
            assert self.runs.is_cancel_requested(claim) == job.is_cancel_asked

    @precondition(lambda self: self.claims)
    @rule(pick=_PICK, count=st.integers(1, 3), is_repeated=st.booleans(), is_kept=st.booleans())
    def record(self, pick: int, count: int, *, is_repeated: bool, is_kept: bool) -> None:
        claim, job = self.pick_claim(pick)
        first = job.rows if job else 0
        block = make_rows(0 if is_repeated else first, first + count)
        kept = Checkpoint(run=0, step=block.step[-1], state=b"state") if is_kept else None
        if job is None:
            with pytest.raises(LeaseLost):
                write(self.runs, claim, block, checkpoint=kept)
            return
        write(self.runs, claim, block, checkpoint=kept)
        job.rows += count
        job.kept = job.rows if is_kept else job.kept
        if is_kept and job.rows - 1 > job.furthest:
            job.furthest, job.fruitless = job.rows - 1, 0

    @precondition(lambda self: self.claims)
    @rule(pick=_PICK)
    def start_over(self, pick: int) -> None:
        claim, job = self.pick_claim(pick)
        if job is None:
            with pytest.raises(LeaseLost):
                self.runs.start_over(claim)
            return
        self.runs.start_over(claim)
        job.rows = job.kept = job.furthest = 0
        # Once an attempt, however often it is asked.
        job.start_overs += job.started_over is not claim
        job.started_over = claim

    @precondition(lambda self: self.claims)
    @rule(
        pick=_PICK,
        status=st.sampled_from([s for s in Status if s.is_terminal]),
        count=st.integers(0, 3),
    )
    def finish(self, pick: int, status: Status, count: int) -> None:
        claim, job = self.pick_claim(pick)
        error = FAILURE if status is Status.FAILED else None
        ended = self.jobs.get(claim.record.id)
        if job is not None:
            rows = make_rows(job.rows, job.rows + count)
            self.runs.finish(
                claim,
                status=status,
                outcome=make_outcome(),
                error=error,
                last=Batch(run=0, rows=[rows], progress=make_progress(job.rows + count)),
            )
            job.rows += count
            job.status, job.last = status, None
        elif ended is None or ended.holder is not claim or ended.status is not status:
            with pytest.raises(LeaseLost):
                self.runs.finish(claim, status=status, outcome=None, error=error)

    @precondition(lambda self: self.claims)
    @rule(pick=_PICK)
    def release(self, pick: int) -> None:
        claim, job = self.pick_claim(pick)
        if job is None:
            known = self.jobs.get(claim.record.id)
            if known is not None and known.holder is known.released is claim:
                self.runs.release(claim)
            else:
                with pytest.raises(LeaseLost):
                    self.runs.release(claim)
            return
        self.runs.release(claim)
        job.released = claim
        job.attempt -= 1
        job.fruitless = max(0, job.fruitless - 1)
        job.status = Status.CANCELLED if job.is_cancel_asked else Status.QUEUED

    @precondition(lambda self: any(j.status is Status.RUNNING for j in self.jobs.values()))
    @rule(pick=_PICK)
    def lose_a_worker(self, pick: int) -> None:
        running = [i for i in self.order if self.jobs[i].status is Status.RUNNING]
        self.lose(running[pick % len(running)])

    @precondition(lambda self: any(not job.status.is_terminal for job in self.jobs.values()))
    @rule(pick=_PICK)
    def lose_a_place(self, pick: int) -> None:
        live = [i for i in self.order if not self.jobs[i].status.is_terminal]
        job_id = live[pick % len(live)]
        is_queued = self.jobs[job_id].status is Status.QUEUED
        place = self.keys.ready("cpu") if is_queued else f"{self.keys.prefix}leases"
        assert self.redis.zrem(place, job_id) == 1
        if is_queued:
            # What a torn script leaves: neither in the queue nor counted there.
            self.redis.zrem(self.keys.waiting, job_id)
            self.redis.hincrby(self.keys.clients("cpu"), f"{self.jobs[job_id].client}:waiting", -1)
        assert self.recovery.round().strayed == 1

    @precondition(lambda self: self.queued())
    @rule(count=st.integers(0, 2), is_kept=st.booleans(), is_cancelled=st.booleans())
    def die_at_work(self, count: int, *, is_kept: bool, is_cancelled: bool) -> None:
        """Live a worker's life in one step: chance alone seldom strings these together."""
        (job_id, *_) = self.queued()
        self.claim()
        if count:
            self.record(0, count, is_repeated=False, is_kept=is_kept)
        if is_cancelled:
            self.cancel(self.order.index(job_id))
        self.lose(job_id)

    def lose(self, job_id: str) -> None:
        self.redis.zadd(f"{self.keys.prefix}leases", {job_id: 1}, xx=True)
        repairs = self.recovery.round()
        job = self.jobs[job_id]
        if job.is_cancel_asked:
            job.status = Status.CANCELLED
        elif job.fruitless >= _FRUITLESS or job.start_overs > _FRUITLESS:
            job.status = Status.FAILED
        else:
            job.status = Status.QUEUED
        found = (repairs.cancelled, repairs.lost, repairs.requeued)
        assert found == tuple(
            int(job.status is status) for status in (Status.CANCELLED, Status.FAILED, Status.QUEUED)
        )
        assert repairs.wake_ups["cpu"] == len(self.queued())

    # --- promises -----------------------------------------------------------------------------

    @invariant()
    def places_agree_with_statuses(self) -> None:
        ready = [raw.decode() for raw in self.redis.zrange(self.keys.ready("cpu"), 0, -1)]
        leased = {raw.decode() for raw in self.redis.zrange(f"{self.keys.prefix}leases", 0, -1)}
        index = [raw.decode() for raw in self.redis.zrange(f"{self.keys.prefix}index", 0, -1)]

        waiting = {raw.decode() for raw in self.redis.zrange(self.keys.waiting, 0, -1)}
        clients = self.redis.hgetall(self.keys.clients("cpu"))

        assert ready == self.queued()
        assert waiting == set(ready)
        for client in ("", "a", "b"):
            held = len(self.held_by(client))
            assert int(clients.get(f"{client}:waiting".encode(), 0)) == held
            assert held or f"{client}:turn".encode() not in clients
            if not held:
                self.turns.pop(client, None)
        assert leased == {i for i, j in self.jobs.items() if j.status is Status.RUNNING}
        assert index == self.order

    @invariant()
    def jobs_are_what_the_model_says(self) -> None:
        for job_id, job in self.jobs.items():
            record = codec.decode_record(self.redis.hgetall(self.keys.job(job_id)))
            assert (record.status, record.attempt) == (job.status, job.attempt)
            assert (record.cancel_requested_at_ms is not None) == job.is_cancel_asked
            assert record.seq >= job.seq
            if job.seq == record.seq and job.last is not None and job.status.is_terminal:
                assert record == job.last
            job.seq, job.last = record.seq, record
            for key in (self.keys.job(job_id), self.keys.checkpoint(job_id)):
                left = self.redis.ttl(key)
                assert left == -2 or (left > 0) == job.status.is_terminal

    @invariant()
    def events_and_history_only_grow(self) -> None:
        for job_id, job in self.jobs.items():
            entries = self.redis.xrange(self.keys.events(job_id))
            events = [codec.decode_event(*entry) for entry in entries]
            seqs = [event.seq for event in events]
            assert seqs == sorted(set(seqs))
            assert seqs[: len(job.events)] == job.events
            assert seqs[-1] <= int(self.redis.hget(self.keys.job(job_id), "seq") or 0)
            assert [event.seq for event in events if event.type.is_terminal] == (
                seqs[-1:] if job.status.is_terminal else []
            )
            job.events = seqs
            blocks = self.redis.xrange(self.keys.history(job_id, run=0))
            rows = codec.join_blocks(entry[1][b"rows"] for entry in blocks)
            assert list(rows.step) == list(range(job.rows))

    def pick_job(self, pick: int) -> tuple[str, Model]:
        job_id = self.order[pick % len(self.order)]
        return job_id, self.jobs[job_id]

    def pick_claim(self, pick: int) -> tuple[Claim, Model | None]:
        """Return an attempt of the last few, and its job when it still holds it."""
        claim = self.claims[-1 - pick % min(len(self.claims), 4)]
        job = self.jobs.get(claim.record.id)
        holds = job is not None and job.status is Status.RUNNING and job.holder is claim
        return claim, job if holds else None


def test_any_order_of_calls_keeps_the_promises(redis: Redis, redis_url: str) -> None:
    StoreMachine.redis, StoreMachine.url = redis, redis_url

    run_state_machine_as_test(
        StoreMachine,
        settings=settings(
            max_examples=40,
            stateful_step_count=30,
            deadline=None,
            suppress_health_check=[HealthCheck.too_slow],
        ),
    )

    redis.flushall()
