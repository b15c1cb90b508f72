#!lua flags=allow-oom
-- Cuts a running job of many runs into shards, by the attempt that holds it.
-- Atomically: how it is cut, its time limit, the lease goes, the first shards are ready, and a wake-up
-- for each unless enough lie there. The job stays running, held by nobody. One that was asked to stop
-- is closed at once.
-- ARGV: id, fence, number of runs, number of shards, length of a record, most steps of a run, time limit
--       in ms, how many words of where and how the attempt runs follow, these (field, value, ... of the
--       job), then wake-ups.
-- Returns 1 (also when this attempt had already split it), 0 when the lease is lost.
local id, fence = ARGV[1], ARGV[2]
local job, waking = job_key(id), 9 + tonumber(ARGV[8])
if not is_held(id, fence) then
  return redis.call('HGET', job, 'fence_split') == fence and 1 or 0
end
local now = clock_ms()
redis.call('HSET', job, 'total', ARGV[3], 'shards', ARGV[4], 'record_bytes', ARGV[5],
  'steps', ARGV[6], 'timeout_ms', ARGV[7], 'made', 0, 'opened', 0, 'fence_split', fence)
if waking > 9 then redis.call('HSET', job, unpack(ARGV, 9, waking - 1)) end
let_go(id)
local found = redis.call('HMGET', job, 'started_at_ms', 'queue', 'cancel_requested_at_ms')
redis.call('ZADD', DEADLINES, text(found[1] + ARGV[7]), id)
if found[3] then close(id, 'cancelled', now) else go_on(id, now) end
touch(id)
local list = wake_ups_key(found[2])
for i = waking, #ARGV do
  if redis.call('LLEN', list) >= redis.call('ZCARD', ready_key(found[2])) then break end
  redis.call('LPUSH', list, ARGV[i])
end
return 1
