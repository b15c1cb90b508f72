#!lua flags=allow-oom
-- Changes name, tags or time of death; a new version, but no event.
-- ARGV: id, expected seq or "", expires_at_ms or "", grave in ms, then field, value, ...
-- Returns {"ok", fields} | {"missing"} | {"changed"} | {"unfinished"}.
local id, expected, expires, grave = ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4])
local job = job_key(id)
local found = redis.call('HMGET', job, 'status', 'seq')
if not found[1] then return {'missing'} end
if expected ~= '' and expected ~= found[2] then return {'changed'} end
if expires ~= '' and not is_terminal(found[1]) then return {'unfinished'} end
if #ARGV > 4 then redis.call('HSET', job, unpack(ARGV, 5)) end
touch(id)
local fields
if expires ~= '' then
  redis.call('HSET', job, 'expires_at_ms', expires)
  -- Read before: a time in the past deletes the job at once.
  fields = redis.call('HGETALL', job)
  keep_until(id, tonumber(expires), clock_ms(), grave)
else
  fields = redis.call('HGETALL', job)
end
return {'ok', fields}
