#!lua flags=allow-oom
-- Hands the next ready job of a queue to a worker: a job, a shard of one, or a split one that is all
-- computed and has to be assembled. The last two tell nobody.
-- Atomically: out of the ready set, status running, attempt and fence + 1, lease, event; what older
-- attempts left (history, progress) is cut back to their checkpoint, or dropped when there is none.
-- The fence is a number that rises and a nonce: a Redis that has forgotten its last second, by a
-- failover or a power cut, counts to the same number again, and the older holder must not pass.
-- A claim whose answer was lost, asked again with its nonce, is answered with the same job.
-- ARGV: queue, worker, device, lease in ms, nonce, event data without its opening brace, id and time of
--       creation of the job whose points the worker has in hand, a space between, or "".
-- Returns {fence, fields of the job, points or "", the checkpoint's fields, shard's number or "", number
--         of this attempt, which shards are done}, or false when nothing is ready.
local queue, worker, device = ARGV[1], ARGV[2], ARGV[3]
local lease, nonce, data, in_hand = tonumber(ARGV[4]), ARGV[5], ARGV[6], ARGV[7]

local function return_to_checkpoint(id)
  local found = redis.call('HMGET', checkpoint_key(id), 'run', 'step', 'progress')
  if not found[1] then return forget_steps(id) end
  local run, step = tonumber(found[1]), tonumber(found[2])
  for later = run + 1, tonumber(redis.call('HGET', job_key(id), 'runs') or 0) - 1 do
    redis.call('DEL', history_key(id, later))
  end
  cut_history(history_key(id, run), step)
  redis.call('HSET', job_key(id), 'runs', run + 1, 'progress', found[3])
end

local function points_of(id)
  local created_at = math.floor(redis.call('HGET', job_key(id), 'order') / 1000)
  if in_hand == id .. ' ' .. text(created_at) then return '' end
  return redis.call('GET', points_key(id)) or ''
end

local function hand_over(id, fence)
  local owner = parent_of(id) or id
  redis.call('SET', claim_key(worker), nonce .. ' ' .. id, 'PX', lease)
  return {fence, redis.call('HGETALL', job_key(owner)), points_of(owner),
    redis.call('HGETALL', checkpoint_key(owner)), number_of(id) or '',
    redis.call('HGET', job_key(id), 'attempt'), redis.call('GET', done_key(owner)) or ''}
end

local answered, last = string.match(redis.call('GET', claim_key(worker)) or '', '^(%S+) (%S+)$')
if answered == nonce then
  local fence = redis.call('HGET', job_key(last), 'fence') or ''
  if string.match(fence, '%-(%x+)$') == nonce and is_held(last, fence) then
    extend_lease(last, clock_ms(), lease)
    return hand_over(last, fence)
  end
end

while true do
  local id, turn = unpack(redis.call('ZRANGE', ready_key(queue), 0, 0, 'WITHSCORES'))
  if not id then return false end
  dequeue(id, queue)
  local job, is_shard = job_key(id), parent_of(id)
  local found = redis.call('HMGET', job, 'status', 'assembling')
  local is_assembly = found[1] == 'running' and found[2]
  if found[1] == 'queued' or is_assembly then
    -- A version before turns has left its queue ordered by the clock: all of it before any turn.
    if redis.call('HSETNX', job, 'turn', turn) == 0 then
      -- One that came back has a turn from before.
      local highest = math.max(turn, redis.call('GET', turn_key(queue)) or 0)
      redis.call('SET', turn_key(queue), text(highest))
    end
    local now = clock_ms()
    local number = tonumber(string.match(redis.call('HGET', job, 'fence'), '^%d+')) + 1
    local fence = number .. '-' .. nonce
    redis.call('HINCRBY', job, 'fruitless', 1)
    redis.call('HSET', job, 'status', 'running', 'fence', fence, 'used', device, 'worker', worker)
    extend_lease(id, now, lease)
    if is_assembly then
      touch(id)
      return hand_over(id, fence)
    end
    local attempt = redis.call('HINCRBY', job, 'attempt', 1)
    redis.call('HSET', job, 'started_at_ms', text(now))
    if not is_shard then
      return_to_checkpoint(id)
      redis.call('HDEL', job, 'engine')
      emit(id, 'job.started', now, '{"attempt":' .. attempt .. ',' .. data)
    end
    return hand_over(id, fence)
  end
end
