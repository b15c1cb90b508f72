#!lua flags=allow-oom
-- Hands a running job or shard back: queued at its old place, the attempt not counted; or cancelled,
-- when that was asked for. A job that was being assembled is ready for that again.
-- ARGV: id, fence, retention, memory and grave in ms.
-- Returns 1 (also when this attempt had already handed it back), 0 when the lease is lost.
local id, fence = ARGV[1], ARGV[2]
local job, parent = job_key(id), parent_of(id)
if not is_held(id, fence) then
  local found = redis.call('HMGET', job, 'fence', 'fence_released')
  -- A shard that was asked to stop is gone.
  if not found[1] then return parent and 1 or 0 end
  -- Nobody has claimed it since: then the fence is this one, or nobody's.
  local is_last = found[1] == fence or not string.find(found[1], '-', 1, true)
  return is_last and found[2] == fence and 1 or 0
end
local is_assembly = redis.call('HEXISTS', job, 'assembling') == 1
if not is_assembly then redis.call('HINCRBY', job, 'attempt', -1) end
redis.call('HSET', job, 'fence_released', fence)
if tonumber(redis.call('HGET', job, 'fruitless')) > 0 then
  redis.call('HINCRBY', job, 'fruitless', -1)
end
local now = clock_ms()
local is_asked = redis.call('HEXISTS', job, 'cancel_requested_at_ms') == 1
if is_asked and parent then
  drop_shard(id)
  go_on(parent, now)
elseif is_asked and not is_assembly then
  end_job(id, 'cancelled', now, times_from(3), '{}')
else
  requeue(id, now, 'drained')
end
return 1
