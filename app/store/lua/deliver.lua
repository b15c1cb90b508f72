#!lua flags=allow-oom
-- Ends a shard by the attempt that holds it.
-- Atomically: its records lie in its job's, it is dropped, and its job goes on: the next shards are
-- opened, or the job is ready to be assembled. A shard that failed closes its job.
-- ARGV: the shard's id, fence, status, first run, number of runs, records, error or "", retention in ms.
-- Returns 1 (also when it is over already), 0 when the lease is lost.
local id, fence, status, first, count = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5]
local parent, now = parent_of(id), clock_ms()
-- Redis lets a string grow by a megabyte at a time and copies it each time: 50 ms for 50 MB. Here it
-- doubles.
local function write_records(key, start, stop, most)
  if stop > redis.call('STRLEN', key) then
    redis.call('SETRANGE', key, text(math.min(most, 2 * stop) - 1), '\0')
  end
  redis.call('SETRANGE', key, text(start), ARGV[6])
end

if not is_held(id, fence) then
  if redis.call('EXISTS', job_key(id)) == 1 then return 0 end
  if status == 'succeeded' then return redis.call('GETBIT', done_key(parent), number_of(id)) end
  return 1
end
if status == 'succeeded' then
  local found = redis.call('HMGET', job_key(parent), 'record_bytes', 'total')
  local start = first * found[1]
  write_records(records_key(parent), start, start + count * found[1], found[1] * found[2])
  redis.call('SETBIT', done_key(parent), number_of(id), 1)
  redis.call('HINCRBY', job_key(parent), 'made', count)
  note_duration(id, now, tonumber(ARGV[8]))
end
drop_shard(id)
tell_progress(parent, now)
if status == 'failed' then close(parent, 'failed', now, ARGV[7]) else go_on(parent, now) end
return 1
