#!lua flags=allow-oom
-- One round of mending by whoever holds the recovery lease.
-- Atomically, at most `most` of each kind: jobs whose lease has lapsed go back to their place in the
-- queue, end as cancelled when that was asked for, or fail when too many attempts came no further;
-- jobs that waited too long fail; forgotten jobs leave the index. A shard that came no further, and a
-- time limit that is over, close a split job.
-- A job that stands in no place (half a script, where a torn file was loaded) is put back into one:
-- a slice of all jobs is looked at each round.
-- A clock that was set back leaves ends of leases, and of the election, that lie too far ahead:
-- nothing ends later than its own length from now.
-- ARGV: token, election in ms, most, fruitless bound, queue timeout in ms, retention, memory and
--       grave in ms, error when lost, error when late, most wake-ups, lease in ms, error when
--       started over too often, error when a split job's time is over.
-- Returns {} when another one is elected, else
--         {requeued, lost, cancelled, late, strayed, trimmed, queue, wake-ups, ...}.
local token, election, most = ARGV[1], ARGV[2], tonumber(ARGV[3])
local bound, timeout, times = tonumber(ARGV[4]), tonumber(ARGV[5]), times_from(6)
local lost_error, late_error, burst = ARGV[9], ARGV[10], tonumber(ARGV[11])
local lease, alien_error, limit_error = tonumber(ARGV[12]), ARGV[13], ARGV[14]

local elected = redis.call('GET', NS .. 'recovery')
local is_other = elected and elected ~= token
if is_other and redis.call('PTTL', NS .. 'recovery') <= tonumber(election) then return {} end
redis.call('SET', NS .. 'recovery', token, 'PX', election)

local now = clock_ms()
local requeued, lost, cancelled, late, strayed, trimmed = 0, 0, 0, 0, 0, 0

local function fail(id, problem)
  redis.call('HSET', job_key(id), 'error', problem)
  end_job(id, 'failed', now, times, problem)
end

-- Nobody has made a round for longer than a lease, and than an election: Redis was away, or its
-- clock leapt ahead. Then nobody could renew either, and a lease that is over says nothing yet: each
-- begins anew.
local round = NS .. 'round'
local silent = now - (redis.call('GET', round) or now)
redis.call('SET', round, text(now))
if silent > math.max(lease, tonumber(election)) then
  for _, id in ipairs(redis.call('ZRANGEBYSCORE', LEASES, '-inf', text(now))) do
    extend_lease(id, now, lease)
  end
end

local ahead = '(' .. text(now + lease)
for _, id in ipairs(redis.call('ZRANGEBYSCORE', LEASES, ahead, '+inf', 'LIMIT', 0, most)) do
  extend_lease(id, now, lease)
end

-- Returns an error that says which attempt was the last.
local function tell_last(id, problem)
  local found = redis.call('HMGET', job_key(id), 'attempt', 'worker', 'progress')
  local told = cjson.decode(problem)
  told.detail = told.detail .. '; the last was attempt ' .. found[1] .. ' on ' .. found[2]
  if found[3] then
    told.step = cjson.decode(found[3]).step
    told.detail = told.detail .. ', which came as far as step ' .. text(told.step)
  end
  return cjson.encode(told)
end

local function give_up(id, problem)
  fail(id, tell_last(id, problem))
  lost = lost + 1
end

local function mend_shard(id, fruitless, is_asked)
  local parent = parent_of(id)
  if is_asked or redis.call('HGET', job_key(parent), 'status') ~= 'running' then
    drop_shard(id)
    go_on(parent, now)
  elseif fruitless >= bound then
    local problem = tell_last(id, lost_error)
    drop_shard(id)
    close(parent, 'failed', now, problem)
    lost = lost + 1
  else
    requeue(id, now, 'worker-lost')
    requeued = requeued + 1
  end
end

-- Ends a split job that nobody assembles as it would have ended; returns how many failed.
local function end_unassembled(id, problem)
  local found = redis.call('HMGET', job_key(id), 'closed', 'fault')
  if found[1] == 'cancelled' then
    end_job(id, 'cancelled', now, times, '{}')
    cancelled = cancelled + 1
    return 0
  end
  fail(id, found[2] or problem)
  return 1
end

for _, id in ipairs(redis.call('ZRANGEBYSCORE', LEASES, '-inf', text(now), 'LIMIT', 0, most)) do
  local found = redis.call('HMGET', job_key(id), 'status', 'fruitless', 'cancel_requested_at_ms',
    'start_overs', 'total', 'assembling')
  if found[1] ~= 'running' then
    redis.call('ZREM', LEASES, id)
  elseif parent_of(id) then
    mend_shard(id, tonumber(found[2]), found[3])
  elseif found[5] and not found[6] then
    -- Its shards have leases.
    redis.call('ZREM', LEASES, id)
  elseif found[6] and tonumber(found[2]) >= bound then
    lost = lost + end_unassembled(id, tell_last(id, lost_error))
  elseif found[6] then
    requeue(id, now, 'worker-lost')
    requeued = requeued + 1
  elseif found[3] then
    end_job(id, 'cancelled', now, times, '{}')
    cancelled = cancelled + 1
  elseif tonumber(found[2]) >= bound then
    give_up(id, lost_error)
  elseif tonumber(found[4] or 0) > bound then
    give_up(id, alien_error)
  else
    requeue(id, now, 'worker-lost')
    requeued = requeued + 1
  end
