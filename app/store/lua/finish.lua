#!lua flags=allow-oom
-- Ends a running job by the attempt that holds it.
-- Atomically: the rows that are not written yet, status, outcome, error, event, lease dropped, times to
-- live, tombstone, the state from which the fit can be extended (here, because a job that is lost must
-- not go on past its end); a success also leaves its duration, by which the next jobs' start is
-- estimated.
-- ARGV: id, fence, status, run and the last entry that this attempt was told is there or 0,
--       retention, memory and grave in ms, event data, last step + 1 of the rows or "", block, progress
--       or "", how many words of a checkpoint follow, these (field, value, ...), then field, value, ...
--       of the job.
-- Returns 1 (also when the same attempt had already written the same end), 0 when the lease is lost,
-- as it is when rows were forgotten.
local id, fence, status, data = ARGV[1], ARGV[2], ARGV[3], ARGV[9]
local run, entry, block, last_progress = tonumber(ARGV[4]), ARGV[10], ARGV[11], ARGV[12]
local kept = 13 + tonumber(ARGV[13])
if not is_held(id, fence) then
  local found = redis.call('HMGET', job_key(id), 'status', 'fence')
  if found[1] == status and found[2] == fence then return 1 end
  return 0
end
if has_forgotten(id, run, tonumber(ARGV[5])) then return 0 end
if entry ~= '' then append_rows(id, run, entry, block) end
if last_progress ~= '' then redis.call('HSET', job_key(id), 'progress', last_progress) end
if #ARGV > kept then redis.call('HSET', job_key(id), unpack(ARGV, kept + 1)) end
local progress = redis.call('HGET', job_key(id), 'progress')
if kept > 13 and progress then
  redis.call('HSET', checkpoint_key(id), 'progress', progress, unpack(ARGV, 14, kept))
end
local now, times = clock_ms(), times_from(6)
if status == 'succeeded' then
  local found = redis.call('HMGET', job_key(id), 'queue', 'started_at_ms')
  local durations = durations_key(found[1])
  redis.call('LPUSH', durations, text(math.max(0, now - found[2])))
  redis.call('LTRIM', durations, 0, MAX_DURATIONS - 1)
  redis.call('PEXPIRE', durations, text(times[1]))
end
end_job(id, status, now, times, data)
return 1
