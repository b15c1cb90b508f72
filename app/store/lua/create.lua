#!lua
-- Accepts a job, or finds the one that the same key or id made before.
-- Atomically: idempotency key, order, job, points, index entry, ready entry, first event.
-- ARGV: id, own_id ("1" or ""), digest of the idempotency key or "", fingerprint, queue bound,
--       queue, points or "", event data, then field, value, ... of the job.
-- Returns {"new", order} | {"same", fields} | {"reused"} | {"conflict"} | {"gone", id} | {"full"}.
local id, own, digest, fingerprint = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local bound, queue, points, data = tonumber(ARGV[5]), ARGV[6], ARGV[7], ARGV[8]

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

local waiting = 0
for _, name in ipairs(QUEUES) do waiting = waiting + redis.call('ZCARD', ready_key(name)) end
if waiting >= bound then return {'full'} end

-- Microseconds of Redis's clock, pushed on when two jobs meet or the clock steps back: unique,
-- strictly rising, so place in the queue, order of lists and time of creation are one number.
local order = math.max(clock_us(), tonumber(redis.call('GET', NS .. 'order') or 0) + 1)
local now = math.floor(order / 1000)
redis.call('SET', NS .. 'order', text(order))
redis.call('HSET', job_key(id), 'status', 'queued', 'seq', 0, 'attempt', 0, 'fence', 0,
  'fruitless', 0, 'order', text(order), 'queue', queue, 'fingerprint', fingerprint,
  'queued_at_ms', text(now), unpack(ARGV, 9))
if digest ~= '' then
  redis.call('HSET', job_key(id), 'idempotency', digest)
  redis.call('HSET', memory_key(digest), 'id', id, 'fingerprint', fingerprint)
end
if points ~= '' then redis.call('SET', points_key(id), points) end
redis.call('ZADD', INDEX, text(order), id)
redis.call('ZADD', ready_key(queue), text(order), id)
emit(id, 'job.queued', now, data)
return {'new', text(order)}
