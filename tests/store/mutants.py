"""The state machine sees every one of these faults: a check that cannot fail proves nothing.

`make mutants` runs them; they take too long for `make test`.
"""

import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test
from redis import Redis

from app.store import scripts
from tests.store.test_machine import StoreMachine
from tests.store.test_split_machine import SplitMachine


@dataclass(frozen=True, slots=True)
class Mutant:
    """One fault in one script.

    Attributes:
        script: File without its ending.
        right: What stands there, once.
        wrong: What stands there instead.
    """

    script: str
    right: str
    wrong: str


MUTANTS = {
    "an old fence passes": Mutant(
        "prelude",
        "return found[1] == 'running' and found[2] == fence",
        "return found[1] == 'running'",
    ),
    "an ended job is still held": Mutant(
        "prelude", "return found[1] == 'running' and found[2] == fence", "return found[2] == fence"
    ),
    "anybody may finish": Mutant("finish", "if not is_held(id, fence) then", "if false then"),
    "anybody may record": Mutant(
        "record", "not is_held(id, fence) or has_forgotten", "has_forgotten"
    ),
    "anybody may renew": Mutant("renew", "if not is_held(id, fence) then", "if false then"),
    "anybody may start over": Mutant(
        "start_over", "if not is_held(id, fence) then", "if false then"
    ),
    "anybody may release": Mutant("release", "if not is_held(id, fence) then", "if false then"),
    "a claim keeps the fence": Mutant(
        "claim", "number .. '-' .. nonce", "redis.call('HGET', job, 'fence')"
    ),
    "a claim is no attempt": Mutant("claim", "'attempt', 1)", "'attempt', 0)"),
    "a claim takes no lease": Mutant("claim", "extend_lease(id, now, lease)", ""),
    "a claim keeps later rows": Mutant("claim", "cut_history(history_key(id, run), step)", ""),
    "a claim keeps rows without a checkpoint": Mutant(
        "claim", "return forget_steps(id) end", "return end"
    ),
    "no attempt is fruitless": Mutant("claim", "'fruitless', 1)", "'fruitless', 0)"),
    "a claim forgets the turn": Mutant(
        "claim", "redis.call('SET', turn_key(queue), text(highest))", ""
    ),
    "progress does not count": Mutant("record", "text(place), 'fruitless', 0)", "text(place))"),
    "rows without a checkpoint are progress": Mutant("record", "has_checkpoint and place", "place"),
    "every record is progress": Mutant(
        "record",
        "has_checkpoint and place > tonumber(redis.call('HGET', job, 'furthest') or 0)",
        "true",
    ),
    "a block is dropped": Mutant(
        "prelude", "redis.call('XADD', key, entry .. '-0'", "redis.call('XLEN', key) -- "
    ),
    "the last rows are dropped": Mutant(
        "finish", "if entry ~= '' then append_rows(id, run, entry, block) end", ""
    ),
    "a release costs an attempt": Mutant("release", "'attempt', -1)", "'attempt', 0)"),
    "a release forgets the cancel": Mutant(
        "release", "redis.call('HEXISTS', job, 'cancel_requested_at_ms') == 1", "false"
    ),
    "recovery forgets to queue": Mutant(
        "prelude", "  enqueue(id, now)\n  emit(id, 'job.requeued'", "  emit(id, 'job.requeued'"
    ),
    "recovery queues at the end": Mutant("prelude", "found[3] or take_turn", "take_turn"),
    "recovery forgets the cancel": Mutant("recover", "elseif found[3] then", "elseif false then"),
    "recovery tries once more": Mutant(
        "recover", "elseif tonumber(found[2]) >= bound", "elseif tonumber(found[2]) > bound"
    ),
    "recovery starts over for ever": Mutant("recover", "tonumber(found[4] or 0) > bound", "false"),
    "recovery lets jobs wait": Mutant(
        "recover", "if found[1] == 'queued' then\n    dequeue", "if false then\n    dequeue"
    ),
    "a cancelled job stays ready": Mutant(
        "cancel", "dequeue(id, redis.call('HGET', job, 'queue'))", ""
    ),
    "a cancelled job runs on": Mutant(
        "cancel",
        "if redis.call('HSETNX', job, 'cancel_requested_at_ms', text(now)) == 1 then",
        "if false then",
    ),
    "a key ignores the spec": Mutant("create", "if known[2] ~= fingerprint then", "if false then"),
    "a key is not remembered": Mutant(
        "create", "redis.call('HSET', memory_key(digest), 'id', id, 'fingerprint', fingerprint)", ""
    ),
    "the queue takes one more": Mutant("create", "if free <= 0 then", "if free < 0 then"),
    "a client takes one more": Mutant("create", "held >= free then", "held > free then"),
    "an extension has no history": Mutant(
        "create", "redis.call('COPY', history_key(other, 0), history_key(id, 0))", ""
    ),
    "an extension begins anew": Mutant(
        "create", "if extended ~= '' then inherit(id, extended, created_at) end", ""
    ),
    "an extension is forgotten": Mutant("create", "redis.call('PERSIST', checkpoint_key(id))", ""),
    "clients do not take turns": Mutant(
        "prelude", "math.max(redis.call('GET', turn_key(queue)), last or 0) + 1", "clock_us()"
    ),
    "a client that left is remembered": Mutant("prelude", "-1) <= 0 then", "-1) < 0 then"),
    "an ended job lives for ever": Mutant(
        "prelude", "redis.call('PEXPIREAT', key, text(expires))", ""
    ),
    "an ended job is still leased": Mutant(
        "prelude",
        "local job = job_key(id)\n  redis.call('ZREM', LEASES, id)\n  redis.call('HSET', job, 'status', status",
        "local job = job_key(id)\n  redis.call('HSET', job, 'status', status",
    ),
    "an end is no event": Mutant("prelude", "emit(id, 'job.' .. status, now, data)", ""),
    "starting over keeps the checkpoint": Mutant(
        "prelude", "redis.call('DEL', checkpoint_key(id))\n  redis.call('HDEL'", "redis.call('HDEL'"
    ),
    "a deleted job keeps its key": Mutant("delete", "memory_key(", "gone_key("),
    "a running job can be deleted": Mutant(
        "delete", "if not is_terminal(found[1]) then", "if false then"
    ),
}

