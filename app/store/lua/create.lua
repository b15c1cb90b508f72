#!lua
-- Accepts a job, or finds the one that the same key or id made before.
-- Atomically: idempotency key, order, job, points, index entry, ready entry, first event, and a
-- wake-up in Celery's list unless enough lie there: each serves jobs until none is ready.
-- A client among several may hold as many places as are still free: so one alone never fills the
-- queue, and the next one finds room. (A. K. Choudhury, E. L. Hahne, "Dynamic queue length
-- thresholds for shared-memory packet switches", IEEE/ACM Transactions on Networking, 1998.)
-- ARGV: id, own_id ("1" or ""), digest of the idempotency key or "", fingerprint, queue bound,
--       queue, client or "" when there is but one, id of the job from whose end this one goes on or
--       "", when that was created in ms, points or "", event data, wake-up or "", most wake-ups, then
--       field, value, ... of the job.
-- Returns {"new", order, standing of the job} | {"same", fields} | {"reused"} | {"conflict"} | {"gone", id} | {"full"}
--         | {"share", places that the client holds}.
local id, own, digest, fingerprint = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local bound, queue, client = tonumber(ARGV[5]), ARGV[6], ARGV[7]
local extended, created_at = ARGV[8], tonumber(ARGV[9])
local points, data, wake_up, most_wake_ups = ARGV[10], ARGV[11], ARGV[12], tonumber(ARGV[13])

-- Gives a fit the checkpoint and the history of another: it goes on where that one ended. Copies,
-- because the other will be forgotten; where there is no checkpoint the fit begins at the start.
local function inherit(id, other, created_at)
  -- Its id may name another job by now.
  local order = redis.call('HGET', job_key(other), 'order')
  if not order or math.floor(order / 1000) ~= created_at then return end
  if redis.call('COPY', checkpoint_key(other), checkpoint_key(id)) == 0 then return end
  redis.call('COPY', history_key(other, 0), history_key(id, 0))
  redis.call('PERSIST', checkpoint_key(id))
  redis.call('PERSIST', history_key(id, 0))
  redis.call('HSET', checkpoint_key(id), 'seconds', 0)
  redis.call('HSET', job_key(id), 'runs', 1,
    'furthest', redis.call('HGET', checkpoint_key(id), 'step'))
end

if digest ~= '' then
  local known = redis.call('HMGET', memory_key(digest), 'id', 'fingerprint')
  if known[1] then
    if known[2] ~= fingerprint then return {'reused'} end
    local fields = redis.call('HGETALL', job_key(known[1]))
    if #fields == 0 then return {'gone', known[1]} end
    return {'same', fields}
  end
end
if redis.call('EXISTS', job_key(id)) == 1 then
  if own == '' or redis.call('HGET', job_key(id), 'fingerprint') ~= fingerprint then
    return {'conflict'}
  end
  return {'same', redis.call('HGETALL', job_key(id))}
end
if redis.call('EXISTS', gone_key(id)) == 1 then return {'gone', id} end

local free = bound - redis.call('ZCARD', WAITING)
if free <= 0 then return {'full'} end
local held = 0
for _, name in ipairs(QUEUES) do
  held = held + (redis.call('HGET', clients_key(name), client .. ':waiting') or 0)
end
if client ~= '' and held >= free then return {'share', held} end

-- Microseconds of Redis's clock, pushed on when two jobs meet or the clock steps back: unique,
-- strictly rising, so order of lists and time of creation are one number.
local order = math.max(clock_us(), tonumber(redis.call('GET', NS .. 'order') or 0) + 1)
local now = math.floor(order / 1000)
redis.call('SET', NS .. 'order', text(order))
redis.call('HSET', job_key(id), 'status', 'queued', 'seq', 0, 'attempt', 0, 'fence', 0,
  'fruitless', 0, 'order', text(order), 'queue', queue, 'client', client,
  'fingerprint', fingerprint, 'queued_at_ms', text(now), unpack(ARGV, 14))
if digest ~= '' then
  redis.call('HSET', job_key(id), 'idempotency', digest)
  redis.call('HSET', memory_key(digest), 'id', id, 'fingerprint', fingerprint)
end
if points ~= '' then redis.call('SET', points_key(id), points) end
redis.call('ZADD', INDEX, text(order), id)
if extended ~= '' then inherit(id, extended, created_at) end
enqueue(id, now)
-- Not told on the bus: whoever waits for a job has read it before.
note(id, 'job.queued', now, data)
-- A burst wakes every worker that there is.
local most = math.max(most_wake_ups, redis.call('ZCARD', NS .. 'workers'))
if wake_up ~= '' and redis.call('LLEN', wake_ups_key(queue)) < most then
  redis.call('LPUSH', wake_ups_key(queue), wake_up)
end
return {'new', text(order), standing(id, queue)}
