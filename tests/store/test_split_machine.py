"""Any order of clients, workers, zombies and recovery computes a split job once, and ends it once.

The model in Python says what must be true after every step; the store is the real one.
"""

import asyncio
from collections.abc import Callable
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

from app.domain.errors import LeaseLost
from app.domain.job import Status
from app.domain.shards import Cut
from app.settings import Settings
from app.store import codec
from app.store.claim import Claim
from app.store.connect import connect_async
from app.store.jobs import JobStore
from app.store.keys import Keys
from app.store.recovery import Recovery
from app.store.runs import RunStore
from tests.store.samples import FAILURE, deliver, gather, make_job, make_outcome, make_sweep, split
from tests.store.split_model import ShardModel, SplitModel

_FRUITLESS = 2
_MOST_JOBS = 3
_PICK = st.integers(0, 11)
_SELDOM = st.sampled_from([True, False, False])
"""What ends a job early must not end them all."""
_ENDS = [status for status in Status if status.is_terminal]


class SplitMachine(RuleBasedStateMachine):
    """Drives the store and the model side by side."""

    redis: Redis
    url: str

    def __init__(self) -> None:
        super().__init__()
        self.redis.flushall()
        self.settings = Settings.model_construct(max_fruitless_attempts=_FRUITLESS)
        self.keys = Keys(self.settings.namespace)
        self.loop = asyncio.new_event_loop()
        self.client = connect_async(self.settings, self.url)
        self.store = JobStore(self.client, self.settings)
        self.workers = [RunStore(self.redis, self.settings) for _ in range(3)]
        self.runs = self.workers[0]
        self.recovery = Recovery(self.redis, self.settings)
        self.jobs: dict[str, SplitModel] = {}
        self.claims: list[Claim] = []

    def teardown(self) -> None:
        try:
            self.finish_everything()
        finally:
            self.loop.run_until_complete(self.client.aclose())
            self.loop.close()

    def wait(self, call: Any) -> Any:
        return self.loop.run_until_complete(call)

    # --- clients ----------------------------------------------------------------------------

    @initialize()
    def begin(self) -> None:
        self.create(num_shards=6, client="", is_split=True)

    @precondition(lambda self: len(self.jobs) < _MOST_JOBS)
    @rule(
        num_shards=st.integers(2, 7),
        client=st.sampled_from(["", "a"]),
        is_split=st.sampled_from([True, True, False]),
    )
    def create(self, num_shards: int, client: str, *, is_split: bool) -> None:
        job = make_job(spec=make_sweep(17), client=client)
        self.wait(self.store.create(job))
        model = self.jobs[job.id] = SplitModel(cut=Cut(17, num_shards))
        # What is ready before it is claimed by whoever comes along.
        while is_split and model.phase == "queued":
            self.claim(worker=0)
        if model.holder is not None and is_split:
            split(self.runs, model.holder, num_shards=num_shards)
            model.split()

    @precondition(lambda self: self.jobs)
    @rule(pick=_PICK, is_meant=_SELDOM)
    def cancel(self, pick: int, *, is_meant: bool) -> None:
        if not is_meant:
            return
        job_id, job = self.pick_job(pick)
        record = self.wait(self.store.cancel(job_id))
        if job.phase == "queued":
            job.finish(Status.CANCELLED)
        elif job.phase != "ended":
            job.is_cancel_asked = True
            job.close(Status.CANCELLED)
        assert record.status is job.status

    @precondition(lambda self: any(job.phase == "ended" for job in self.jobs.values()))
    @rule(pick=_PICK)
    def delete(self, pick: int) -> None:
        ended = [job_id for job_id, job in self.jobs.items() if job.phase == "ended"]
        job_id = ended[pick % len(ended)]
        self.wait(self.store.delete(job_id))
        del self.jobs[job_id]
        assert list(self.redis.scan_iter(f"{self.keys.job(job_id)}*")) == []

    # --- workers, the stale ones too ----------------------------------------------------------

    @rule(worker=st.integers(0, 2))
    def claim(self, worker: int) -> None:
        claim = self.workers[worker].claim("cpu", worker=f"w{worker}", device="cpu")
        waiting = {i for job_id, job in self.jobs.items() for i in job.ready(job_id)}
        assert (claim is None) == (not waiting)
        if claim is None:
            return
        assert claim.id in waiting
        job = self.jobs[claim.record.id]
        self.claims.append(claim)
        if claim.shard is not None:
            shard = job.shards[claim.shard]
            shard.holder, shard.fruitless = claim, shard.fruitless + 1
            return
        job.holder, job.fruitless = claim, job.fruitless + 1
        job.phase = "held" if job.phase == "queued" else "assembling"
        if job.phase == "assembling":
            assert claim.split is not None
            assert claim.split.closed is job.closed
            assert gather(self.runs, claim) == job.records()

    @rule(count=st.integers(1, 4))
    def compute(self, count: int) -> None:
        """Live a worker's life in one step: chance alone seldom strings these together."""
        for _ in range(count):
            before = len(self.claims)
            self.claim(worker=1)
            if len(self.claims) > before and self.claims[-1].shard is not None:
                self.end_a_shard(pick=0, how="deliver")

    @rule(is_cancelled=st.booleans(), how=st.sampled_from(["release", "deliver", "fail", "stop"]))
    def stop_at_work(self, how: str, *, is_cancelled: bool) -> None:
        """Likewise for a worker whose shard comes to no good."""
        before = len(self.claims)
        self.claim(worker=2)
        if len(self.claims) == before or self.claims[-1].shard is None:
            return
        if is_cancelled:
            jobs = sorted(self.jobs)
            self.cancel(pick=jobs.index(self.claims[-1].record.id), is_meant=True)
        if how == "release":
            self.release(pick=0)
        else:
            self.end_a_shard(pick=0, how=how)

    @rule(is_advanced=st.booleans(), is_claimed_again=st.booleans())
    def die_at_work(self, *, is_advanced: bool, is_claimed_again: bool) -> None:
        """Likewise for a worker that is killed."""
        before = len(self.claims)
        self.claim(worker=2)
        if len(self.claims) == before:
            return
        if is_advanced and self.claims[-1].shard is not None:
            self.advance(pick=0, runs=1.5)
        self.lose(self.claims[-1].id)
        if is_claimed_again:
            self.claim(worker=0)

    @precondition(lambda self: self.claims)
    @rule(pick=_PICK, is_repeated=st.booleans())
    def split(self, pick: int, *, is_repeated: bool) -> None:
        claim, job, _ = self.pick_claim(pick, of=lambda claim: claim.split is None)
        if claim is None or claim.record.id not in self.jobs:
            return
        num_shards = self.jobs[claim.record.id].cut.num_shards
        if job is None or job.phase != "held":
            if self.was_split_by(claim):
                split(self.runs, claim, num_shards=num_shards)
                return
            with pytest.raises(LeaseLost):
                split(self.runs, claim, num_shards=num_shards)
            return
        for _ in range(1 + is_repeated):
            split(self.runs, claim, num_shards=num_shards)
        job.split()

    def was_split_by(self, claim: Claim) -> bool:
        split_by = self.redis.hget(self.keys.job(claim.record.id), "fence_split")
        return split_by == claim.fence.encode()

    @precondition(lambda self: self.claims)
    @rule(pick=_PICK, how=st.sampled_from([*["deliver"] * 5, "stop", "stop", "fail"]))
    def end_a_shard(self, pick: int, how: str) -> None:
        claim, job, shard = self.pick_claim(pick, of=lambda claim: claim.shard is not None)
        if claim is None or claim.shard is None:
            return

        def act() -> None:
            if how == "deliver":
                deliver(self.runs, claim)
            elif how == "fail":
                self.runs.shards.finish(claim, status=Status.FAILED, error=FAILURE)
            else:
                self.runs.shards.finish(claim, status=Status.CANCELLED)

        if job is None or shard is None:
            self.act_stale(claim, act, is_delivery=how == "deliver")
            return
        if how == "stop" and not shard.is_asked:
            return
        act()
        act()
        del job.shards[claim.shard]
        if how == "deliver":
            job.done.add(claim.shard)
        elif how == "fail":
            # Nothing is opened before it is closed.
            job.closed = job.closed or None
            job.close(Status.FAILED)
        job.go_on()

    def act_stale(self, claim: Claim, act: Callable[[], None], *, is_delivery: bool) -> None:
        """What is over is over; what somebody else holds is refused."""
        owner = self.jobs.get(claim.record.id)
        assert claim.shard is not None
        is_open = owner is not None and claim.shard in owner.shards
        is_there = owner is not None and claim.shard in owner.done
        if is_open or (is_delivery and not is_there):
            with pytest.raises(LeaseLost):
                act()
        else:
            act()

    @precondition(lambda self: self.claims)
    @rule(pick=_PICK, runs=st.floats(0, 3))
    def advance(self, pick: int, runs: float) -> None:
        claim, job, shard = self.pick_claim(pick, of=lambda claim: claim.shard is not None)
        if claim is None:
            return
        if job is None or shard is None:
            with pytest.raises(LeaseLost):
                self.runs.shards.advance(claim, runs=runs)
            return
        self.redis.hdel(self.keys.job(claim.record.id), "told_at_ms")
        self.runs.shards.advance(claim, runs=runs)
        assert self.runs.is_cancel_requested(claim) == shard.is_asked

    @precondition(lambda self: self.claims)
    @rule(pick=_PICK)
    def release(self, pick: int) -> None:
        claim, job, shard = self.pick_claim(pick)
        if claim is None or job is None:
            return
        self.runs.release(claim)
        self.runs.release(claim)
        if shard is not None and claim.shard is not None:
            shard.holder, shard.fruitless = None, shard.fruitless - 1
            if shard.is_asked:
                del job.shards[claim.shard]
                job.go_on()
        elif job.phase == "assembling":
            job.phase, job.holder, job.fruitless = "complete", None, job.fruitless - 1
        elif job.is_cancel_asked:
            job.finish(Status.CANCELLED)
        else:
            job.phase, job.holder, job.fruitless = "queued", None, job.fruitless - 1

    @precondition(lambda self: self.claims)
    @rule(pick=_PICK, status=st.sampled_from(_ENDS))
    def finish(self, pick: int, status: Status) -> None:
        claim, job, _ = self.pick_claim(pick, of=lambda claim: claim.shard is None)
        if claim is None:
            return
        error = FAILURE if status is Status.FAILED else None
        if job is not None and job.phase == "held":
            # That is the other machine's matter.
            return
        if job is not None:
            self.runs.finish(claim, status=status, outcome=make_outcome(), error=error)
            job.finish(status)
            return
        record = self.redis.hmget(self.keys.job(claim.record.id), "status", "fence")
        if record != [status.encode(), claim.fence.encode()]:
            with pytest.raises(LeaseLost):
                self.runs.finish(claim, status=status, outcome=None, error=error)

    @precondition(lambda self: any(job.leased("") for job in self.jobs.values()))
    @rule(pick=_PICK)
    def lose_a_worker(self, pick: int) -> None:
        held = sorted(i for job_id, job in self.jobs.items() for i in job.leased(job_id))
        self.lose(held[pick % len(held)])

    def lose(self, held: str) -> None:
        job_id, _, number = held.partition("/")
        self.redis.zadd(f"{self.keys.prefix}leases", {held: 1}, xx=True)
        self.recovery.round()
        job = self.jobs[job_id]
        if number:
            self.lose_shard(job, int(number))
        elif job.phase == "assembling" and job.fruitless < _FRUITLESS:
            job.phase, job.holder = "complete", None
        elif job.phase == "assembling":
            job.finish(job.closed or Status.FAILED)
        elif job.is_cancel_asked:
            job.finish(Status.CANCELLED)
        elif job.fruitless >= _FRUITLESS:
            job.finish(Status.FAILED)
        else:
            job.phase, job.holder = "queued", None

    @staticmethod
    def lose_shard(job: SplitModel, number: int) -> None:
        shard: ShardModel = job.shards[number]
        shard.holder = None
        if shard.is_asked:
            del job.shards[number]
        elif shard.fruitless >= _FRUITLESS:
            del job.shards[number]
            job.close(Status.FAILED)
        job.go_on()

    @precondition(lambda self: any(job.phase == "split" for job in self.jobs.values()))
    @rule(pick=_PICK, is_meant=_SELDOM)
    def run_out_of_time(self, pick: int, *, is_meant: bool) -> None:
        if not is_meant:
            return
        under_way = [job_id for job_id, job in self.jobs.items() if job.phase == "split"]
        job_id = under_way[pick % len(under_way)]
        self.redis.zadd(f"{self.keys.prefix}deadlines", {job_id: 1})
        self.recovery.round()
        self.jobs[job_id].close(Status.FAILED)

    @precondition(lambda self: any(job.ready("") for job in self.jobs.values()))
    @rule(pick=_PICK)
    def lose_a_place(self, pick: int) -> None:
        places = {
            place: key
            for job_id, job in self.jobs.items()
            for key, found in (
                (self.keys.ready("cpu"), job.ready(job_id)),
                (f"{self.keys.prefix}leases", job.leased(job_id)),
            )
            for place in found
            # Of a whole job, that is the other machine's matter.
            if job.phase not in {"queued", "held"}
        }
        if not places:
            return
        place = sorted(places)[pick % len(places)]
        job = self.jobs[place.partition("/")[0]]
        if place in job.leased(place) and "/" not in place:
            return
        assert self.redis.zrem(places[place], place) == 1
        if places[place] == self.keys.ready("cpu"):
            client = (self.redis.hget(self.keys.job(place), "client") or b"").decode()
            kind = "shards" if "/" in place else "waiting"
            self.redis.zrem(self.keys.waiting, place)
            self.redis.hincrby(self.keys.clients("cpu"), f"{client}:{kind}", -1)
        assert self.recovery.round().strayed == 1

    # --- promises -----------------------------------------------------------------------------

    def members(self, key: str) -> set[str]:
        return {raw.decode() for raw in self.redis.zrange(key, 0, -1)}

    @invariant()
    def places_agree(self) -> None:
        jobs = self.jobs.items()
        assert self.members(self.keys.ready("cpu")) == {i for n, j in jobs for i in j.ready(n)}
        leases = f"{self.keys.prefix}leases"
        assert self.members(leases) == {i for n, j in jobs for i in j.leased(n)}
        assert self.members(self.keys.waiting) == {
            n for n, j in jobs if j.phase in {"queued", "complete"}
        }
        computing = {n for n, j in jobs if j.phase == "split"}
        assert {n for n, j in jobs if j.phase == "split" and j.closed is None} <= self.members(
            f"{self.keys.prefix}deadlines"
        )
        assert self.members(f"{self.keys.prefix}deadlines") <= computing
        self.clients_are_counted()

    def clients_are_counted(self) -> None:
        counted = self.redis.hgetall(self.keys.clients("cpu"))
        ready = self.members(self.keys.ready("cpu"))
        owner = {i: self.redis.hget(self.keys.job(i), "client").decode() for i in ready}
        for client in ("", "a"):
            own = [i for i in ready if owner[i] == client]
            shards = sum("/" in i for i in own)
            assert int(counted.get(f"{client}:shards".encode(), 0)) == shards
            assert int(counted.get(f"{client}:waiting".encode(), 0)) == len(own) - shards
            assert own or f"{client}:turn".encode() not in counted

    @invariant()
    def jobs_are_what_the_model_says(self) -> None:
        for job_id, job in self.jobs.items():
            record = codec.decode_record(self.redis.hgetall(self.keys.job(job_id)))
            assert record.status is job.status
            live = {int(raw) for raw in self.redis.smembers(self.keys.shards(job_id))}
            assert live == set(job.shards)
            if job.opened:
                assert self.wait(self.store.records(job_id, 0, 100)) == job.records()
            entries = self.redis.xrange(self.keys.events(job_id))
            ends = [
                e for e in (codec.decode_event(*entry) for entry in entries) if e.type.is_terminal
            ]
            assert len(ends) == (job.phase == "ended")
            for key in self.redis.scan_iter(f"{self.keys.job(job_id)}*"):
                assert (self.redis.ttl(key) > 0) == (job.phase == "ended")

    def finish_everything(self) -> None:
        """Nothing is stuck: from wherever it stands, everything ends, and leaves nothing."""
        for _ in range(200):
            self.redis.delete(f"{self.keys.prefix}round")
            for held in self.members(f"{self.keys.prefix}leases"):
                self.redis.zadd(f"{self.keys.prefix}leases", {held: 1}, xx=True)
            self.recovery.round()
            claim = self.runs.claim("cpu", worker="w", device="cpu")
            if claim is None:
                break
            job = self.jobs[claim.record.id]
            if claim.shard is not None:
                deliver(self.runs, claim)
            elif claim.split is None:
                split(self.runs, claim, num_shards=job.cut.num_shards)
            else:
                self.runs.finish(claim, status=Status.SUCCEEDED, outcome=None, error=None)
        for job_id in self.jobs:
            assert self.wait(self.store.get(job_id)).status.is_terminal
            self.wait(self.store.delete(job_id))
        left = {raw.decode().removeprefix(self.keys.prefix) for raw in self.redis.scan_iter("*")}
        assert {name for name in left if not name.startswith(("claim:", "durations:"))} <= {
            "order",
            "turn:cpu",
            "recovery",
            "round",
            "swept",
        }

    def pick_job(self, pick: int) -> tuple[str, SplitModel]:
        job_id = sorted(self.jobs)[pick % len(self.jobs)]
        return job_id, self.jobs[job_id]

    def pick_claim(
        self, pick: int, *, of: Callable[[Claim], bool] = lambda _: True
    ) -> tuple[Claim | None, SplitModel | None, ShardModel | None]:
        """Return an attempt of the last few, and what it still holds."""
        found = [claim for claim in self.claims[-12:] if of(claim)]
        if not found:
            return None, None, None
        claim = found[-1 - pick % len(found)]
        job = self.jobs.get(claim.record.id)
        if job is None:
            return claim, None, None
        if claim.shard is None:
            return claim, job if job.holder is claim else None, None
        shard = job.shards.get(claim.shard)
        holds = shard is not None and shard.holder is claim
        return claim, job if holds else None, shard if holds else None


def test_any_order_of_calls_computes_every_shard_and_ends_once(
    redis: Redis, redis_url: str
) -> None:
    SplitMachine.redis, SplitMachine.url = redis, redis_url

    run_state_machine_as_test(
        SplitMachine,
        settings=settings(
            max_examples=40,
            stateful_step_count=40,
            deadline=None,
            suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
        ),
    )

    redis.flushall()
