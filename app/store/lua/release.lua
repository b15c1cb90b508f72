#!lua flags=allow-oom
-- Hands a running job back: queued at its old place, the attempt not counted; or cancelled, when
-- that was asked for.
-- ARGV: id, fence, retention, memory and grave in ms.
-- Returns 1 (also when this attempt had already handed it back), 0 when the lease is lost.
local id, fence = ARGV[1], ARGV[2]
local job = job_key(id)
if not is_held(id, fence) then
  local found = redis.call('HMGET', job, 'status', 'fence', 'fence_released')
  if found[2] == fence and found[3] == fence then return 1 end
  return 0
end
redis.call('HINCRBY', job, 'attempt', -1)
redis.call('HSET', job, 'fence_released', fence)
if tonumber(redis.call('HGET', job, 'fruitless')) > 0 then
  redis.call('HINCRBY', job, 'fruitless', -1)
end
if redis.call('HEXISTS', job, 'cancel_requested_at_ms') == 1 then
  end_job(id, 'cancelled', clock_ms(), times_from(3), '{}')
else
  requeue(id, clock_ms(), 'drained')
end
return 1
