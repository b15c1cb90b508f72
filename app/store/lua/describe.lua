#!lua flags=allow-oom
-- Writes where and how an attempt runs; a new version, but no event.
-- ARGV: id, fence, then field, value, ... of the job. Returns 1, or 0 when the lease is lost.
local id, fence = ARGV[1], ARGV[2]
if not is_held(id, fence) then return 0 end
redis.call('HSET', job_key(id), unpack(ARGV, 3))
touch(id)
return 1
