#!lua flags=allow-oom
-- Says how far a shard is, by the attempt that holds it; extends its lease, and tells of its job's
-- progress when it is time.
-- ARGV: the shard's id, fence, lease in ms, runs that are done by their share of the work.
-- Returns 1, or 0 when the lease is lost.
local id, fence, lease, part = ARGV[1], ARGV[2], tonumber(ARGV[3]), ARGV[4]
if not is_held(id, fence) then return 0 end
local now = clock_ms()
extend_lease(id, now, lease)
redis.call('HSET', job_key(id), 'part', part)
tell_progress(parent_of(id), now)
return 1
