#!lua flags=allow-oom
-- Ends a running job by the attempt that holds it.
-- Atomically: status, outcome, error, event, lease dropped, times to live, tombstone; a success also
-- leaves its duration, by which the next jobs' start is estimated.
-- ARGV: id, fence, status, retention, memory and grave in ms, event data, then field, value, ...
-- Returns 1 (also when the same attempt had already written the same end), 0 when the lease is lost.
local id, fence, status, data = ARGV[1], ARGV[2], ARGV[3], ARGV[7]
if not is_held(id, fence) then
  local found = redis.call('HMGET', job_key(id), 'status', 'fence')
  if found[1] == status and found[2] == fence then return 1 end
  return 0
end
if #ARGV > 7 then redis.call('HSET', job_key(id), unpack(ARGV, 8)) end
local now, times = clock_ms(), times_from(4)
if status == 'succeeded' then
  local found = redis.call('HMGET', job_key(id), 'queue', 'started_at_ms')
  local durations = NS .. 'durations:' .. found[1]
  redis.call('LPUSH', durations, text(math.max(0, now - found[2])))
  redis.call('LTRIM', durations, 0, MAX_DURATIONS - 1)
  redis.call('PEXPIRE', durations, text(times[1]))
end
end_job(id, status, now, times, data)
return 1
