#!lua flags=allow-oom
-- Ends a running job by the attempt that holds it.
-- Atomically: the rows that are not written yet, status, outcome, error, event, lease dropped, times to
-- live, tombstone, the state from which the fit can be extended (here, because a job that is lost must
-- not go on past its end); a success also leaves its duration, by which the next jobs' start is
-- estimated.
-- ARGV: id, fence, status, run and the last entry that this attempt was told is there or 0,
--       retention, memory and grave in ms, event data, last step + 1 of the rows or "", block, progress
--       or "", records of all runs or "", how many words of orders follow, how many of a checkpoint,
--       these (name, positions, ...; field, value, ...), then field, value, ... of the job.
-- Returns 1 (also when the same attempt had already written the same end), 0 when the lease is lost,
-- as it is when rows were forgotten.
local id, fence, status, data = ARGV[1], ARGV[2], ARGV[3], ARGV[9]
local run, entry, block, last_progress = tonumber(ARGV[4]), ARGV[10], ARGV[11], ARGV[12]
local records, kept = ARGV[13], 15 + tonumber(ARGV[14])
local last = kept + tonumber(ARGV[15])
if not is_held(id, fence) then
  local found = redis.call('HMGET', job_key(id), 'status', 'fence')
  if found[1] == status and found[2] == fence then return 1 end
  return 0
end
if has_forgotten(id, run, tonumber(ARGV[5])) then return 0 end
if entry ~= '' then append_rows(id, run, entry, block) end
if last_progress ~= '' then redis.call('HSET', job_key(id), 'progress', last_progress) end
if #ARGV > last then redis.call('HSET', job_key(id), unpack(ARGV, last + 1)) end
local progress = redis.call('HGET', job_key(id), 'progress')
if last > kept and progress then
  redis.call('HSET', checkpoint_key(id), 'progress', progress, unpack(ARGV, kept + 1, last))
end
if records ~= '' then
  redis.call('SET', records_key(id), records)
  redis.call('SETBIT', done_key(id), 0, 1)
end
for i = 16, kept, 2 do redis.call('SET', order_key(id, ARGV[i]), ARGV[i + 1]) end
local now, times = clock_ms(), times_from(6)
-- Of a split job, its shards have said how long they took.
if status == 'succeeded' and redis.call('HEXISTS', job_key(id), 'assembling') == 0 then
  note_duration(id, now, times[1])
end
end_job(id, status, now, times, data)
return 1