SPLIT_MUTANTS = {
    "an old shard is still held": Mutant(
        "deliver",
        "if not is_held(id, fence) then",
        "if redis.call('EXISTS', job_key(id)) == 0 then",
    ),
    "anybody may advance": Mutant("advance", "if not is_held(id, fence) then", "if false then"),
    "anybody may split": Mutant("split", "if not is_held(id, fence) then", "if false then"),
    "a split job is still held": Mutant("split", "let_go(id)", "redis.call('ZREM', LEASES, id)"),
    "a split job keeps its lease": Mutant(
        "prelude",
        "local function let_go(id)\n  redis.call('ZREM', LEASES, id)",
        "local function let_go(id)",
    ),
    "a split forgets the cancel": Mutant(
        "split", "if found[3] then close(id, 'cancelled', now) else", "if true then"
    ),
    "a job to be assembled is still held": Mutant(
        "prelude", "    let_go(id)\n    return enqueue(id, now)", "    return enqueue(id, now)"
    ),
    "an assembly is lost": Mutant(
        "prelude", "    let_go(id)\n    return enqueue(id, now)", "    return let_go(id)"
    ),
    "a shard is opened twice": Mutant(
        "prelude", "redis.call('HSET', job_key(id), 'opened', opened)", ""
    ),
    "the last shard is forgotten": Mutant(
        "prelude",
        "live < window and opened < tonumber(found[1])",
        "live < window and opened < found[1] - 1",
    ),
    "the window has no bound": Mutant("prelude", "while live < window and", "while"),
    "the job is assembled too early": Mutant(
        "prelude", "if live > 0 then return end", "if live > 1 then return end"
    ),
    "a closed job opens shards": Mutant(
        "prelude", "if not found[3] then\n    local workers", "if true then\n    local workers"
    ),
    "a close keeps what waits": Mutant(
        "prelude", "      else\n        drop_shard(shard)", "      else"
    ),
    "a close tells nobody": Mutant(
        "prelude",
        "redis.call('HSET', job_key(shard), 'cancel_requested_at_ms', text(now))",
        "",
    ),
    "the last one who closes decides": Mutant(
        "prelude",
        "if redis.call('HSETNX', job, 'closed', status) == 1 then",
        "if redis.call('HSET', job, 'closed', status) then",
    ),
    "whoever closes it again stops it": Mutant(
        "prelude",
        "if redis.call('HSETNX', job, 'closed', status) == 1 then",
        "if redis.call('HSETNX', job, 'closed', status) == 0 then return end do",
    ),
    "a dropped shard stays ready": Mutant("prelude", "if queue then dequeue(shard, queue) end", ""),
    "a dropped shard is still leased": Mutant(
        "prelude", "  redis.call('ZREM', LEASES, shard)\n", ""
    ),
    "a dropped shard is open": Mutant(
        "prelude", "redis.call('SREM', shards_key(id), number_of(shard))", ""
    ),
    "a cancel lets the shards run": Mutant("cancel", "close(id, 'cancelled', now)", ""),
    "records lie elsewhere": Mutant(
        "deliver", "start = first * found[1]", "start = count * found[1]"
    ),
    "records are not marked": Mutant(
        "deliver", "redis.call('SETBIT', done_key(parent), number_of(id), 1)", ""
    ),
    "an end opens nothing": Mutant("deliver", " else go_on(parent, now) end", " end"),
    "a failure goes on": Mutant("deliver", "if status == 'failed' then", "if false then"),
    "a lost shard is dropped": Mutant(
        "recover",
        "lost = lost + 1\n  else\n    requeue(id, now, 'worker-lost')",
        "lost = lost + 1\n  else\n    drop_shard(id)\n    go_on(parent, now)",
    ),
    "a shard is tried for ever": Mutant(
        "recover", "elseif fruitless >= bound then", "elseif false then"
    ),
    "a shard that was asked to stop runs again": Mutant(
        "recover", "if is_asked or redis", "if redis"
    ),
    "a release of a closed shard requeues": Mutant(
        "release", "if is_asked and parent then", "if false then"
    ),
    "a cancel takes the assembly": Mutant(
        "release", "elseif is_asked and not is_assembly then", "elseif is_asked then"
    ),
    "shards fill the queue": Mutant(
        "prelude",
        "if not parent_of(id) then redis.call('ZADD', WAITING",
        "if true then redis.call('ZADD', WAITING",
    ),
    "shards are counted as jobs": Mutant(
        "prelude", "(parent_of(id) and ':shards' or ':waiting')", "':waiting'"
    ),
    "a time limit is for ever": Mutant(
        "recover", "close(id, 'failed', now, cjson.encode(told))", ""
    ),
    "a deleted job keeps its records": Mutant(
        "prelude", "  keys[#keys + 1] = records_key(id)\n", ""
    ),
}