end

local late_since = text(now - timeout)
for _, id in ipairs(redis.call('ZRANGEBYSCORE', WAITING, '-inf', late_since, 'LIMIT', 0, most)) do
  local found = redis.call('HMGET', job_key(id), 'status', 'queue', 'assembling')
  if found[1] == 'queued' then
    dequeue(id, found[2])
    fail(id, late_error)
    late = late + 1
  elseif found[1] == 'running' and found[3] then
    dequeue(id, found[2])
    late = late + end_unassembled(id, late_error)
  else
    redis.call('ZREM', WAITING, id)
  end
end

for _, id in ipairs(redis.call('ZRANGEBYSCORE', DEADLINES, '-inf', text(now), 'LIMIT', 0, most)) do
  redis.call('ZREM', DEADLINES, id)
  local found = redis.call('HMGET', job_key(id), 'status', 'made', 'total', 'timeout_ms')
  if found[1] == 'running' then
    local told = cjson.decode(limit_error)
    told.detail = found[2] .. ' of ' .. found[3] .. ' runs were made when timeout_seconds ('
      .. string.format('%g', found[4] / 1000) .. ') were over'
    close(id, 'failed', now, cjson.encode(told))
  end
end

local function is_shard_astray(id, number)
  local shard = shard_id(id, number)
  local found = redis.call('HMGET', job_key(shard), 'status', 'queue')
  if not found[1] then
    open_shard(id, number, now)
  elseif found[1] == 'running' and not redis.call('ZSCORE', LEASES, shard) then
    extend_lease(shard, now, lease)
  elseif found[1] == 'queued' and not redis.call('ZSCORE', ready_key(found[2]), shard) then
    enqueue(shard, now)
  else
    return false
  end
  return true
end

local function is_split_astray(id, queue)
  local found = redis.call('HMGET', job_key(id), 'assembling', 'started_at_ms', 'timeout_ms')
  if found[1] then
    local waits = redis.call('ZSCORE', ready_key(queue), id) and redis.call('ZSCORE', WAITING, id)
    if waits or redis.call('ZSCORE', LEASES, id) then return false end
    enqueue(id, now)
    return true
  end
  local live = redis.call('SMEMBERS', shards_key(id))
  local is_astray = #live == 0
  for _, number in ipairs(live) do
    if is_shard_astray(id, number) then is_astray = true end
  end
  if not redis.call('ZSCORE', DEADLINES, id) and not redis.call('HGET', job_key(id), 'closed') then
    redis.call('ZADD', DEADLINES, text(found[2] + found[3]), id)
    is_astray = true
  end
  if #live == 0 then go_on(id, now) end
  return is_astray
end

local function has_strayed(id)
  local found = redis.call('HMGET', job_key(id), 'status', 'queue', 'total')
  if found[1] == 'running' and found[3] then return is_split_astray(id, found[2]) end
  if found[1] == 'running' and not redis.call('ZSCORE', LEASES, id) then
    -- Its worker may live: then it renews.
    extend_lease(id, now, lease)
    return true
  end
  if found[1] == 'queued' then
    local turn = redis.call('ZSCORE', ready_key(found[2]), id)
    if turn and redis.call('ZSCORE', WAITING, id) then return false end
    -- In the queue of a version before turns it has a place, but is not counted.
    if turn then redis.call('HSETNX', job_key(id), 'turn', turn) end
    enqueue(id, now)
    return true
  end
  if is_terminal(found[1]) and not redis.call('ZSCORE', EXPIRIES, id) then
    local last = redis.call('XREVRANGE', events_key(id), '+', '-', 'COUNT', 1)[1]
    if not last or last[2][2] ~= 'job.' .. found[1] then emit(id, 'job.' .. found[1], now, '{}') end
    keep_until(id, now + times[1], now, times[3])
    return true
  end
  return false
end

local swept = NS .. 'swept'
local after = '(' .. (redis.call('GET', swept) or 0)
local slice = redis.call('ZRANGEBYSCORE', INDEX, after, '+inf', 'WITHSCORES', 'LIMIT', 0, most)
for i = 1, #slice, 2 do
  if has_strayed(slice[i]) then strayed = strayed + 1 end
end
redis.call('SET', swept, #slice == most * 2 and slice[#slice] or 0)

-- Counts that half a script has left wrong end with the queue.
for _, queue in ipairs(QUEUES) do
  if redis.call('ZCARD', ready_key(queue)) == 0 then redis.call('DEL', clients_key(queue)) end
end

local reply = {}
for _, queue in ipairs(QUEUES) do
  -- Celery's own list; a message is a wake-up, so there is no use for more of them than workers.
  local sent = redis.call('LLEN', wake_ups_key(queue))
  reply[#reply + 1] = queue
  reply[#reply + 1] = math.max(0, math.min(redis.call('ZCARD', ready_key(queue)), burst) - sent)
end

for _, id in ipairs(redis.call('ZRANGEBYSCORE', EXPIRIES, '-inf', text(now), 'LIMIT', 0, most)) do
  redis.call('ZREM', EXPIRIES, id)
  redis.call('ZREM', INDEX, id)
  trimmed = trimmed + 1
end
return {requeued, lost, cancelled, late, strayed, trimmed, unpack(reply)}
