#!lua flags=allow-oom
-- One round of mending by whoever holds the recovery lease.
-- Atomically, at most `most` of each kind: jobs whose lease has lapsed go back to their place in the
-- queue, end as cancelled when that was asked for, or fail when too many attempts came no further;
-- jobs that waited too long fail; forgotten jobs leave the index.
-- A job that stands in no place (half a script, where a torn file was loaded) is put back into one:
-- a slice of all jobs is looked at each round.
-- A clock that was set back leaves ends of leases, and of the election, that lie too far ahead:
-- nothing ends later than its own length from now.
-- ARGV: token, election in ms, most, fruitless bound, queue timeout in ms, retention, memory and
--       grave in ms, error when lost, error when late, most wake-ups, lease in ms, error when
--       started over too often.
-- Returns {} when another one is elected, else
--         {requeued, lost, cancelled, late, strayed, trimmed, queue, wake-ups, ...}.
local token, election, most = ARGV[1], ARGV[2], tonumber(ARGV[3])
local bound, timeout, times = tonumber(ARGV[4]), tonumber(ARGV[5]), times_from(6)
local lost_error, late_error, burst = ARGV[9], ARGV[10], tonumber(ARGV[11])
local lease, alien_error = tonumber(ARGV[12]), ARGV[13]

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

local function give_up(id, problem)
  local found = redis.call('HMGET', job_key(id), 'attempt', 'worker', 'progress')
  local told = cjson.decode(problem)
  told.detail = told.detail .. '; the last was attempt ' .. found[1] .. ' on ' .. found[2]
  if found[3] then
    told.step = cjson.decode(found[3]).step
    told.detail = told.detail .. ', which came as far as step ' .. text(told.step)
  end
  fail(id, cjson.encode(told))
  lost = lost + 1
end

for _, id in ipairs(redis.call('ZRANGEBYSCORE', LEASES, '-inf', text(now), 'LIMIT', 0, most)) do
  local found = redis.call('HMGET', job_key(id), 'status', 'fruitless', 'cancel_requested_at_ms',
    'start_overs')
  if found[1] ~= 'running' then
    redis.call('ZREM', LEASES, id)
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
  local found = redis.call('HMGET', job_key(id), 'status', 'queue')
  if found[1] == 'queued' then
    dequeue(id, found[2])
    fail(id, late_error)
    late = late + 1
  else
    redis.call('ZREM', WAITING, id)
  end
end

local function has_strayed(id)
  local found = redis.call('HMGET', job_key(id), 'status', 'queue')
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
if redis.call('ZCARD', WAITING) == 0 then
  for _, queue in ipairs(QUEUES) do redis.call('DEL', clients_key(queue)) end
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