def mutate(mutant: Mutant, folder: Path) -> None:
    shutil.copytree(str(scripts._FOLDER), folder)
    path = folder / f"{mutant.script}.lua"
    text = path.read_text()
    assert text.count(mutant.right) == 1, f"{mutant.script}.lua has changed: {mutant.right}"
    path.write_text(text.replace(mutant.right, mutant.wrong))


@pytest.mark.parametrize("name", MUTANTS)
def test_state_machine_sees_the_fault(
    redis: Redis, redis_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    mutate(MUTANTS[name], tmp_path / "lua")
    monkeypatch.setattr(scripts, "_FOLDER", tmp_path / "lua")

    assert find_fault(StoreMachine, redis, redis_url)


@pytest.mark.parametrize("name", SPLIT_MUTANTS)
def test_state_machine_of_split_jobs_sees_the_fault(
    redis: Redis, redis_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    mutate(SPLIT_MUTANTS[name], tmp_path / "lua")
    monkeypatch.setattr(scripts, "_FOLDER", tmp_path / "lua")

    assert find_fault(SplitMachine, redis, redis_url)


def find_fault(
    machine: type[StoreMachine] | type[SplitMachine], redis: Redis, redis_url: str
) -> object:
    """Run a machine that must fail; return the trace of how it did."""
    scripts.source_of.cache_clear()
    machine.redis, machine.url = redis, redis_url
    try:
        # An error of Redis, a broken promise, or a refusal that did not come.
        with pytest.raises((Exception, pytest.fail.Exception)) as caught:
            run_state_machine_as_test(
                machine,
                settings=settings(
                    max_examples=120,
                    stateful_step_count=40,
                    deadline=None,
                    database=None,
                    # The shortest story of each fault is of no interest here.
                    phases=[Phase.generate],
                    suppress_health_check=list(HealthCheck),
                ),
            )
    finally:
        scripts.source_of.cache_clear()
        redis.flushall()
    return caught.traceback
